//! Deriving the state of a room from its events.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use homeserver_core::{EventSn, TimelineOrder};
use parking_lot::RwLock;
use quick_cache::unsync::Cache;
use room_engine::auth::{self, AuthEvent, AuthState, StateLookup as _, auth_types_for_event};
use room_engine::auth_chain::IndexedEvent;
use room_engine::resolution::StatePlace;
use room_engine::state_map::{Chunk, MemoryChunks, Place, StateMap};
use room_engine::{Membership, Pdu};
use ruma::OwnedEventId;
use storage::{Database, GraphEvent, Interned, RepairedState, Standing};

use super::super::RoomError;
use super::super::receiving::{is_dummy, is_placeless};
use super::super::resolving::{Resolver, RoomIdentity};
use super::{Finding, RoomCheck, RoomReport};

/// So many events are read at once.
const EVENTS_AT_ONCE: i64 = 500;
/// So many state events stay parsed, because later events are checked against them.
const REMEMBERED_EVENTS: usize = 20_000;
/// At most so many earlier events count as followed by one event.
const MAX_REACHED: usize = 1_000;

/// The state that follows from a room's events.
pub(super) struct Derived {
    /// The version of the head before the events were read.
    pub(super) head_version: i64,
    pub(super) current: StateMap,
    pub(super) extremities: Vec<EventSn>,
    pub(super) depth: i64,
    /// States after events that are stored wrong, or not at all.
    pub(super) states: Vec<RepairedState>,
    /// The chunks of the current state that may be in no state after an event.
    pub(super) current_chunks: Vec<Chunk>,
    /// Events whose standing is wrong.
    pub(super) standings: Vec<(EventSn, Standing)>,
    /// Chunks of derived states, which may not be stored.
    pub(super) chunks: Arc<RwLock<MemoryChunks>>,
}

/// By what events are judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Judging {
    /// They stay what they are: the state is known in part, and who may do what by it is not certain.
    AsStored,
    /// By the rules. What was rejected stays so.
    Rules,
    /// By the rules, what was rejected as well.
    Again,
}

/// An event whose state was derived.
#[derive(Clone, Copy)]
struct Node {
    sn: EventSn,
    state: StateMap,
    standing: Standing,
}

pub(super) struct Derivation<'a> {
    database: Database,
    interned: &'a Interned,
    room: &'a RoomIdentity,
    judging: Judging,
    nodes: HashMap<Box<str>, Node>,
    /// Events that an accepted event follows.
    followed: HashSet<EventSn>,
    /// Events that an event of the past follows. They may be ends of the room all the same: an event of the past changes no state.
    followed_by_past: HashSet<EventSn>,
    /// The forward extremities that are stored.
    stored_ends: HashSet<EventSn>,
    /// The events that rejected and soft-failed events follow.
    behind: HashMap<EventSn, Vec<EventSn>>,
    parsed: Cache<EventSn, Pdu>,
    /// Chunks of the state that is being derived, which may be in no state before it.
    new_chunks: Vec<Chunk>,
    derived: Derived,
}

impl<'a> Derivation<'a> {
    pub(super) async fn new(
        database: &Database,
        interned: &'a Interned,
        room: &'a RoomIdentity,
        judging: Judging,
    ) -> Result<Self, RoomError> {
        let head = database.room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        let chunks = Arc::new(RwLock::new(MemoryChunks::default()));
        let derived = Derived {
            head_version: head.version,
            current: StateMap::EMPTY,
            extremities: Vec::new(),
            depth: 0,
            states: Vec::new(),
            current_chunks: Vec::new(),
            standings: Vec::new(),
            chunks: chunks.clone(),
        };
        let database = database.overlaid(chunks);
        Ok(Self {
            database,
            interned,
            room,
            judging,
            nodes: HashMap::new(),
            followed: HashSet::new(),
            followed_by_past: HashSet::new(),
            stored_ends: head.extremities.iter().copied().collect(),
            behind: HashMap::new(),
            parsed: Cache::new(REMEMBERED_EVENTS),
            new_chunks: Vec::new(),
            derived,
        })
    }

    pub(super) async fn run(mut self, report: &mut RoomReport) -> Result<Derived, RoomError> {
        let mut after = TimelineOrder(i64::MIN);
        loop {
            let events = self.database.graph_events_after(self.room.room_sn, after, EVENTS_AT_ONCE).await?;
            let Some(last) = events.last() else { break };
            after = last.stored.order;
            for event in events {
                report.events += 1;
                match self.room.parse(&event) {
                    Ok(pdu) => self.add(&event, pdu, report).await?,
                    Err(error) => report.add(Finding::Unreadable {
                        event_id: event.stored.event_id.clone(),
                        reason: error.to_string(),
                    }),
                }
            }
        }
        // What is followed by a backfilled event may have been read before it.
        let is_extremity = |node: &&Node| {
            let is_followed_by_past = self.followed_by_past.contains(&node.sn) && !self.stored_ends.contains(&node.sn);
            let is_followed = self.followed.contains(&node.sn) || is_followed_by_past;
            node.standing.is_followed() && node.standing != Standing::Backfilled && !is_followed
        };
        let mut extremities: Vec<Node> = self.nodes.values().filter(is_extremity).copied().collect();
        extremities.sort_unstable_by_key(|node| node.sn);
        let states: Vec<StateMap> = extremities.iter().map(|node| node.state).collect();
        let current = self.resolver().resolve(&states).await?;
        self.new_chunks.clear();
        self.derived.current = self.apply(current.base, &current.changes).await?;
        self.derived.current_chunks = std::mem::take(&mut self.new_chunks);
        self.derived.extremities = extremities.iter().map(|node| node.sn).collect();
        Ok(self.derived)
    }

    async fn add(&mut self, event: &GraphEvent, pdu: Pdu, report: &mut RoomReport) -> Result<(), RoomError> {
        // An outlier has no place in the room, rejected or not.
        if is_placeless(event) {
            return Ok(());
        }
        let event_id = &event.stored.event_id;
        let before: Vec<Node> =
            pdu.prev_events().iter().filter_map(|id| self.nodes.get(id.as_str())).copied().collect();
        if before.len() < pdu.prev_events().len() {
            if let Some(state) = event.state {
                let is_entry = self.is_entry(event, &pdu).await?;
                self.add_as_told(event, &pdu, &before, state, is_entry);
                return Ok(());
            }
            let count = pdu.prev_events().len() - before.len();
            report.add(Finding::UnknownEvents { event_id: event_id.clone(), count });
        }
        // An event that followed nothing was rejected, and its empty state is no branch of the room.
        let states = before.iter().map(|node| node.state).filter(|state| *state != StateMap::EMPTY);
        let states: Vec<StateMap> = states.collect();
        let mut resolved = self.resolver().resolve(&states).await?;
        if self.judging == Judging::AsStored && event.standing.is_followed() {
            resolved = self.resolver().with_sender(&pdu, resolved).await?;
        }
        self.new_chunks.clear();
        let mut state = self.apply(resolved.base, &resolved.changes).await?;
        let standing = self.standing(event, &pdu, state, report).await?;
        let reached = self.reached_from(&before);
        if standing.is_followed() {
            self.follow(standing, reached);
            self.derived.depth = self.derived.depth.max(pdu.depth());
        } else {
            self.behind.insert(event.stored.sn, reached);
        }
        if let Some(state_key) = pdu.state_key().filter(|_| standing != Standing::Rejected) {
            let key_sn = self.interned.state_key(state_key).await?;
            let place = Place::new(self.interned.event_type(pdu.event_type()).await?, key_sn);
            state = self.apply(state, &[(place, Some(event.stored.sn))]).await?;
            self.parsed.insert(event.stored.sn, pdu);
        }
        if event.state != Some(state) {
            report.add(Finding::WrongState { event_id: event_id.clone(), is_stored: event.state.is_some() });
            let (event_sn, chunks) = (event.stored.sn, std::mem::take(&mut self.new_chunks));
            self.derived.states.push(RepairedState { event_sn, state, chunks, is_replacement: event.state.is_some() });
        }
        self.nodes.insert(event_id.clone(), Node { sn: event.stored.sn, state, standing });
        Ok(())
    }

    /// Whether this server entered the room with the event: a user of it joined by way of another server.
    async fn is_entry(&self, event: &GraphEvent, pdu: &Pdu) -> Result<bool, RoomError> {
        let is_new = event.standing.is_followed() && event.standing != Standing::Backfilled;
        if !is_new || pdu.membership() != Some(Membership::Join) || pdu.state_key() != Some(pdu.sender().as_str()) {
            return Ok(false);
        }
        let Some(user_sn) = self.interned.find_user(pdu.sender().as_str()).await? else { return Ok(false) };
        let entries = self.database.room_entries(self.room.room_sn).await?;
        match entries.first() {
            Some(first) if event.stored.sn >= *first => Ok(entries.contains(&event.stored.sn)),
            // Of older ones it was not written down.
            _ => Ok(self.database.account(user_sn).await?.is_some()),
        }
    }

    /// Adds an event after others that are not all known here: the state after it is what another server told. An entry takes the place of
    /// all ends that the room had here.
    fn add_as_told(&mut self, event: &GraphEvent, pdu: &Pdu, before: &[Node], state: StateMap, is_entry: bool) {
        if is_entry {
            self.followed.extend(self.nodes.values().map(|node| node.sn));
        }
        let reached = self.reached_from(before);
        if event.standing.is_followed() {
            self.follow(event.standing, reached);
            self.derived.depth = self.derived.depth.max(pdu.depth());
        } else {
            self.behind.insert(event.stored.sn, reached);
        }
        let node = Node { sn: event.stored.sn, state, standing: event.standing };
        self.nodes.insert(event.stored.event_id.clone(), node);
    }

    /// An event of this standing follows these.
    fn follow(&mut self, standing: Standing, reached: Vec<EventSn>) {
        let followed = if standing == Standing::Backfilled { &mut self.followed_by_past } else { &mut self.followed };
        followed.extend(reached);
    }

    /// The events that an event follows, directly or through rejected or soft-failed events.
    fn reached_from(&self, before: &[Node]) -> Vec<EventSn> {
        let behind = before.iter().filter_map(|node| self.behind.get(&node.sn)).flatten();
        before.iter().map(|node| node.sn).chain(behind.copied()).take(MAX_REACHED).collect()
    }

    /// The standing that the event should have.
    async fn standing(
        &mut self,
        event: &GraphEvent,
        pdu: &Pdu,
        before: StateMap,
        report: &mut RoomReport,
    ) -> Result<Standing, RoomError> {
        // The rules judged a redacted event as it was before.
        if self.judging == Judging::AsStored || !pdu.has_valid_content_hash() {
            return Ok(event.standing);
        }
        let was_rejected = event.standing == Standing::Rejected;
        if was_rejected && self.judging != Judging::Again {
            return Ok(event.standing);
        }
        let state = self.auth_state(pdu, before).await?;
        if was_rejected && !self.is_permitted(pdu, &state).await? {
            return Ok(event.standing);
        }
        let event_id = event.stored.event_id.clone();
        match auth::check(pdu, &state) {
            Ok(()) if was_rejected => {
                let standing = if is_dummy(pdu) { Standing::Hidden } else { Standing::Accepted };
                report.add(Finding::Allowed { event_id });
                self.derived.standings.push((event.stored.sn, standing));
                Ok(standing)
            }
            Ok(()) => Ok(event.standing),
            Err(_) if was_rejected => Ok(event.standing),
            Err(error) => {
                report.add(Finding::NotAllowed { event_id, reason: error.to_string() });
                self.derived.standings.push((event.stored.sn, Standing::Rejected));
                Ok(Standing::Rejected)
            }
        }
    }

    /// Whether what an event names as permitting it does so. `state` has the create event.
    async fn is_permitted(&self, pdu: &Pdu, state: &AuthState) -> Result<bool, RoomError> {
        // Whether it has the signature of who vouches for the join is not known any more.
        if pdu.member().is_ok_and(|content| !matches!(content.join_authorised_via_users_server, Ok(None))) {
            return Ok(false);
        }
        let names: Vec<String> = pdu.auth_events().iter().map(ToString::to_string).collect();
        let found = self.database.graph_events_by_id(self.room.room_sn, &names).await?;
        let mut parsed = Vec::with_capacity(found.len());
        for event in &found {
            let derived = self.nodes.get(&*event.stored.event_id).map(|node| node.standing);
            let rejected = derived.unwrap_or(event.standing) == Standing::Rejected;
            parsed.push((self.room.parse(event)?, rejected));
        }
        let names_create = pdu.version().room_id_is_create_hash();
        let create = state.get("m.room.create", "").filter(|_| names_create).map(accepted);
        let named: Vec<AuthEvent<'_>> =
            parsed.iter().map(|(event, rejected)| AuthEvent { event, rejected: *rejected }).collect();
        if named.len() < names.len() || auth::check_auth_events(pdu, &named, create).is_err() {
            return Ok(false);
        }
        let create = state.get("m.room.create", "").filter(|_| names_create);
        let by_auth_events: AuthState = parsed.iter().map(|(event, _)| event).chain(create).cloned().collect();
        Ok(auth::check(pdu, &by_auth_events).is_ok())
    }

    async fn auth_state(&mut self, pdu: &Pdu, state: StateMap) -> Result<AuthState, RoomError> {
        let needed =
            auth_types_for_event(pdu.version(), pdu.event_type(), pdu.sender(), pdu.state_key(), pdu.content());
        let mut places = vec![self.resolver().place(&StatePlace::new("m.room.create", "")).await?];
        for (event_type, state_key) in needed.unwrap_or_default() {
            let key = StatePlace::new(event_type, &state_key);
            places.push(self.resolver().place(&key).await?);
        }
        let found = self.database.with_chunks(|chunks| state.get_many(chunks, &places)).await?;
        let mut auth_state = AuthState::new();
        for sn in found.into_iter().flatten() {
            let pdu = match self.parsed.get(&sn) {
                Some(pdu) => pdu.clone(),
                None => {
                    let stored = self.database.graph_events(&[sn]).await?.pop();
                    self.room.parse(&stored.ok_or_else(|| self.room.corrupt(format!("event {sn} is missing")))?)?
                }
            };
            auth_state.insert(pdu);
        }
        Ok(auth_state)
    }

    async fn apply(&mut self, state: StateMap, changes: &[(Place, Option<EventSn>)]) -> Result<StateMap, RoomError> {
        if changes.is_empty() {
            return Ok(state);
        }
        let applied = self.database.with_chunks(|chunks| state.apply(chunks, changes)).await?;
        self.derived.chunks.write().extend(applied.new_chunks.iter().cloned());
        self.new_chunks.extend(applied.new_chunks);
        Ok(applied.map)
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver { database: &self.database, interned: self.interned, room: self.room }
    }
}

impl RoomCheck {
    /// All accepted state events with their auth events, if the index of auth chains is wrong about any of them.
    pub(super) async fn check_auth_chains(
        &self,
        room: &RoomIdentity,
        report: &mut RoomReport,
    ) -> Result<Option<Vec<IndexedEvent>>, RoomError> {
        let mut state_events = self.indexed_state_events(room).await?;
        // Events get their numbers after their auth events. Their places in the timeline may be in another order.
        state_events.sort_unstable_by_key(|event| event.sn);
        let mut is_damaged = false;
        let mut indexed = Vec::with_capacity(state_events.len());
        let mut places: HashMap<Box<str>, (EventSn, StatePlace)> = HashMap::with_capacity(state_events.len());
        for StateEvent { sn, event_id, key, named, stored } in state_events {
            let named: Vec<&(EventSn, StatePlace)> = named.iter().filter_map(|id| places.get(id.as_str())).collect();
            let auth_events: Vec<EventSn> = named.iter().map(|(sn, _)| *sn).collect();
            let replaces = named.iter().find(|(_, of)| *of == key).map(|(sn, _)| *sn);
            if stored.as_ref() != Some(&auth_events) {
                report.add(Finding::WrongAuthChain { event_id: event_id.clone() });
                is_damaged = true;
            }
            indexed.push(IndexedEvent { event_sn: sn, auth_events: auth_events.into_iter().collect(), replaces });
            places.insert(event_id, (sn, key));
        }
        Ok(is_damaged.then_some(indexed))
    }
    /// The state events of a room that can be in auth chains.
    async fn indexed_state_events(&self, room: &RoomIdentity) -> Result<Vec<StateEvent>, RoomError> {
        let mut after = TimelineOrder(i64::MIN);
        let mut found = Vec::new();
        loop {
            let events = self.database.graph_events_after(room.room_sn, after, EVENTS_AT_ONCE).await?;
            let Some(last) = events.last() else { return Ok(found) };
            after = last.stored.order;
            for event in events.into_iter().filter(|event| event.standing != Standing::Rejected) {
                let Ok(pdu) = room.parse(&event) else { continue };
                let Some(state_key) = pdu.state_key() else { continue };
                found.push(StateEvent {
                    sn: event.stored.sn,
                    key: StatePlace::new(pdu.event_type(), state_key),
                    named: pdu.auth_events().to_vec(),
                    stored: event.is_indexed.then_some(event.auth_events),
                    event_id: event.stored.event_id,
                });
            }
        }
    }
}

fn accepted(event: &Pdu) -> AuthEvent<'_> {
    AuthEvent { event, rejected: false }
}

/// A state event, and its auth events as it names them and as they are stored.
struct StateEvent {
    sn: EventSn,
    event_id: Box<str>,
    key: StatePlace,
    named: Vec<OwnedEventId>,
    stored: Option<Vec<EventSn>>,
}
