//! State resolution: the engine resolves, and this module reads the events that it needs.

use std::collections::{BTreeMap, HashMap};

use homeserver_core::{EventSn, RoomSn};
use room_engine::auth::{AuthState, auth_types_for_event};
use room_engine::auth_chain::{ChainCover, IndexedEvent};
use room_engine::resolution::{
    Conflict, Need, Resolution, ResolutionError, ResolutionEvent, ResolutionStep, StatePlace,
};
use room_engine::state_map::{Place, PlaceConflict, StateMap};
use room_engine::{Pdu, RoomVersion};
use ruma::OwnedRoomId;
use storage::{Database, GraphEvent, Interned, RoomHead, StateBefore, StoredPdu};

use super::RoomError;

/// A resolution that still needs events after so many rounds is an error.
const MAX_ROUNDS: usize = 10_000;

/// What is needed to parse an event of a room.
#[derive(Clone, Debug)]
pub struct RoomIdentity {
    /// Its number.
    pub room_sn: RoomSn,
    /// Its ID.
    pub room_id: OwnedRoomId,
    /// Its version.
    pub version: RoomVersion,
}

impl RoomIdentity {
    pub(super) async fn load(interned: &Interned, room_sn: RoomSn, head: &RoomHead) -> Result<Self, RoomError> {
        let room_id = interned.room_id(room_sn).await?;
        let wrong =
            |error: ruma::IdParseError| RoomError::Corrupt { room_sn, event_id: "".into(), reason: error.to_string() };
        let room_id = OwnedRoomId::try_from(&*room_id).map_err(wrong)?;
        Ok(Self { room_sn, room_id, version: head.room_version.parse()? })
    }

    /// Reads a stored event.
    pub(super) fn parse(&self, event: &GraphEvent) -> Result<Pdu, RoomError> {
        self.parse_stored(&event.stored)
    }

    pub(super) fn parse_stored(&self, stored: &StoredPdu) -> Result<Pdu, RoomError> {
        let (client, federation) = (stored.client_json.clone(), stored.federation_json.clone());
        Pdu::from_stored(self.version, self.room_id.clone(), client, federation).map_err(|error| RoomError::Corrupt {
            room_sn: self.room_sn,
            event_id: stored.event_id.clone(),
            reason: error.to_string(),
        })
    }

    pub(super) fn corrupt(&self, reason: impl Into<String>) -> RoomError {
        RoomError::Corrupt { room_sn: self.room_sn, event_id: "".into(), reason: reason.into() }
    }
}

/// A state event that is not stored yet and takes part in a resolution.
#[derive(Clone, Debug)]
pub(super) struct Unstored {
    pub(super) pdu: Pdu,
    pub(super) place: Place,
    pub(super) auth_events: Vec<EventSn>,
    pub(super) previous_in_chain: Option<EventSn>,
}

/// The number of an [`Unstored`] event in a resolution: later than all stored events.
pub(super) const UNSTORED: EventSn = EventSn(i64::MAX);

/// Resolves states of one room.
pub(super) struct Resolver<'a> {
    pub(super) database: &'a Database,
    pub(super) interned: &'a Interned,
    pub(super) room: &'a RoomIdentity,
}

impl Resolver<'_> {
    /// The resolution of `states`, as changes of one of them.
    ///
    /// <https://spec.matrix.org/v1.19/rooms/v12/#state-resolution>
    pub(super) async fn resolve(&self, states: &[StateMap]) -> Result<StateBefore, RoomError> {
        let mut distinct: Vec<StateMap> = Vec::with_capacity(states.len());
        for state in states {
            if !distinct.contains(state) {
                distinct.push(*state);
            }
        }
        let base = distinct.first().copied().unwrap_or(StateMap::EMPTY);
        if distinct.len() < 2 {
            return Ok(StateBefore { base, changes: Vec::new() });
        }
        let conflicts = self.database.with_chunks(|chunks| StateMap::conflicts(&distinct, chunks)).await?;
        self.resolve_conflicts(base, conflicts, None).await
    }

    /// The resolution of `others` and the state after an event that is not stored yet: `before`, changed by that event. In
    /// the answer the event has the number [`UNSTORED`].
    pub(super) async fn resolve_with(
        &self,
        others: &[StateMap],
        before: &StateBefore,
        unstored: Option<&Unstored>,
    ) -> Result<StateBefore, RoomError> {
        let mut states: Vec<StateMap> = Vec::with_capacity(others.len() + 1);
        for state in others {
            if !states.contains(state) {
                states.push(*state);
            }
        }
        states.push(before.base);
        let mut after: BTreeMap<Place, Option<EventSn>> = before.changes.iter().copied().collect();
        after.extend(unstored.map(|unstored| (unstored.place, Some(UNSTORED))));

        let found = self.database.with_chunks(|chunks| StateMap::conflicts(&states, chunks)).await?;
        let mut conflicts: BTreeMap<Place, PlaceConflict> = found.into_iter().map(|it| (it.place, it)).collect();
        let agreed: Vec<Place> = after.keys().filter(|place| !conflicts.contains_key(place)).copied().collect();
        let common = self.database.with_chunks(|chunks| before.base.get_many(chunks, &agreed)).await?;
        for (place, event) in agreed.into_iter().zip(common) {
            conflicts.insert(place, PlaceConflict { place, events: states.iter().map(|_| event).collect() });
        }
        for (place, event) in after {
            if let Some(last) = conflicts.get_mut(&place).and_then(|conflict| conflict.events.last_mut()) {
                *last = event;
            }
        }
        conflicts.retain(|_, conflict| conflict.events.windows(2).any(|pair| pair.first() != pair.last()));
        let base = states.first().copied().unwrap_or(before.base);
        self.resolve_conflicts(base, conflicts.into_values().collect(), unstored).await
    }

    /// Has the engine resolve the conflicts of states. `base` is one of the states.
    async fn resolve_conflicts(
        &self,
        base: StateMap,
        conflicts: Vec<PlaceConflict>,
        unstored: Option<&Unstored>,
    ) -> Result<StateBefore, RoomError> {
        if conflicts.is_empty() {
            return Ok(StateBefore { base, changes: Vec::new() });
        }
        let mut places = HashMap::with_capacity(conflicts.len());
        let mut keyed = Vec::with_capacity(conflicts.len());
        for conflict in conflicts {
            let key = self.key(conflict.place).await?;
            places.insert(key.clone(), conflict.place);
            keyed.push(Conflict { key, events: conflict.events.into_iter().collect() });
        }
        let create = self.create(base).await?;
        let wrong = |error: ResolutionError| self.room.corrupt(error.to_string());
        let mut resolution = Resolution::new(self.room.version, create, keyed).map_err(wrong)?;
        let mut cover = ChainCover::new();
        if let Some(unstored) = unstored {
            self.add_unstored(&mut resolution, &mut cover, unstored).await?;
        }
        for _ in 0..MAX_ROUNDS {
            match resolution.step(&cover).map_err(wrong)? {
                ResolutionStep::Load(need) => self.load(&mut resolution, &mut cover, base, &places, &need).await?,
                ResolutionStep::Done(changes) => {
                    let mut sorted = BTreeMap::new();
                    for change in changes {
                        let place = match places.get(&change.key) {
                            Some(place) => *place,
                            None => self.place(&change.key).await?,
                        };
                        sorted.insert(place, change.event);
                    }
                    return Ok(StateBefore { base, changes: sorted.into_iter().collect() });
                }
            }
        }
        Err(self.room.corrupt("resolving its state does not come to an end"))
    }

    /// The event at a place of a state.
    pub(super) async fn event_at(&self, state: &StateBefore, place: Place) -> Result<Option<GraphEvent>, RoomError> {
        debug_assert!(state.changes.is_sorted_by(|(a, _), (b, _)| a < b), "changes of a state are in order");
        let sn = match state.changes.binary_search_by_key(&place, |(place, _)| *place) {
            Ok(index) => state.changes.get(index).and_then(|(_, event)| *event),
            Err(_) => self.database.with_chunks(|chunks| state.base.get(chunks, place)).await?,
        };
        let found = self.database.graph_events(sn.as_slice()).await?.pop();
        match (sn, found) {
            (Some(sn), None) => Err(self.room.corrupt(format!("event {sn} of its state is missing"))),
            (_, found) => Ok(found),
        }
    }

    /// The events of a state that the rules need to judge an event.
    pub(super) async fn auth_state(&self, event: &Pdu, state: &StateBefore) -> Result<AuthState, RoomError> {
        let needed = auth_types_for_event(
            event.version(),
            event.event_type(),
            event.sender(),
            event.state_key(),
            event.content(),
        );
        // The rules need the create event, which is not among the auth events of every version. They refuse a malformed event
        // themselves.
        let mut places = vec![self.place(&StatePlace::new("m.room.create", "")).await?];
        for (event_type, state_key) in needed.unwrap_or_default() {
            places.push(self.place(&StatePlace::new(event_type, &state_key)).await?);
        }
        let mut events = self.database.with_chunks(|chunks| state.base.get_many(chunks, &places)).await?;
        for (place, event) in places.iter().zip(&mut events) {
            if let Ok(index) = state.changes.binary_search_by_key(place, |(place, _)| *place) {
                *event = state.changes.get(index).and_then(|(_, event)| *event);
            }
        }
        let mut sns: Vec<EventSn> = events.into_iter().flatten().collect();
        sns.sort_unstable();
        sns.dedup();
        let found = self.database.graph_events(&sns).await?;
        if found.len() < sns.len() {
            return Err(self.room.corrupt("an event of its state is missing"));
        }
        found.iter().map(|event| self.room.parse(event)).collect()
    }

    async fn create(&self, state: StateMap) -> Result<Pdu, RoomError> {
        let place = self.place(&StatePlace::new("m.room.create", "")).await?;
        let sn = self.database.with_chunks(|chunks| state.get(chunks, place)).await?;
        let found = self.database.graph_events(sn.as_slice()).await?.pop();
        self.room.parse(&found.ok_or_else(|| self.room.corrupt("it has no create event"))?)
    }

    async fn add_unstored(
        &self,
        resolution: &mut Resolution,
        cover: &mut ChainCover,
        unstored: &Unstored,
    ) -> Result<(), RoomError> {
        let Unstored { pdu, auth_events, previous_in_chain, .. } = unstored;
        let indexed = IndexedEvent {
            event_sn: UNSTORED,
            auth_events: auth_events.iter().copied().collect(),
            replaces: *previous_in_chain,
        };
        for _ in 0..MAX_ROUNDS {
            match cover.insert(std::slice::from_ref(&indexed)) {
                Ok(_) => {
                    let auth_events = auth_events.iter().copied().collect();
                    resolution.add_event(ResolutionEvent {
                        sn: UNSTORED,
                        pdu: pdu.clone(),
                        auth_events,
                        rejected: false,
                    });
                    return Ok(());
                }
                Err(need) => self.database.load_auth_chains(&need, cover).await?,
            }
        }
        Err(self.room.corrupt("placing an event in its auth chain does not come to an end"))
    }

    async fn load(
        &self,
        resolution: &mut Resolution,
        cover: &mut ChainCover,
        base: StateMap,
        conflicted: &HashMap<StatePlace, Place>,
        need: &Need,
    ) -> Result<(), RoomError> {
        self.database.load_auth_chains(&need.chains, cover).await?;
        let ranges = self.database.events_of_chains(&need.ranges).await?;
        let mut wanted: Vec<EventSn> = need.events.iter().chain(&need.counterparts).copied().collect();
        wanted.extend(ranges.iter().flat_map(|(_, events)| events));
        wanted.sort_unstable();
        wanted.dedup();
        let mut events: HashMap<EventSn, ResolutionEvent> = HashMap::with_capacity(wanted.len());
        for event in self.database.graph_events(&wanted).await? {
            events.insert(event.stored.sn, self.resolution_event(&event)?);
        }
        for event in need.events.iter().filter_map(|sn| events.get(sn)) {
            resolution.add_event(event.clone());
        }
        for (range, sns) in ranges {
            resolution.add_range(range, sns.iter().filter_map(|sn| events.get(sn).cloned()));
        }
        let mut keys: Vec<(Option<EventSn>, StatePlace)> = need.state.iter().map(|key| (None, key.clone())).collect();
        for sn in &need.counterparts {
            if let Some(ResolutionEvent { pdu, .. }) = events.get(sn)
                && let Some(state_key) = pdu.state_key()
            {
                keys.push((Some(*sn), StatePlace::new(pdu.event_type(), state_key)));
            }
        }
        let mut places = Vec::with_capacity(keys.len());
        for (_, key) in &keys {
            places.push(self.place(key).await?);
        }
        let found = self.database.with_chunks(|chunks| base.get_many(chunks, &places)).await?;
        for ((counterpart_of, key), event) in keys.iter().zip(found) {
            // A conflicted place is not part of the unconflicted state, even if `base` has an event there.
            let event = event.filter(|_| !conflicted.contains_key(key));
            match counterpart_of {
                Some(sn) => resolution.add_counterpart(*sn, event),
                None => resolution.add_state(key, event),
            }
        }
        Ok(())
    }

    fn resolution_event(&self, event: &GraphEvent) -> Result<ResolutionEvent, RoomError> {
        Ok(ResolutionEvent {
            sn: event.stored.sn,
            pdu: self.room.parse(event)?,
            auth_events: event.auth_events.iter().copied().collect(),
            rejected: event.standing == storage::Standing::Rejected,
        })
    }

    pub(super) async fn key(&self, place: Place) -> Result<StatePlace, RoomError> {
        let event_type = self.interned.type_name(place.event_type).await?;
        let state_key = self.interned.key_text(place.state_key).await?;
        Ok(StatePlace::new(&event_type, &state_key))
    }

    /// The place of a type and state key. If no stored event has them, they have no numbers, and the place is empty.
    pub(super) async fn place(&self, key: &StatePlace) -> Result<Place, RoomError> {
        let event_type = self.interned.find_type(&key.event_type).await?.unwrap_or(homeserver_core::TypeSn(0));
        let state_key = self.interned.find_key(&key.state_key).await?.unwrap_or(homeserver_core::KeySn(0));
        Ok(Place::new(event_type, state_key))
    }
}
