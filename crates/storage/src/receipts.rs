//! How far users have read.

use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::{EventSn, Position, RoomSn, Timestamp, UserSn};

use crate::unread::MAIN_TIMELINE;
use crate::{Database, Engine, LogEntry, Row, StorageError, Tx, params};

/// The thread number of receipts without a thread.
const UNTHREADED: i64 = -1;

/// Who is shown a receipt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ReceiptType {
    /// `m.read`: everybody in the room.
    Read,
    /// `m.read.private`: only the user.
    ReadPrivate,
}

impl ReceiptType {
    fn code(self) -> i64 {
        match self {
            Self::Read => 1,
            Self::ReadPrivate => 2,
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "m.read",
            Self::ReadPrivate => "m.read.private",
        }
    }
}

/// Which events a receipt is about: those up to its event that are also in this.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ReceiptThread {
    /// All events of the room.
    Unthreaded,
    /// Those that are in no thread.
    Main,
    /// Those of the thread with this root, which also has this event ID.
    Thread(EventSn, Box<str>),
}

impl ReceiptThread {
    fn code(&self) -> i64 {
        match self {
            Self::Unthreaded => UNTHREADED,
            Self::Main => MAIN_TIMELINE,
            Self::Thread(root, _) => root.0,
        }
    }

    /// The `thread_id` of a receipt, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Unthreaded => None,
            Self::Main => Some("main"),
            Self::Thread(_, root) => Some(root),
        }
    }
}

/// How far a user has read.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#receipts>
#[derive(Clone, Debug)]
pub struct Receipt {
    /// When it came, in the log.
    pub position: Position,
    /// The room.
    pub room_sn: RoomSn,
    /// Who has read.
    pub user_sn: UserSn,
    /// Who is shown that.
    pub receipt_type: ReceiptType,
    /// What was read.
    pub thread: ReceiptThread,
    /// The last event that was read.
    pub event_sn: EventSn,
    /// Its event ID.
    pub event_id: Box<str>,
    /// When it came, by the clock.
    pub received_at: Timestamp,
}

/// A receipt that is to be written.
#[derive(Clone, Debug)]
pub struct NewReceipt {
    /// Who is shown it.
    pub receipt_type: ReceiptType,
    /// What was read.
    pub thread: ReceiptThread,
    /// The last event that was read.
    pub event_sn: EventSn,
    /// Its event ID.
    pub event_id: Box<str>,
    /// When it came, by the clock.
    pub received_at: Timestamp,
}

macro_rules! receipt_query {
    ($from:literal, $condition:literal) => {
        concat!(
            "SELECT r.position, r.room_sn, r.user_sn, r.receipt_type, r.thread_sn, t.event_id, r.event_sn, e.event_id, ",
            "r.received_at FROM ",
            $from,
            " r JOIN events e ON e.event_sn = r.event_sn LEFT JOIN events t ON t.event_sn = r.thread_sn ",
            $condition
        )
    };
}

fn read_receipt(row: &Row<'_>) -> Result<Receipt, StorageError> {
    let root: Option<String> = row.get(5)?;
    let thread = match row.get::<i64>(4)? {
        UNTHREADED => ReceiptThread::Unthreaded,
        MAIN_TIMELINE => ReceiptThread::Main,
        thread_sn => ReceiptThread::Thread(EventSn(thread_sn), root.unwrap_or_default().into()),
    };
    let is_private = row.get::<i64>(3)? == ReceiptType::ReadPrivate.code();
    Ok(Receipt {
        position: row.get(0)?,
        room_sn: row.get(1)?,
        user_sn: row.get(2)?,
        receipt_type: if is_private { ReceiptType::ReadPrivate } else { ReceiptType::Read },
        thread,
        event_sn: row.get(6)?,
        event_id: Box::from(row.get::<String>(7)?),
        received_at: row.get(8)?,
    })
}

impl Database {
    /// Writes receipts of a user that are ahead of those before, and, if it is ahead of the one before, the event up to which
    /// the user has read everything: the content for the room's account data with it.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn add_receipts(
        &self,
        room_sn: RoomSn,
        user_sn: UserSn,
        receipts: Vec<NewReceipt>,
        fully_read: Option<(EventSn, Bytes)>,
    ) -> Result<(), StorageError> {
        self.write(async move |tx| {
            for receipt in &receipts {
                tx.add_receipt(room_sn, user_sn, receipt).await?;
            }
            match &fully_read {
                Some((event_sn, content)) => tx.set_fully_read(room_sn, user_sn, *event_sn, content).await,
                None => Ok(()),
            }
        })
        .await
    }

    /// The newest `limit` receipts of each of these rooms that came after `after` and up to `until`, without private ones of
    /// others than `reader`; the oldest first within a room. Those of the reader are always among them.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn receipts(
        &self,
        rooms: &[i64],
        reader: UserSn,
        after: Position,
        until: Position,
        limit: i64,
    ) -> Result<Vec<Receipt>, StorageError> {
        let mut receipts = if self.engine() == Engine::Sqlite {
            let sql = receipt_query!(
                "(SELECT * FROM receipts WHERE room_sn = $1 AND position > $3 AND position <= $4 \
                 AND (receipt_type = 1 OR user_sn = $2) ORDER BY position DESC LIMIT $5)",
                ""
            );
            let mut receipts = Vec::new();
            for room_sn in rooms {
                receipts.extend(self.query(sql, params![*room_sn, reader, after, until, limit], read_receipt).await?);
            }
            receipts
        } else {
            let sql = receipt_query!(
                "(SELECT newest.* FROM UNNEST($1) AS wanted (room_sn), LATERAL (SELECT * FROM receipts x \
                 WHERE x.room_sn = wanted.room_sn AND x.position > $3 AND x.position <= $4 \
                 AND (x.receipt_type = 1 OR x.user_sn = $2) ORDER BY x.position DESC LIMIT $5) newest)",
                ""
            );
            self.query(sql, params![rooms, reader, after, until, limit], read_receipt).await?
        };
        let own = receipt_query!(
            "receipts",
            "WHERE r.room_sn IN LIST($1) AND r.user_sn = $2 AND r.position > $3 AND r.position <= $4"
        );
        receipts.extend(self.query(own, params![rooms, reader, after, until], read_receipt).await?);
        receipts.sort_unstable_by_key(|receipt| (receipt.room_sn, receipt.position));
        receipts.dedup_by_key(|receipt| receipt.position);
        Ok(receipts)
    }

    /// Those of these rooms in which there are receipts after `after` and up to `until` that `reader` is shown.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn rooms_with_receipts(
        &self,
        rooms: &[i64],
        reader: UserSn,
        after: Position,
        until: Position,
    ) -> Result<Vec<RoomSn>, StorageError> {
        let sql = "SELECT DISTINCT room_sn FROM receipts WHERE room_sn IN LIST($1) AND position > $3 AND position <= $4 \
                   AND (receipt_type = 1 OR user_sn = $2)";
        self.query(sql, params![rooms, reader, after, until], |row| row.get(0)).await
    }
}

impl Tx {
    async fn add_receipt(
        &mut self,
        room_sn: RoomSn,
        user_sn: UserSn,
        receipt: &NewReceipt,
    ) -> Result<(), StorageError> {
        let NewReceipt { receipt_type, thread, event_sn, event_id, received_at } = receipt;
        let (type_code, thread_code) = (receipt_type.code(), thread.code());
        let sql = "SELECT event_sn FROM receipts \
                   WHERE room_sn = $1 AND user_sn = $2 AND receipt_type = $3 AND thread_sn = $4";
        let last: Option<EventSn> =
            self.query_optional(sql, params![room_sn, user_sn, type_code, thread_code], |row| row.get(0)).await?;
        if last.is_some_and(|last| last >= *event_sn) {
            return Ok(());
        }
        let position = self.next_position().await?;
        let sql = "INSERT INTO receipts (room_sn, user_sn, receipt_type, thread_sn, event_sn, received_at, position) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (room_sn, user_sn, receipt_type, thread_sn) \
                   DO UPDATE SET event_sn = excluded.event_sn, received_at = excluded.received_at, \
                   position = excluded.position";
        let row = params![room_sn, user_sn, type_code, thread_code, *event_sn, *received_at, position];
        self.execute(sql, row).await?;
        if *thread == ReceiptThread::Unthreaded {
            self.raise_unread_floor(room_sn, user_sn, *event_sn).await?;
        } else {
            self.prune_unread_thread(room_sn, user_sn, thread_code, *event_sn).await?;
        }
        self.publish(LogEntry::Receipt(Arc::new(Receipt {
            position,
            room_sn,
            user_sn,
            receipt_type: *receipt_type,
            thread: thread.clone(),
            event_sn: *event_sn,
            event_id: event_id.clone(),
            received_at: *received_at,
        })));
        Ok(())
    }

    /// Nothing up to the event is unread any more, in whatever thread. What was kept to count it is removed.
    async fn raise_unread_floor(
        &mut self,
        room_sn: RoomSn,
        user_sn: UserSn,
        event_sn: EventSn,
    ) -> Result<(), StorageError> {
        let sql = "UPDATE unread_floors SET position = $3 WHERE user_sn = $2 AND room_sn = $1 AND position < $3";
        self.execute(sql, params![room_sn, user_sn, event_sn]).await?;
        // The last totals up to the event are what later ones are compared with.
        let sql = "DELETE FROM unread_differences WHERE user_sn = $2 AND room_sn = $1 AND event_sn < $3 AND EXISTS (\
                   SELECT 1 FROM unread_differences later WHERE later.user_sn = $2 AND later.room_sn = $1 \
                   AND later.thread_sn = unread_differences.thread_sn \
                   AND later.event_sn > unread_differences.event_sn AND later.event_sn <= $3)";
        self.execute(sql, params![room_sn, user_sn, event_sn]).await?;
        let sql = "DELETE FROM unread_silences WHERE user_sn = $2 AND room_sn = $1 AND until <= $3";
        self.execute(sql, params![room_sn, user_sn, event_sn]).await.map(drop)
    }

    /// Nothing up to the event is unread any more in the thread. What was kept to count it is removed, but for the last totals
    /// up to the event, which later ones are compared with.
    async fn prune_unread_thread(
        &mut self,
        room_sn: RoomSn,
        user_sn: UserSn,
        thread_sn: i64,
        event_sn: EventSn,
    ) -> Result<(), StorageError> {
        let sql = "DELETE FROM unread_differences WHERE user_sn = $1 AND room_sn = $2 AND thread_sn = $3 AND event_sn < (\
                   SELECT MAX(last.event_sn) FROM unread_differences last WHERE last.user_sn = $1 \
                   AND last.room_sn = $2 AND last.thread_sn = $3 AND last.event_sn <= $4)";
        self.execute(sql, params![user_sn, room_sn, thread_sn, event_sn]).await.map(drop)
    }

    async fn set_fully_read(
        &mut self,
        room_sn: RoomSn,
        user_sn: UserSn,
        event_sn: EventSn,
        content: &Bytes,
    ) -> Result<(), StorageError> {
        let sql = "SELECT event_sn FROM fully_read WHERE user_sn = $1 AND room_sn = $2";
        let last: Option<EventSn> = self.query_optional(sql, params![user_sn, room_sn], |row| row.get(0)).await?;
        if last.is_some_and(|last| last >= event_sn) {
            return Ok(());
        }
        let sql = "INSERT INTO fully_read (user_sn, room_sn, event_sn) VALUES ($1, $2, $3) \
                   ON CONFLICT (user_sn, room_sn) DO UPDATE SET event_sn = excluded.event_sn";
        self.execute(sql, params![user_sn, room_sn, event_sn]).await?;
        self.set_account_data(user_sn, Some(room_sn), "m.fully_read", content).await.map(drop)
    }
}
