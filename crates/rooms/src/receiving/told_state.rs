//! Receiving an event whose previous events are missing, with the state before it as another server tells it.

use std::collections::BTreeMap;
use std::sync::Arc;

use homeserver_core::EventSn;
use parking_lot::RwLock;
use room_engine::Pdu;
use room_engine::receipt::{KeyLookup, ReceivedPdu};
use room_engine::resolution::StatePlace;
use room_engine::state_map::{MemoryChunks, Place, StateMap};
use ruma::OwnedEventId;
use storage::{Standing, StateBefore};

use super::backfilling::apply;
use super::{Reception, is_placeless};
use crate::resolving::{Resolver, RoomIdentity};
use crate::{RoomError, Timeline};

/// The state at an event that is missing here, as another server told it.
#[derive(Clone, Debug)]
pub struct ToldState {
    /// The event. If it is a state event that could be stored, it is part of the state after it.
    pub event_id: OwnedEventId,
    /// The events of the state before it, which are all stored.
    pub before: Vec<OwnedEventId>,
}

impl Timeline {
    /// The events of the state before an event: resolved from the states after those of its `prev_events` that are here, and the told
    /// states of the others. `None` if one of them is neither here nor told.
    ///
    /// # Errors
    /// [`RoomError::Invalid`] if not all events of a told state are stored, or two are in one place.
    pub async fn state_before_told(
        &self,
        room: &RoomIdentity,
        event: &Pdu,
        told: &[ToldState],
    ) -> Result<Option<Vec<OwnedEventId>>, RoomError> {
        let overlay = Arc::new(RwLock::new(MemoryChunks::default()));
        let database = self.database().overlaid(overlay.clone());
        let resolver = Resolver { database: &database, interned: self.interned(), room };
        let head = database.room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        let current = head.state.ok_or(RoomError::StateUnknown)?;
        let names: Vec<String> = event.prev_events().iter().map(ToString::to_string).collect();
        let stored = database.graph_events_by_id(room.room_sn, &names).await?;
        let (mut states, mut chunks) = (Vec::with_capacity(names.len()), Vec::new());
        for event_id in event.prev_events() {
            let known = stored.iter().find(|event| *event.stored.event_id == *event_id.as_str());
            if let Some(known) = known.filter(|event| !is_placeless(event)) {
                states.extend(known.state.filter(|state| *state != StateMap::EMPTY));
                continue;
            }
            let Some(told) = told.iter().find(|told| told.event_id == *event_id) else { return Ok(None) };
            let after = resolver.told_state_after(current, told).await?;
            states.push(apply(&resolver, &overlay, after.base, &after.changes, &mut chunks).await?);
        }
        if states.is_empty() {
            return Ok(None);
        }
        let before = resolver.resolve(&states).await?;
        let before = apply(&resolver, &overlay, before.base, &before.changes, &mut chunks).await?;
        let entries = database.with_chunks(|chunks| before.iter(chunks)).await?;
        let sns: Vec<EventSn> = entries.map(|(_, event_sn)| event_sn).collect();
        let ids = database.event_ids(&sns).await?;
        Ok(Some(ids.into_iter().filter_map(|(_, id)| OwnedEventId::try_from(String::from(id)).ok()).collect()))
    }

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

    /// The state after an event that is missing here, as changes of the current state.
    async fn told_state_after(&self, current: StateMap, told: &ToldState) -> Result<StateBefore, RoomError> {
        let before = self.told_state(current, &told.before).await?;
        let ids = [told.event_id.to_string()];
        let own = self.database.state_event_places(self.room.room_sn, &ids).await?;
        let own = own.into_iter().filter(|event| event.standing != Standing::Rejected);
        let mut changes: BTreeMap<Place, Option<EventSn>> = before.changes.into_iter().collect();
        changes.extend(own.map(|event| (event.place, Some(event.event_sn))));
        Ok(StateBefore { base: before.base, changes: changes.into_iter().collect() })
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
