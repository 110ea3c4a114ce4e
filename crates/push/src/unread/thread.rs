//! The threads of events.

use bytes::Bytes;
use homeserver_core::{EventSn, RoomSn};
use room_engine::Relation;
use storage::{Database, StorageError};

/// How far relations are followed. The specification recommends three hops.
const MAX_HOPS: usize = 3;

/// Finds the threads of events.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts>
#[derive(Clone)]
pub struct Threads {
    database: Database,
}

/// The root of a thread: its number and its event ID.
pub type Root = (EventSn, Box<str>);

impl Threads {
    /// The threads of the rooms in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The root of the thread that an event is in; `None` if it is in the main timeline. Roots are in the main timeline, and so
    /// are events of a thread whose root is not known here.
    ///
    /// # Errors
    /// [`StorageError`] if an event that it is related to cannot be read.
    pub async fn of_event(&self, room_sn: RoomSn, client_json: &[u8]) -> Result<Option<Root>, StorageError> {
        let mut relation = relation(client_json);
        for _ in 0..=MAX_HOPS {
            let Some((is_thread, event_id)) = relation else { return Ok(None) };
            let Some((sn, json)) = self.event(room_sn, &event_id).await? else { return Ok(None) };
            if is_thread {
                return Ok(Some((sn, event_id.into_boxed_str())));
            }
            relation = self::relation(&json);
        }
        Ok(None)
    }

    /// Whether a receipt in the thread of `root` can name an event: the event is in the thread, is the root, or relates to it.
    ///
    /// # Errors
    /// [`StorageError`] if an event that it is related to cannot be read.
    pub async fn belongs(
        &self,
        room_sn: RoomSn,
        event_id: &str,
        client_json: &[u8],
        root: &str,
    ) -> Result<bool, StorageError> {
        let (mut event_id, mut json) = (event_id.to_owned(), Bytes::copy_from_slice(client_json));
        for _ in 0..=MAX_HOPS {
            if event_id == root {
                return Ok(true);
            }
            let Some((is_thread, parent)) = relation(&json) else { return Ok(false) };
            if is_thread {
                return Ok(parent == root);
            }
            let Some((_, parent_json)) = self.event(room_sn, &parent).await? else { return Ok(false) };
            (event_id, json) = (parent, parent_json);
        }
        Ok(false)
    }

    async fn event(&self, room_sn: RoomSn, event_id: &str) -> Result<Option<(EventSn, Bytes)>, StorageError> {
        let found = self.database.stored_pdu_by_id(event_id).await?;
        Ok(found.filter(|event| event.room_sn == room_sn).map(|event| (event.sn, event.client_json)))
    }
}

/// The event that an event relates to, and whether the relation is `m.thread`.
fn relation(client_json: &[u8]) -> Option<(bool, String)> {
    let relation = Relation::of(client_json)?;
    Some((relation.rel_type == "m.thread", relation.event_id.into_owned()))
}
