//! Receiving an event whose previous events are missing, with the state before it as another server tells it.

use std::collections::BTreeMap;

use homeserver_core::EventSn;
use room_engine::receipt::{KeyLookup, ReceivedPdu};
use room_engine::resolution::StatePlace;
use room_engine::state_map::{Place, StateMap};
use ruma::OwnedEventId;
use storage::{Standing, StateBefore};

use super::Reception;
use crate::resolving::{Resolver, RoomIdentity};
use crate::{RoomError, Timeline};

impl Timeline {
    /// As [`Timeline::receive`], for an event whose `prev_events` are missing: `state_before` is the state before it, as another server
    /// told it. All events of it must be stored. Where nothing is missing, it is not looked at.
    ///
    /// # Errors
    /// As [`Timeline::receive`]; [`RoomError::Invalid`] if not all events of the state are stored, or two are in one place.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn receive_with_state<K: KeyLookup + Sync + ?Sized>(
        &self,
        room: &RoomIdentity,
        event: ReceivedPdu,
        keys: &K,
        state_before: &[OwnedEventId],
    ) -> Result<Reception, RoomError> {
        match self.verify_read(vec![event], keys).await?.pop() {
            Some(Ok(verified)) => self.receive_in_turn(room, verified, Some(state_before)).await,
            Some(Err(dropped)) => Ok(Reception::Dropped(dropped)),
            None => Err(RoomError::Contended),
        }
    }
}

impl Resolver<'_> {
    /// A state that was told by the IDs of its events, as changes of the current state: mostly they have nearly all in common.
    pub(super) async fn told_state(&self, current: StateMap, told: &[OwnedEventId]) -> Result<StateBefore, RoomError> {
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

    async fn told_places(&self, told: &[OwnedEventId]) -> Result<BTreeMap<Place, EventSn>, RoomError> {
        let ids: Vec<String> = told.iter().map(ToString::to_string).collect();
        let stored = self.database.state_event_places(self.room.room_sn, &ids).await?;
        let mut places = BTreeMap::new();
        let mut found = 0;
        for event in stored {
            found += 1;
            // A rejected event never is part of a state, whatever others say.
            if event.standing == Standing::Rejected {
                continue;
            }
            if places.insert(event.place, event.event_sn).is_some_and(|other| other != event.event_sn) {
                return Err(RoomError::Invalid("The state has two events in one place.".to_owned()));
            }
        }
        let mut distinct = ids;
        distinct.sort_unstable();
        distinct.dedup();
        if found < distinct.len() {
            return Err(RoomError::Invalid("Not all events of the state are stored.".to_owned()));
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
