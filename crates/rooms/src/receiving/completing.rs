//! Learning the rest of a state that was known in part.

use std::collections::{BTreeMap, HashMap, HashSet};

use room_engine::state_map::StateMap;
use ruma::OwnedEventId;
use storage::{GraphEvent, RepairedState};

use super::event_context::is_placeless;
use super::told_state::ToldStates;
use crate::resolving::{Resolver, RoomIdentity};
use crate::timeline::ATTEMPTS;
use crate::{RoomCheck, RoomError, Timeline};

/// An event by which this server has entered a room with a part of the state before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartialEntry {
    /// The event.
    pub event_id: OwnedEventId,
    /// Those of its `prev_events` that are not here. If there are none, the state before it follows from what is here.
    pub missing: Vec<OwnedEventId>,
}

impl Timeline {
    /// Whether only a part of a room's state is known, as the database says.
    ///
    /// # Errors
    /// [`RoomError`] if it cannot be read.
    pub async fn is_partial(&self, room: &RoomIdentity) -> Result<bool, RoomError> {
        let head = self.database().room_head(room.room_sn).await?;
        Ok(head.is_some_and(|head| head.state_whole_since.is_none()))
    }

    /// The events by which this server has entered a room with a part of the state before them.
    ///
    /// # Errors
    /// [`RoomError`] if they cannot be read.
    pub async fn partial_entries(&self, room: &RoomIdentity) -> Result<Vec<PartialEntry>, RoomError> {
        let entries = self.entries(room).await?;
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Takes in what was told of the states before the entries with missing `prev_events`: all of the room's state follows from that. What
    /// was accepted and rejected since is judged again. `false` if there is an entry of which nothing was told. It may run again after an
    /// interruption.
    ///
    /// # Errors
    /// [`RoomError::Invalid`] if what was told is no state of the room.
    pub async fn complete_state(
        &self,
        room: &RoomIdentity,
        told: &HashMap<OwnedEventId, ToldStates>,
    ) -> Result<bool, RoomError> {
        let check = RoomCheck::new(self.database().clone(), self.shared_interned());
        for _ in 0..ATTEMPTS {
            // Nothing is built on the room meanwhile: in a busy one this would never come to an end.
            let mut open = self.open_settled(room.room_sn).await?;
            if !self.is_partial(room).await? {
                return Ok(true);
            }
            let entries = self.entries(room).await?;
            if entries.iter().any(|(_, entry)| !entry.missing.is_empty() && !told.contains_key(&entry.event_id)) {
                return Ok(false);
            }
            // The head in memory has the state as it was.
            open.is_changed = true;
            if !self.replace_states(room, &entries, told).await? {
                continue;
            }
            if let Some(report) = check.judge_again(room).await? {
                tracing::info!(room_id = %room.room_id, events = report.events, "the whole state of a room is known");
                return Ok(true);
            }
        }
        Err(RoomError::Contended)
    }

    async fn entries(&self, room: &RoomIdentity) -> Result<Vec<(GraphEvent, PartialEntry)>, RoomError> {
        let numbers = self.database().partial_entries(room.room_sn).await?;
        let mut entries = Vec::with_capacity(numbers.len());
        for event in self.database().graph_events(&numbers).await? {
            let pdu = room.parse(&event)?;
            let names: Vec<String> = pdu.prev_events().iter().map(ToString::to_string).collect();
            let found = self.database().graph_events_by_id(room.room_sn, &names).await?;
            let placed: HashSet<&str> =
                found.iter().filter(|event| !is_placeless(event)).map(|event| &*event.stored.event_id).collect();
            let is_missing = |event_id: &&OwnedEventId| !placed.contains(event_id.as_str());
            let missing = pdu.prev_events().iter().filter(is_missing).cloned().collect();
            entries.push((event, PartialEntry { event_id: pdu.event_id().to_owned(), missing }));
        }
        Ok(entries)
    }

    /// Replaces the states after the entries before which something is missing. `false` if the room has moved on.
    async fn replace_states(
        &self,
        room: &RoomIdentity,
        entries: &[(GraphEvent, PartialEntry)],
        told: &HashMap<OwnedEventId, ToldStates>,
    ) -> Result<bool, RoomError> {
        for (event, entry) in entries {
            let Some(told) = told.get(&entry.event_id).filter(|_| !entry.missing.is_empty()) else { continue };
            if !self.replace_state(room, event, told).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn replace_state(
        &self,
        room: &RoomIdentity,
        event: &GraphEvent,
        told: &ToldStates,
    ) -> Result<bool, RoomError> {
        let resolver = Resolver { database: self.database(), interned: self.interned(), room };
        let head = self.database().room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        let pdu = room.parse(event)?;
        let stored = event.state.ok_or(RoomError::StateUnknown)?;
        let known = self.states_after(room, pdu.prev_events()).await?;
        let told = resolver.told_states(stored, told, known).await?;
        let mut changes: BTreeMap<_, _> = told.changes.into_iter().collect();
        if let Some(place) = self.place_of(&pdu).await? {
            changes.insert(place, Some(event.stored.sn));
        }
        let changes: Vec<_> = changes.into_iter().collect();
        let applied = self.database().with_chunks(|chunks| stored.apply(chunks, &changes)).await?;
        let state = RepairedState {
            event_sn: event.stored.sn,
            state: applied.map,
            chunks: applied.new_chunks,
            is_replacement: true,
        };
        Ok(self.database().replace_state(room.room_sn, head.version, state).await?)
    }

    /// The states after those of these events that have a place in the room here.
    async fn states_after(&self, room: &RoomIdentity, events: &[OwnedEventId]) -> Result<Vec<StateMap>, RoomError> {
        let names: Vec<String> = events.iter().map(ToString::to_string).collect();
        let found = self.database().graph_events_by_id(room.room_sn, &names).await?;
        Ok(found.iter().filter(|event| !is_placeless(event)).filter_map(|event| event.state).collect())
    }
}
