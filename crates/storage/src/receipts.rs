//! How far users have read.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::{EventSn, Position, RoomSn, Timestamp, UserSn};

use crate::frequent::Frequent;
use crate::unread::MAIN_TIMELINE;
use crate::{Database, Engine, LogEntry, Row, StorageError, Tx, Value, params};

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
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Read => 1,
            Self::ReadPrivate => 2,
        }
    }

    pub(crate) fn from_code(code: i64) -> Option<Self> {
        [Self::Read, Self::ReadPrivate].into_iter().find(|it| it.code() == code)
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
    /// The events that are in no thread.
    Main,
    /// The events of the thread with this root, which also has this event ID.
    Thread(EventSn, Box<str>),
}

impl ReceiptThread {
    pub(crate) fn code(&self) -> i64 {
        match self {
            Self::Unthreaded => UNTHREADED,
            Self::Main => MAIN_TIMELINE,
            Self::Thread(root, _) => root.0,
        }
    }

    /// The thread of this code, whose root has the ID `root`; `None` if a root has no ID.
    pub(crate) fn from_code(code: i64, root: Option<Box<str>>) -> Option<Self> {
        match code {
            UNTHREADED => Some(Self::Unthreaded),
            MAIN_TIMELINE => Some(Self::Main),
            thread_sn => Some(Self::Thread(EventSn(thread_sn), root?)),
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

mod own;

/// The rooms that have `limit` receipts, and so may have more.
fn cut_rooms(receipts: &[Receipt], limit: i64) -> Vec<i64> {
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for receipt in receipts {
        *counts.entry(receipt.room_sn.0).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count >= limit).map(|(room_sn, _)| room_sn).collect()
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
        let write = ReceiptsWrite { room_sn, user_sn, receipts, fully_read };
        self.write_frequent(Frequent::Receipts(write), "add_receipts").await
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
            let rounds = rooms
                .iter()
                .map(|room_sn| [(*room_sn).into(), reader.into(), after.into(), until.into(), Value::Int(Some(limit))]);
            self.query_each(sql, rounds, read_receipt).await?
        } else {
            let sql = receipt_query!(
                "(SELECT newest.* FROM UNNEST($1) AS wanted (room_sn), LATERAL (SELECT * FROM receipts x \
                 WHERE x.room_sn = wanted.room_sn AND x.position > $3 AND x.position <= $4 \
                 AND (x.receipt_type = 1 OR x.user_sn = $2) ORDER BY x.position DESC LIMIT $5) newest)",
                ""
            );
            self.query(sql, params![rooms, reader, after, until, limit], read_receipt).await?
        };
        let cut = cut_rooms(&receipts, limit);
        if !cut.is_empty() {
            let own = receipt_query!(
                "receipts",
                "WHERE r.room_sn IN LIST($1) AND r.user_sn = $2 AND r.position > $3 AND r.position <= $4"
            );
            receipts.extend(self.query(own, params![&cut, reader, after, until], read_receipt).await?);
        }
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

/// How far a user has read a room.
pub(crate) struct ReceiptsWrite {
    room_sn: RoomSn,
    user_sn: UserSn,
    receipts: Vec<NewReceipt>,
    /// The event up to which the user has read everything, and the content for the room's account data.
    fully_read: Option<(EventSn, Bytes)>,
}

impl ReceiptsWrite {
    pub(crate) fn positions(&self) -> i64 {
        i64::try_from(self.receipts.len()).unwrap_or(i64::MAX).saturating_add(i64::from(self.fully_read.is_some()))
    }
}

/// Writes what is ahead of what is stored.
pub(crate) async fn write_all(tx: &mut Tx, writes: &[&ReceiptsWrite]) -> Result<(), StorageError> {
    if writes.is_empty() {
        return Ok(());
    }
    tx.reserve_positions(writes.iter().map(|write| write.positions()).sum()).await?;
    write_receipts(tx, writes).await?;
    write_fully_read(tx, writes).await
}

async fn write_receipts(tx: &mut Tx, writes: &[&ReceiptsWrite]) -> Result<(), StorageError> {
    // Only the receipt that is furthest ahead is written.
    let mut last: BTreeMap<(RoomSn, UserSn, i64, i64), &NewReceipt> = BTreeMap::new();
    for write in writes {
        for receipt in &write.receipts {
            let key = (write.room_sn, write.user_sn, receipt.receipt_type.code(), receipt.thread.code());
            let known = last.entry(key).or_insert(receipt);
            if known.event_sn < receipt.event_sn {
                *known = receipt;
            }
        }
    }
    let mut entries = Vec::with_capacity(last.len());
    for ((room_sn, user_sn, ..), receipt) in last {
        entries.push(receipt.at(tx.next_position().await?, room_sn, user_sn));
    }
    let rows = entries.iter().map(|receipt| {
        let Receipt { position, room_sn, user_sn, receipt_type, thread, event_sn, received_at, .. } = receipt;
        let key = [(*room_sn).into(), (*user_sn).into(), receipt_type.code().into(), thread.code().into()];
        key.into_iter().chain([(*event_sn).into(), (*received_at).into(), (*position).into()]).collect()
    });
    let sql = "INSERT INTO receipts (room_sn, user_sn, receipt_type, thread_sn, event_sn, received_at, position) \
               SELECT r.* FROM ROWS(room_sn, user_sn, receipt_type, thread_sn, event_sn, received_at, position) r \
               WHERE TRUE ON CONFLICT (room_sn, user_sn, receipt_type, thread_sn) \
               DO UPDATE SET event_sn = excluded.event_sn, received_at = excluded.received_at, \
               position = excluded.position WHERE excluded.event_sn > receipts.event_sn RETURNING position";
    let rows: Vec<Vec<Value<'_>>> = rows.collect();
    let ahead: HashSet<Position> = tx.query_rows(sql, &rows, |row| row.get(0)).await?.into_iter().collect();
    drop(rows);
    entries.retain(|receipt| ahead.contains(&receipt.position));
    raise_unread_floors(tx, &entries).await?;
    prune_unread_threads(tx, &entries).await?;
    for receipt in entries {
        tx.publish(LogEntry::Receipt(Arc::new(receipt)));
    }
    Ok(())
}

impl NewReceipt {
    fn at(&self, position: Position, room_sn: RoomSn, user_sn: UserSn) -> Receipt {
        Receipt {
            position,
            room_sn,
            user_sn,
            receipt_type: self.receipt_type,
            thread: self.thread.clone(),
            event_sn: self.event_sn,
            event_id: self.event_id.clone(),
            received_at: self.received_at,
        }
    }
}

/// Nothing up to an unthreaded receipt is unread any more, in whatever thread. What was kept to count it is removed.
async fn raise_unread_floors(tx: &mut Tx, receipts: &[Receipt]) -> Result<(), StorageError> {
    let mut floors: BTreeMap<(UserSn, RoomSn), EventSn> = BTreeMap::new();
    for receipt in receipts.iter().filter(|receipt| receipt.thread == ReceiptThread::Unthreaded) {
        let floor = floors.entry((receipt.user_sn, receipt.room_sn)).or_insert(receipt.event_sn);
        *floor = receipt.event_sn.max(*floor);
    }
    let rows: Vec<Vec<Value<'_>>> = floors
        .into_iter()
        .map(|((user_sn, room_sn), event_sn)| vec![user_sn.into(), room_sn.into(), event_sn.into()])
        .collect();
    let sql = "UPDATE unread_floors SET position = r.event_sn FROM ROWS(user_sn, room_sn, event_sn) r \
               WHERE unread_floors.user_sn = r.user_sn AND unread_floors.room_sn = r.room_sn \
               AND unread_floors.position < r.event_sn";
    tx.execute_rows(sql, &rows).await?;
    // The last totals up to the event are what later ones are compared with.
    let sql = "DELETE FROM unread_differences WHERE (user_sn, room_sn, thread_sn, event_sn) IN (\
               SELECT d.user_sn, d.room_sn, d.thread_sn, d.event_sn FROM ROWS(user_sn, room_sn, event_sn) r \
               JOIN unread_differences d ON d.user_sn = r.user_sn AND d.room_sn = r.room_sn AND d.event_sn < r.event_sn \
               WHERE EXISTS (SELECT 1 FROM unread_differences later WHERE later.user_sn = d.user_sn \
               AND later.room_sn = d.room_sn AND later.thread_sn = d.thread_sn \
               AND later.event_sn > d.event_sn AND later.event_sn <= r.event_sn))";
    tx.execute_rows(sql, &rows).await?;
    let sql = "DELETE FROM unread_silences WHERE (user_sn, room_sn, since) IN (\
               SELECT s.user_sn, s.room_sn, s.since FROM ROWS(user_sn, room_sn, event_sn) r \
               JOIN unread_silences s ON s.user_sn = r.user_sn AND s.room_sn = r.room_sn AND s.until <= r.event_sn)";
    tx.execute_rows(sql, &rows).await
}

/// Nothing up to the receipt of a thread is unread any more in the thread. What was kept to count it is removed, but for the last
/// totals up to the event, which later ones are compared with.
async fn prune_unread_threads(tx: &mut Tx, receipts: &[Receipt]) -> Result<(), StorageError> {
    let rows: Vec<Vec<Value<'_>>> = receipts
        .iter()
        .filter(|receipt| receipt.thread != ReceiptThread::Unthreaded)
        .map(|receipt| {
            let Receipt { user_sn, room_sn, thread, event_sn, .. } = receipt;
            vec![(*user_sn).into(), (*room_sn).into(), thread.code().into(), (*event_sn).into()]
        })
        .collect();
    let sql = "DELETE FROM unread_differences WHERE (user_sn, room_sn, thread_sn, event_sn) IN (\
               SELECT d.user_sn, d.room_sn, d.thread_sn, d.event_sn FROM ROWS(user_sn, room_sn, thread_sn, event_sn) r \
               JOIN unread_differences d ON d.user_sn = r.user_sn AND d.room_sn = r.room_sn \
               AND d.thread_sn = r.thread_sn AND d.event_sn < r.event_sn \
               WHERE EXISTS (SELECT 1 FROM unread_differences later WHERE later.user_sn = d.user_sn \
               AND later.room_sn = d.room_sn AND later.thread_sn = d.thread_sn \
               AND later.event_sn > d.event_sn AND later.event_sn <= r.event_sn))";
    tx.execute_rows(sql, &rows).await
}

async fn write_fully_read(tx: &mut Tx, writes: &[&ReceiptsWrite]) -> Result<(), StorageError> {
    let mut last: BTreeMap<(UserSn, RoomSn), (EventSn, &Bytes)> = BTreeMap::new();
    for write in writes {
        let Some((event_sn, content)) = &write.fully_read else { continue };
        let known = last.entry((write.user_sn, write.room_sn)).or_insert((*event_sn, content));
        if known.0 < *event_sn {
            *known = (*event_sn, content);
        }
    }
    let rows: Vec<Vec<Value<'_>>> = last
        .iter()
        .map(|((user_sn, room_sn), (event_sn, _))| vec![(*user_sn).into(), (*room_sn).into(), (*event_sn).into()])
        .collect();
    let sql = "INSERT INTO fully_read (user_sn, room_sn, event_sn) SELECT r.* FROM ROWS(user_sn, room_sn, event_sn) r \
               WHERE TRUE ON CONFLICT (user_sn, room_sn) DO UPDATE SET event_sn = excluded.event_sn \
               WHERE excluded.event_sn > fully_read.event_sn RETURNING user_sn, room_sn";
    let ahead = tx.query_rows(sql, &rows, |row| Ok((row.get(0)?, row.get(1)?))).await?;
    let entries = ahead.into_iter().filter_map(|key| Some((key, last.get(&key)?.1)));
    tx.set_fully_read_contents(&entries.collect::<Vec<_>>()).await
}
