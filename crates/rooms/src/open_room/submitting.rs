//! Handing staged events to the writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use homeserver_core::{RoomSn, Timestamp};
use storage::{Append, AppendOutcome, NewEvent, Step, StorageError, StoredEvent, later_version};
use tokio::sync::oneshot;

use super::{HeadSlot, OpenRoom};
use crate::RoomError;
use crate::guests::with_removal_of_guests;
use crate::head::Head;

impl OpenRoom {
    /// The staged events, with numbers in place of their texts.
    async fn number_staged(&mut self) -> Result<Vec<NewEvent>, RoomError> {
        let mut events = std::mem::take(&mut self.staged);
        debug_assert_eq!(events.len(), self.staged_names.len(), "every staged event has its texts");
        for (event, names) in events.iter_mut().zip(std::mem::take(&mut self.staged_names)) {
            event.type_sn = self.interned.event_type(&names.event_type).await?;
            if let Some(state_key) = names.state_key {
                event.state_key_sn = Some(self.interned.state_key(&state_key).await?);
            }
            if let Some((user_id, membership)) = names.member {
                event.membership = Some((self.interned.user(user_id.as_str()).await?, membership));
            }
        }
        Ok(events)
    }

    /// Hands the staged events to the writer and unlocks the room, without waiting for the commit. `also` is written in the
    /// same transaction.
    ///
    /// # Errors
    /// [`RoomError::Storage`] if the writer takes no more.
    pub async fn submit(mut self, also: Option<Box<dyn Step>>) -> Result<Submitted, RoomError> {
        if self.head()?.version == 0 {
            let room_id = self.room_id().ok_or(RoomError::NoSuchRoom)?.to_owned();
            let room_sn = self.interned.room(room_id.as_str()).await?;
            self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?.room_sn = room_sn;
        }
        self.evaluate_staged().await?;
        let events = self.number_staged().await?;
        let transaction = self.transaction.take();
        let now = Timestamp(self.now);
        let head = self.guard.as_mut().ok_or(RoomError::NoSuchRoom)?;
        // Only its creator is in a new room.
        let also = match self.keeps_guests_out && head.version > 0 {
            true => Some(with_removal_of_guests(head.room_sn, now, also)),
            false => also,
        };
        let new_version = later_version(head.version);
        debug_assert!(new_version > head.version, "versions of a head grow");
        let append = Append {
            room_sn: head.room_sn,
            room_version: head.room_version.as_str().into(),
            expected_version: head.version,
            new_version,
            events,
            resolved: None,
            extremities: None,
            transaction: transaction.clone(),
            joined_change: self.joined_change,
            invited_change: self.invited_change,
            also,
            is_entry: false,
        };
        head.version = new_version;
        if let Some(key) = transaction {
            head.remember_transaction(key);
        }
        let room_sn = head.room_sn;
        let outcome = match self.held.take() {
            Some(held) => held.append(append)?,
            None => self.database.append(append).await?,
        };
        self.is_changed = false;
        Ok(Submitted { room_sn, outcome, slot: self.slot.clone() })
    }

    /// Stores an append that was not built on the head in memory. The room stays locked until it is stored, and the head is
    /// read again before the next event.
    ///
    /// # Errors
    /// As [`Submitted::stored`].
    pub(crate) async fn append(mut self, append: Append) -> Result<(), RoomError> {
        *self.guard = None;
        match outcome_of(self.database.append(append).await?).await? {
            AppendOutcome::Appended(_) => Ok(()),
            AppendOutcome::Stale => Err(RoomError::Contended),
        }
    }

    /// Tells the cache how many bytes the head takes now, if that is over an eighth more or less than before.
    pub(super) fn weigh(&self) {
        let bytes = self.guard.as_ref().map_or(0, Head::heap_bytes);
        let before = self.slot.head_bytes.load(Ordering::Relaxed);
        if bytes.abs_diff(before) > before / 8 {
            self.slot.head_bytes.store(bytes, Ordering::Relaxed);
            if let Some(head) = &*self.guard {
                self.rooms.reweigh(&head.room_sn);
            }
        }
    }
}

/// Events that the writer has, and that may not be stored yet.
pub struct Submitted {
    room_sn: RoomSn,
    outcome: oneshot::Receiver<Result<AppendOutcome, StorageError>>,
    pub(crate) slot: HeadSlot,
}

impl Submitted {
    /// The room.
    #[must_use]
    pub fn room_sn(&self) -> RoomSn {
        self.room_sn
    }

    /// Waits until the events are stored.
    ///
    /// # Errors
    /// [`RoomError::Contended`] if the room had moved on, or [`RoomError::Storage`]; nothing was stored then.
    #[tracing::instrument(name = "wait_for_commit", level = "debug", skip_all)]
    pub async fn stored(self) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        match outcome_of(self.outcome).await {
            Ok(AppendOutcome::Appended(events)) => {
                debug_assert!(
                    events.is_sorted_by(|a, b| a.sn < b.sn),
                    "events get their positions in the order of building"
                );
                Ok(events)
            }
            Ok(AppendOutcome::Stale) => {
                *self.slot.head.lock().await = None;
                Err(RoomError::Contended)
            }
            Err(error) => {
                *self.slot.head.lock().await = None;
                Err(error.into())
            }
        }
    }
}

async fn outcome_of(
    outcome: oneshot::Receiver<Result<AppendOutcome, StorageError>>,
) -> Result<AppendOutcome, StorageError> {
    outcome.await.map_err(|_| StorageError::Unavailable("the database is closed".to_owned())).flatten()
}
