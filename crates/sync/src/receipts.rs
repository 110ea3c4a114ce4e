//! How far users have read rooms.

mod from_servers;

use std::sync::Arc;

use accounts::sessions::Requester;
use bytes::Bytes;
use homeserver_core::{Clock, EventSn, Position, RoomSn, TimelineOrder};
use push::unread::Threads;
use ruma::{EventId, RoomId};
use serde_json::json;
use storage::{Database, Interned, Membership, NewReceipt, ReceiptThread, ReceiptType, StorageError, StoredPdu};

/// Why a receipt is not taken. The texts are sentences for the client.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The user is not in the room, or it is not known.
    #[error("You are not in this room.")]
    NotInRoom,
    /// The event is not in the room.
    #[error("There is no event {0} in this room.")]
    NoSuchEvent(String),
    /// There is no such type of receipt.
    #[error("`{0}` is not a type of receipt: it must be m.read, m.read.private or m.fully_read.")]
    UnknownType(String),
    /// The thread is not one for this receipt.
    #[error("{0}")]
    InvalidThread(String),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// So many former outliers in a row are passed over at most.
const MAX_PASSED_OVER: i64 = 100;

/// A marker that a client moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marker {
    /// A read receipt.
    Receipt(ReceiptType),
    /// Up to where everything is read.
    FullyRead,
}

impl Marker {
    /// The marker of that name.
    ///
    /// # Errors
    /// [`ReceiptError::UnknownType`].
    pub fn parse(name: &str) -> Result<Self, ReceiptError> {
        match name {
            "m.read" => Ok(Self::Receipt(ReceiptType::Read)),
            "m.read.private" => Ok(Self::Receipt(ReceiptType::ReadPrivate)),
            "m.fully_read" => Ok(Self::FullyRead),
            other => Err(ReceiptError::UnknownType(other.to_owned())),
        }
    }
}

/// Takes receipts of this server's users.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#receipts>
pub struct Receipts {
    database: Database,
    interned: Arc<Interned>,
    clock: Arc<dyn Clock>,
    threads: Threads,
}

impl Receipts {
    /// Receipts in the rooms of `database`.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>, clock: Arc<dyn Clock>) -> Self {
        let threads = Threads::new(database.clone());
        Self { database, interned, clock, threads }
    }

    /// Moves one marker forward, up to and including an event. A marker that is ahead of it stays where it is.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub async fn mark(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        marker: Marker,
        event_id: &EventId,
        thread_id: Option<&str>,
    ) -> Result<(), ReceiptError> {
        let room_sn = self.joined_room(requester, room_id).await?;
        let Some(event) = self.event(room_sn, event_id).await? else { return Ok(()) };
        match marker {
            Marker::FullyRead if thread_id.is_some() => {
                Err(ReceiptError::InvalidThread("m.fully_read is of no thread: leave `thread_id` out.".to_owned()))
            }
            Marker::FullyRead => self.write(requester, room_sn, Vec::new(), Some(&event)).await,
            Marker::Receipt(receipt_type) => {
                let thread = self.thread(room_sn, &event, thread_id).await?;
                self.write(requester, room_sn, vec![self.receipt(receipt_type, thread, &event)], None).await
            }
        }
    }

    /// Moves several markers at once.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers>
    ///
    /// # Errors
    /// [`ReceiptError`], with none of them moved.
    pub async fn mark_several(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        markers: &[(Marker, &EventId)],
    ) -> Result<(), ReceiptError> {
        let room_sn = self.joined_room(requester, room_id).await?;
        let mut receipts = Vec::new();
        let mut fully_read = None;
        for (marker, event_id) in markers {
            let Some(event) = self.event(room_sn, event_id).await? else { continue };
            match marker {
                Marker::Receipt(receipt_type) => {
                    receipts.push(self.receipt(*receipt_type, ReceiptThread::Unthreaded, &event));
                }
                Marker::FullyRead => fully_read = Some(event),
            }
        }
        self.write(requester, room_sn, receipts, fully_read.as_ref()).await
    }

    async fn write(
        &self,
        requester: &Requester,
        room_sn: RoomSn,
        receipts: Vec<NewReceipt>,
        fully_read: Option<&StoredPdu>,
    ) -> Result<(), ReceiptError> {
        let content = |event: &StoredPdu| Bytes::from(json!({ "event_id": event.event_id }).to_string());
        let fully_read: Option<(EventSn, Bytes)> = fully_read.map(|event| (event.sn, content(event)));
        Ok(self.database.add_receipts(room_sn, requester.user_sn, receipts, fully_read).await?)
    }

    fn receipt(&self, receipt_type: ReceiptType, thread: ReceiptThread, event: &StoredPdu) -> NewReceipt {
        let received_at = self.clock.now();
        NewReceipt { receipt_type, thread, event_sn: event.sn, event_id: event.event_id.clone(), received_at }
    }

    async fn joined_room(&self, requester: &Requester, room_id: &RoomId) -> Result<RoomSn, ReceiptError> {
        let room_sn = self.interned.find_room(room_id.as_str()).await?.ok_or(ReceiptError::NotInRoom)?;
        let place = self.database.membership(room_sn, requester.user_sn).await?;
        let is_joined = place.is_some_and(|place| place.membership == Membership::Join);
        is_joined.then_some(room_sn).ok_or(ReceiptError::NotInRoom)
    }

    /// The event that is marked. For one that was fetched later, it is the last before it whose number says where it is in the
    /// timeline; `None` if there is none.
    async fn event(&self, room_sn: RoomSn, event_id: &EventId) -> Result<Option<StoredPdu>, ReceiptError> {
        let found = self.database.stored_pdu_by_id(event_id.as_str()).await?;
        let found = found.filter(|event| event.room_sn == room_sn);
        let found = found.ok_or_else(|| ReceiptError::NoSuchEvent(event_id.to_string()))?;
        if found.order == TimelineOrder::of(found.sn) {
            return Ok(Some(found));
        }
        let until = found.order.before().position();
        let before = self.database.timelines_backwards(&[room_sn.0], Position::START, until, MAX_PASSED_OVER).await?;
        match before.iter().find(|event| !event.was_fetched()) {
            Some(before) => Ok(self.database.stored_pdu(before.sn).await?),
            None => Ok(None),
        }
    }

    /// The thread of a receipt on an event, as the client names it.
    async fn thread(
        &self,
        room_sn: RoomSn,
        event: &StoredPdu,
        thread_id: Option<&str>,
    ) -> Result<ReceiptThread, ReceiptError> {
        let invalid = |sentence: String| Err(ReceiptError::InvalidThread(sentence));
        match thread_id {
            None => Ok(ReceiptThread::Unthreaded),
            Some("") => {
                invalid("`thread_id` must be `main` or the event ID of a thread's root, and is empty.".to_owned())
            }
            Some("main") => match self.threads.of_event(room_sn, &event.client_json).await? {
                None => Ok(ReceiptThread::Main),
                Some((_, root)) => invalid(format!("The event is in the thread {root}, not in the main timeline.")),
            },
            Some(root) => {
                let belongs = self.threads.belongs(room_sn, &event.event_id, &event.client_json, root).await?;
                let found = match belongs {
                    true => self.database.stored_pdu_by_id(root).await?.filter(|root| root.room_sn == room_sn),
                    false => None,
                };
                match found {
                    Some(found) => Ok(ReceiptThread::Thread(found.sn, found.event_id)),
                    None => invalid(format!("The event is not related to the thread {root}.")),
                }
            }
        }
    }
}
