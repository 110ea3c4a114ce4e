//! Which state holds where branches of a room meet: what the resolution in the engine needs is read here.

use std::collections::{BTreeMap, HashMap};

use homeserver_core::{EventSn, RoomSn};
use room_engine::auth_chain::{ChainCover, IndexedEvent};
use room_engine::resolution::{Conflict, Need, Resolution, ResolutionEvent, StateKey, Step};
use room_engine::state_map::{Place, StateMap};
use room_engine::{Pdu, RoomVersion};
use ruma::OwnedRoomId;
use storage::{Database, GraphEvent, Interned, StateBefore};

use super::RoomError;

/// How often a resolution may ask for more before it counts as going round in circles.
const MAX_ROUNDS: usize = 10_000;

/// What every event of a room is read with.
#[derive(Clone, Debug)]
pub(super) struct RoomContext {
    pub(super) room_sn: RoomSn,
    pub(super) room_id: OwnedRoomId,
    pub(super) version: RoomVersion,
}

impl RoomContext {
    /// Reads a stored event.
    pub(super) fn parse(&self, event: &GraphEvent) -> Result<Pdu, RoomError> {
        let stored = &event.stored;
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

/// A state event that is about to be stored, whose own state takes part in a resolution.
#[derive(Clone, Debug)]
pub(super) struct Unstored {
    pub(super) pdu: Pdu,
    pub(super) place: Place,
    pub(super) auth_events: Vec<EventSn>,
    pub(super) previous_in_chain: Option<EventSn>,
}

/// The number that an [`Unstored`] event has in a resolution: later than all that are stored.
pub(super) const UNSTORED: EventSn = EventSn(i64::MAX);

/// Resolves states of one room.
pub(super) struct Resolver<'a> {
    pub(super) database: &'a Database,
    pub(super) interned: &'a Interned,
    pub(super) room: &'a RoomContext,
}

impl Resolver<'_> {
    /// The state where `states` meet, as changes of one of them.
    ///
    /// <https://spec.matrix.org/v1.19/rooms/v12/#state-resolution>
    ///
    /// # Errors
    /// [`RoomError`] if something that is needed cannot be read.
    pub(super) async fn resolve(&self, states: &[StateMap]) -> Result<StateBefore, RoomError> {
        let mut distinct: Vec<StateMap> = Vec::with_capacity(states.len());
        for state in states {
            if !distinct.contains(state) {
                distinct.push(*state);
            }
        }
        self.resolve_distinct(&distinct, None).await
    }

    /// The same, where the last of the states is the one before `unstored`, which has yet to change it. In the answer that
    /// event has the number [`UNSTORED`].
    ///
    /// # Errors
    /// As [`Resolver::resolve`].
    pub(super) async fn resolve_with(
        &self,
        others: &[StateMap],
        before: StateMap,
        unstored: &Unstored,
    ) -> Result<StateBefore, RoomError> {
        let mut states = others.to_vec();
        states.dedup();
        states.push(before);
        self.resolve_distinct(&states, Some(unstored)).await
    }

    async fn resolve_distinct(
        &self,
        states: &[StateMap],
        unstored: Option<&Unstored>,
    ) -> Result<StateBefore, RoomError> {
        let base = states.first().copied().unwrap_or(StateMap::EMPTY);
        if states.len() < 2 && unstored.is_none() {
            return Ok(StateBefore { base, changes: Vec::new() });
        }
        let mut conflicts = self.database.with_chunks(|chunks| StateMap::conflicts(states, chunks)).await?;
        if let Some(unstored) = unstored {
            let at = conflicts.binary_search_by_key(&unstored.place, |conflict| conflict.place);
            let index = match at {
                Ok(index) => index,
                Err(index) => {
                    let common = self.database.with_chunks(|chunks| base.get(chunks, unstored.place)).await?;
                    let events = states.iter().map(|_| common).collect();
                    conflicts.insert(index, room_engine::state_map::Conflict { place: unstored.place, events });
                    index
                }
            };
            if let Some(last) = conflicts.get_mut(index).and_then(|conflict| conflict.events.last_mut()) {
                *last = Some(UNSTORED);
            }
        }
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
        let wrong = |error: room_engine::resolution::ResolutionError| self.room.corrupt(error.to_string());
        let mut resolution = Resolution::new(self.room.version, create, keyed).map_err(wrong)?;
        let mut cover = ChainCover::new();
        if let Some(unstored) = unstored {
            self.add_unstored(&mut resolution, &mut cover, unstored).await?;
        }
        for _ in 0..MAX_ROUNDS {
            match resolution.step(&cover).map_err(wrong)? {
                Step::Load(need) => self.load(&mut resolution, &mut cover, base, &need).await?,
                Step::Done(changes) => {
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

    async fn create(&self, state: StateMap) -> Result<Pdu, RoomError> {
        let place = self.place(&StateKey::new("m.room.create", "")).await?;
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
        let mut keys: Vec<(Option<EventSn>, StateKey)> = need.state.iter().map(|key| (None, key.clone())).collect();
        for sn in &need.counterparts {
            if let Some(ResolutionEvent { pdu, .. }) = events.get(sn)
                && let Some(state_key) = pdu.state_key()
            {
                keys.push((Some(*sn), StateKey::new(pdu.event_type(), state_key)));
            }
        }
        let mut places = Vec::with_capacity(keys.len());
        for (_, key) in &keys {
            places.push(self.place(key).await?);
        }
        let found = self.database.with_chunks(|chunks| base.get_many(chunks, &places)).await?;
        for ((counterpart_of, key), event) in keys.iter().zip(found) {
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

    async fn key(&self, place: Place) -> Result<StateKey, RoomError> {
        let event_type = self.interned.type_name(place.event_type).await?;
        let state_key = self.interned.key_text(place.state_key).await?;
        Ok(StateKey::new(&event_type, &state_key))
    }

    /// A place that no event of this server has ever had gets no number: nothing is there.
    async fn place(&self, key: &StateKey) -> Result<Place, RoomError> {
        let event_type = self.interned.find_type(&key.event_type).await?.unwrap_or(homeserver_core::TypeSn(0));
        let state_key = self.interned.find_key(&key.state_key).await?.unwrap_or(homeserver_core::KeySn(0));
        Ok(Place::new(event_type, state_key))
    }
}
