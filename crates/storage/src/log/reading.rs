//! Reading what other processes have written down.

use std::collections::{HashMap, VecDeque};

use homeserver_core::{EventSn, Position};

use super::{LogEntry, written};
use crate::events::{StoredEvent, event_query, read_event};
use crate::readers::Reading;
use crate::{Row, StorageError, params};

/// Transactions that are read at once.
const AT_ONCE: i64 = 200;

/// Both in one statement: a transaction that has moved the head is seen with all that it has written, or not at all.
const NEXT: &str = "SELECT h.position, l.position, l.previous, l.node, l.entries FROM log_head h \
                    LEFT JOIN log_entries l ON l.position > $1 AND l.position <= h.position \
                    ORDER BY l.position LIMIT $2";

/// A transaction that was written down.
pub(super) struct WrittenBatch {
    /// The last position that it took.
    pub(super) last: Position,
    /// The last position before it.
    pub(super) before: Position,
    /// Who wrote it.
    pub(super) node: Box<str>,
    entries: String,
}

/// The transactions after a position.
pub(super) struct Next {
    /// The end of the log.
    pub(super) head: Position,
    /// Those that were written down, in the order of the log.
    pub(super) batches: VecDeque<WrittenBatch>,
    /// Whether there may be more of them.
    pub(super) is_cut: bool,
}

/// What follows on `after`.
pub(super) async fn next(reading: &Reading, after: Position) -> Result<Next, StorageError> {
    let mut next = Next { head: after, batches: VecDeque::new(), is_cut: false };
    let read = |row: &Row<'_>| {
        let Some(last) = row.get::<Option<i64>>(1)? else { return Ok((row.get::<Position>(0)?, None)) };
        let last = Position(last);
        let batch = WrittenBatch { last, before: row.get(2)?, node: row.get(3)?, entries: row.get(4)? };
        Ok((row.get(0)?, Some(batch)))
    };
    for (head, batch) in reading.query(NEXT, params![after, AT_ONCE], read).await? {
        next.head = head;
        next.batches.extend(batch);
    }
    next.is_cut = i64::try_from(next.batches.len()).is_ok_and(|read| read >= AT_ONCE);
    Ok(next)
}

/// The entries of transactions, each by itself. The events in them are read together.
pub(super) async fn entries_of(
    reading: &Reading,
    batches: &[&WrittenBatch],
) -> Result<Vec<Vec<LogEntry>>, StorageError> {
    let mut read = Vec::with_capacity(batches.len());
    let mut needed = Vec::new();
    for batch in batches {
        let entries = written::decode(&batch.entries)?.into_iter().map(written::WrittenEntry::complete);
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        needed.extend(entries.iter().filter_map(|entry| entry.as_ref().err()).flat_map(written::WrittenEvent::needs));
        read.push(entries);
    }
    let events = events(reading, &needed).await?;
    let complete = |entry: Result<LogEntry, written::WrittenEvent>| match entry {
        Ok(entry) => Ok(entry),
        Err(event) => event.complete(|sn| events.get(&sn)),
    };
    read.into_iter().map(|entries| entries.into_iter().map(complete).collect()).collect()
}

async fn events(reading: &Reading, sns: &[i64]) -> Result<HashMap<EventSn, StoredEvent>, StorageError> {
    if sns.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = event_query!("WHERE e.event_sn IN LIST($1) ORDER BY e.event_sn");
    let read = reading.query(sql, params![sns], read_event).await?;
    Ok(read.into_iter().map(|event| (event.sn, event)).collect())
}
