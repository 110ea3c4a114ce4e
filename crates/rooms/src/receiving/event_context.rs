//! The context in which a received event is judged: the events that it names, and the room's forward extremities.

use std::collections::{HashMap, HashSet};

use room_engine::Pdu;
use room_engine::auth::{AuthState, StateLookup as _};
use room_engine::receipt::{Dropped, VerifiedPdu};
use room_engine::state_map::StateMap;
use ruma::OwnedEventId;
use storage::{Database, GraphEvent, RoomHead, Standing};

use super::super::RoomError;
use super::super::resolving::RoomIdentity;
use super::Missing;

/// So many rejected or soft-failed events before a new one are followed to find the forward extremities behind them.
const MAX_HIDDEN_PREDECESSORS: usize = 100;

/// Whether a received event can be judged.
pub(super) enum Lookup {
    /// The event was stored before.
    Known(Standing),
    /// The event cannot be stored.
    Dropped(Dropped),
    /// Events that it names are not stored yet, or have no place in the room.
    Missing(Missing),
    /// Everything is there that it is judged by.
    Found(Box<EventContext>),
}

/// The stored events and state that an event is judged by.
pub(super) struct EventContext {
    /// Its `prev_events`.
    pub(super) prev_events: Vec<GraphEvent>,
    /// Its `auth_events` and the create event, by their IDs.
    auth_events: HashMap<OwnedEventId, GraphEvent>,
    /// The parsed `auth_events`, and whether they were rejected.
    pub(super) parsed: HashMap<OwnedEventId, (Pdu, bool)>,
    /// The forward extremities that the event does not follow.
    pub(super) other_extremities: Vec<GraphEvent>,
    /// All forward extremities before the event.
    pub(super) extremities: Vec<GraphEvent>,
    /// The room's current state.
    pub(super) current: StateMap,
    pub(super) head_version: i64,
    /// The event itself, if it is stored without a place in the room.
    pub(super) outlier: Option<GraphEvent>,
    /// Whether events before it are missing.
    pub(super) follows_gap: bool,
}

/// Whether an event is stored only because others refer to it: the state after it is not known.
pub(in super::super) fn is_placeless(event: &GraphEvent) -> bool {
    event.standing == Standing::Outlier || (event.standing == Standing::Rejected && event.state.is_none())
}

impl Lookup {
    /// `is_state_told`: the state before the event is known from elsewhere, so its `prev_events` may be missing.
    pub(super) async fn load(
        database: &Database,
        room: &RoomIdentity,
        head: &RoomHead,
        verified: &VerifiedPdu,
        is_state_told: bool,
    ) -> Result<Self, RoomError> {
        let pdu = verified.event();
        let needed = verified.needed_events();
        let mut names: Vec<String> = needed.iter().chain(pdu.prev_events()).map(ToString::to_string).collect();
        names.push(pdu.event_id().to_string());
        names.sort_unstable();
        names.dedup();
        let found = database.graph_events_by_id(room.room_sn, &names).await?;
        let found: HashMap<&str, &GraphEvent> = found.iter().map(|event| (&*event.stored.event_id, event)).collect();
        let known = found.get(pdu.event_id().as_str()).copied();
        // A room's create event gets its place with the rest of its past only: nothing that comes later can be before it.
        let is_create = pdu.event_type() == "m.room.create";
        if let Some(known) = known.filter(|known| is_create || !is_placeless(known)) {
            return Ok(Self::Known(known.standing));
        }
        // The room's own create event has come with its state, and needs no place.
        if let Some(known) = known.filter(|known| known.standing == Standing::Outlier)
            && pdu.event_type() == "m.room.create"
        {
            return Ok(Self::Known(known.standing));
        }
        if known.is_none()
            && pdu.version().event_id_in_pdu()
            && database.is_event_id_taken(pdu.event_id().as_str()).await?
        {
            return Ok(Self::Dropped(Dropped::IdTaken { event_id: pdu.event_id().to_owned() }));
        }
        let missing = Missing::of(pdu, &needed, &found);
        if !missing.auth_events.is_empty() || (!missing.prev_events.is_empty() && !is_state_told) {
            return Ok(Self::Missing(missing));
        }
        let mut parsed = HashMap::with_capacity(needed.len());
        let mut auth_events = HashMap::with_capacity(needed.len());
        for event_id in needed {
            let Some(event) = found.get(event_id.as_str()) else { continue };
            parsed.insert(event_id.clone(), (room.parse(event)?, event.standing == Standing::Rejected));
            auth_events.insert(event_id, (*event).clone());
        }
        let mut prev_events: Vec<GraphEvent> = Vec::with_capacity(pdu.prev_events().len());
        for event in
            pdu.prev_events().iter().filter_map(|id| found.get(id.as_str())).filter(|event| !is_placeless(event))
        {
            if prev_events.iter().all(|known| known.stored.sn != event.stored.sn) {
                prev_events.push((*event).clone());
            }
        }
        let extremities = database.graph_events(&head.extremities).await?;
        let followed = followed(database, room, &prev_events).await?;
        let other_extremities =
            extremities.iter().filter(|event| !followed.contains(&*event.stored.event_id)).cloned().collect();
        let current = head.state.ok_or(RoomError::StateUnknown)?;
        let head_version = head.version;
        Ok(Self::Found(Box::new(EventContext {
            prev_events,
            auth_events,
            parsed,
            other_extremities,
            extremities,
            current,
            head_version,
            outlier: known.cloned(),
            follows_gap: !missing.prev_events.is_empty(),
        })))
    }
}

impl Missing {
    /// What an event names of what was not found. `needed` are its auth events.
    fn of(pdu: &Pdu, needed: &[OwnedEventId], found: &HashMap<&str, &GraphEvent>) -> Self {
        let is_found = |id: &OwnedEventId| found.contains_key(id.as_str());
        let has_place = |id: &OwnedEventId| found.get(id.as_str()).is_some_and(|event| !is_placeless(event));
        let mut prev_events: Vec<_> = pdu.prev_events().iter().filter(|id| !has_place(id)).cloned().collect();
        let mut auth_events: Vec<_> = needed.iter().filter(|id| !is_found(id)).cloned().collect();
        for events in [&mut prev_events, &mut auth_events] {
            events.sort_unstable();
            events.dedup();
        }
        Self { prev_events, auth_events }
    }
}

impl EventContext {
    /// The states after those of its `prev_events` that are here.
    pub(super) fn states_before(&self, room: &RoomIdentity) -> Result<Vec<StateMap>, RoomError> {
        let mut states: Vec<StateMap> = self.prev_events.iter().filter_map(|event| event.state).collect();
        if states.len() < self.prev_events.len() {
            return Err(room.corrupt("the state after one of its events is not known"));
        }
        // An event that followed nothing was rejected, and its empty state would conflict with everything.
        states.retain(|state| *state != StateMap::EMPTY);
        Ok(states)
    }

    /// The auth events of an event, in its order.
    pub(super) fn auth_events_of(&self, pdu: &Pdu) -> Vec<&GraphEvent> {
        pdu.auth_events().iter().filter_map(|id| self.auth_events.get(id)).collect()
    }

    /// The member events among the auth events of whose users a state has none.
    pub(super) fn members_beside(&self, state: &AuthState) -> Vec<Pdu> {
        let accepted = self.parsed.values().filter(|(_, is_rejected)| !is_rejected).map(|(event, _)| event);
        let members = accepted.filter(|event| event.event_type() == "m.room.member");
        let is_beside = |event: &&Pdu| event.state_key().is_some_and(|key| state.get("m.room.member", key).is_none());
        members.filter(is_beside).cloned().collect()
    }

    /// The auth event with the type and state key of the event itself.
    pub(super) fn previous_in_chain(&self, pdu: &Pdu) -> Option<&GraphEvent> {
        let state_key = pdu.state_key()?;
        let is_same = |id: &&OwnedEventId| {
            self.parsed.get(*id).is_some_and(|(event, _)| event.is_state(pdu.event_type(), state_key))
        };
        self.auth_events.get(pdu.auth_events().iter().find(is_same)?)
    }
}

/// The IDs of the events that a new one follows, directly or through rejected or soft-failed events, which are no forward
/// extremities.
pub(super) async fn followed(
    database: &Database,
    room: &RoomIdentity,
    prev_events: &[GraphEvent],
) -> Result<HashSet<Box<str>>, RoomError> {
    let mut followed: HashSet<Box<str>> = prev_events.iter().map(|event| event.stored.event_id.clone()).collect();
    let is_hidden = |event: &&GraphEvent| !event.standing.is_followed();
    let mut hidden: Vec<GraphEvent> = prev_events.iter().filter(is_hidden).cloned().collect();
    let mut seen = 0;
    while !hidden.is_empty() && seen < MAX_HIDDEN_PREDECESSORS {
        seen += hidden.len();
        let mut next: Vec<String> = Vec::new();
        for event in hidden.drain(..) {
            let pdu = room.parse(&event)?;
            next.extend(pdu.prev_events().iter().filter(|id| !followed.contains(id.as_str())).map(ToString::to_string));
        }
        let found = database.graph_events_by_id(room.room_sn, &next).await?;
        followed.extend(found.iter().map(|event| event.stored.event_id.clone()));
        hidden.extend(found.into_iter().filter(|event| !event.standing.is_followed()));
    }
    Ok(followed)
}
