//! States that other servers tell, by the IDs of their events.

use std::collections::BTreeMap;
use std::sync::Arc;

use homeserver_core::EventSn;
use parking_lot::RwLock;
use room_engine::receipt::{KeyLookup, ReceivedPdu};
use room_engine::resolution::StatePlace;
use room_engine::state_map::{MemoryChunks, Place, StateMap};
use ruma::OwnedEventId;
use storage::{Standing, StateBefore};

use super::Reception;
use crate::resolving::{Resolver, RoomIdentity};
use crate::{RoomError, Timeline};

/// A state that another server told. All its events must be stored.
#[derive(Clone, Debug, Default)]
pub struct ToldState {
    /// The events of the state.
    pub events: Vec<OwnedEventId>,
    /// An event that comes after it. If it is a state event, it is in its place.
    pub then: Option<OwnedEventId>,
}

/// What another server told of the state before an event some of whose `prev_events` are missing.
#[derive(Clone, Debug)]
pub enum ToldStates {
    /// The state before the event.
    Before(ToldState),
    /// The states after those of its `prev_events` that are missing.
    AfterMissing(Vec<ToldState>),
}

impl ToldStates {
    /// The state before the event.
    #[must_use]
    pub fn before(events: Vec<OwnedEventId>) -> Self {
        Self::Before(ToldState { events, then: None })
    }
}

impl Timeline {
    /// As [`Timeline::receive`], for an event whose `prev_events` are missing, with what another server told of the state before it.
    /// Where nothing is missing, it is not looked at.
    ///
    /// # Errors
    /// As [`Timeline::receive`]; [`RoomError::Invalid`] if not all events of a state are stored, or two are in one place.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn receive_with_state<K: KeyLookup + Sync + ?Sized>(
        &self,
        room: &RoomIdentity,
        event: ReceivedPdu,
        keys: &K,
        told: &ToldStates,
    ) -> Result<Reception, RoomError> {
        match self.verify_read(vec![event], keys).await?.pop() {
            Some(Ok(verified)) => self.receive_in_turn(room, verified, Some(told)).await,
            Some(Err(dropped)) => Ok(Reception::Dropped(dropped)),
            None => Err(RoomError::Contended),
        }
    }
}

impl Resolver<'_> {
    /// What was told of the state before an event, as changes of `current`: mostly they have nearly all in common. `known` are the states
    /// after those of its `prev_events` that are not missing.
    pub(super) async fn told_states(
        &self,
        current: StateMap,
        told: &ToldStates,
        known: Vec<StateMap>,
    ) -> Result<StateBefore, RoomError> {
        let states = match told {
            ToldStates::Before(state) => return self.told_state(current, state).await,
            ToldStates::AfterMissing(states) => states,
        };
        if let ([state], true) = (states.as_slice(), known.is_empty()) {
            return self.told_state(current, state).await;
        }
        // The told states are not stored, but for what becomes of all of them.
        let overlay = Arc::new(RwLock::new(MemoryChunks::default()));
        let database = self.database.overlaid(overlay.clone());
        let resolver = Resolver { database: &database, interned: self.interned, room: self.room };
        let mut states_after = known;
        for state in states {
            let told = resolver.told_state(current, state).await?;
            let applied = database.with_chunks(|chunks| told.base.apply(chunks, &told.changes)).await?;
            overlay.write().extend(applied.new_chunks);
            states_after.push(applied.map);
        }
        let resolved = resolver.resolve(&states_after).await?;
        let differences = resolver.differences(current, &resolved).await?;
        let changes = differences.into_iter().map(|(place, _, event)| (place, event)).collect();
        Ok(StateBefore { base: current, changes })
    }

    /// A state that was told, as changes of the current state.
    pub(super) async fn told_state(&self, current: StateMap, told: &ToldState) -> Result<StateBefore, RoomError> {
        let told = self.told_places(told).await?;
        let entries = self.database.with_chunks(|chunks| current.iter(chunks)).await?;
        let current_entries: BTreeMap<Place, EventSn> = entries.collect();
        let create = self.place(&StatePlace::new("m.room.create", "")).await?;
        if told.get(&create) != current_entries.get(&create) {
            return Err(RoomError::Invalid(
                "The state is not one of this room: its create event is missing.".to_owned(),
            ));
        }
        Ok(StateBefore { base: current, changes: changes(&current_entries, &told) })
    }

    async fn told_places(&self, told: &ToldState) -> Result<BTreeMap<Place, EventSn>, RoomError> {
        let mut ids: Vec<String> = told.events.iter().map(ToString::to_string).collect();
        ids.sort_unstable();
        ids.dedup();
        let stored = self.database.state_event_places(self.room.room_sn, &ids).await?;
        if stored.len() < ids.len() {
            return Err(RoomError::Invalid("Not all events of the state are stored.".to_owned()));
        }
        let mut places = BTreeMap::new();
        // A rejected event never is part of a state, whatever others say.
        for event in stored.into_iter().filter(|event| event.standing != Standing::Rejected) {
            if places.insert(event.place, event.event_sn).is_some_and(|other| other != event.event_sn) {
                return Err(RoomError::Invalid("The state has two events in one place.".to_owned()));
            }
        }
        let then: Vec<String> = told.then.iter().map(ToString::to_string).collect();
        for event in self.database.state_event_places(self.room.room_sn, &then).await? {
            if event.standing != Standing::Rejected {
                places.insert(event.place, event.event_sn);
            }
        }
        Ok(places)
    }
}

/// The changes that make one state of another.
pub(super) fn changes(from: &BTreeMap<Place, EventSn>, to: &BTreeMap<Place, EventSn>) -> Vec<(Place, Option<EventSn>)> {
    let removed = from.keys().filter(|place| !to.contains_key(place)).map(|place| (*place, None));
    let mut changes: BTreeMap<Place, Option<EventSn>> = removed.collect();
    changes.extend(
        to.iter().filter(|(place, event)| from.get(place) != Some(*event)).map(|(place, it)| (*place, Some(*it))),
    );
    changes.into_iter().collect()
}
