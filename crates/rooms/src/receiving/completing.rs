//! Learning the rest of a state that was known in part.

use std::collections::BTreeMap;

use ruma::{EventId, OwnedEventId};
use storage::RepairedState;

use crate::resolving::{Resolver, RoomIdentity};
use crate::timeline::ATTEMPTS;
use crate::{RoomCheck, RoomError, Timeline};

impl Timeline {
    /// Takes the whole state before the event by which this server entered a room, of which only a part was known. What was accepted
    /// since is judged again, and the current state becomes what follows from all of it. It may run again after an interruption.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if the event is not stored, and [`RoomError::Invalid`] if not all events of the state are.
    pub async fn complete_state(
        &self,
        room: &RoomIdentity,
        entered_by: &EventId,
        state_before: &[OwnedEventId],
    ) -> Result<(), RoomError> {
        self.replace_state_after(room, entered_by, state_before).await?;
        let check = RoomCheck::new(self.database().clone(), self.shared_interned());
        let report = check.repair(&room.room_id).await?;
        tracing::info!(room_id = %room.room_id, events = report.events, "the whole state of a room is known");
        let room_sn = room.room_sn;
        Ok(self.database().write(async move |tx| tx.mark_state_whole(room_sn).await).await?)
    }

    async fn replace_state_after(
        &self,
        room: &RoomIdentity,
        event_id: &EventId,
        state_before: &[OwnedEventId],
    ) -> Result<(), RoomError> {
        let resolver = Resolver { database: self.database(), interned: self.interned(), room };
        for _ in 0..ATTEMPTS {
            let mut open = self.open_settled(room.room_sn).await?;
            let head = self.database().room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
            let found = self.database().graph_events_by_id(room.room_sn, &[event_id.to_string()]).await?.pop();
            let event = found.ok_or_else(|| RoomError::NotFound(format!("The event {event_id} is not stored.")))?;
            let stored = event.state.ok_or(RoomError::StateUnknown)?;
            let told = resolver.told_state(stored, state_before).await?;
            let mut changes: BTreeMap<_, _> = told.changes.into_iter().collect();
            if let Some(place) = self.place_of(&room.parse(&event)?).await? {
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
            // The head in memory has the state as it was.
            open.is_changed = true;
            if self.database().replace_state(room.room_sn, head.version, state).await? {
                return Ok(());
            }
        }
        Err(RoomError::Contended)
    }
}
