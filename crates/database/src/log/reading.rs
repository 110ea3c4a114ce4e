//! Reading what other processes have written down.

use std::collections::VecDeque;

use homeserver_core::Position;

use crate::readers::Readers;
use crate::{Row, StorageError, params};

/// Transactions that are read at once.
const AT_ONCE: i64 = 200;

/// Reads both tables in one statement, so that a transaction that has moved the head is seen with all that it has written, or not at
/// all.
const NEXT: &str = "SELECT h.position, l.position, l.previous, l.node, l.entries FROM log_head h \
                    LEFT JOIN log_entries l ON l.position > $1 AND l.position <= h.position \
                    ORDER BY l.position LIMIT $2";

/// A transaction that was written down.
pub(super) struct WrittenBatch {
    /// The last position that it took.
    pub(super) last: Position,
    /// The last position before it.
    pub(super) before: Position,
    /// The process that wrote it.
    pub(super) node: Box<str>,
    /// Its entries, encoded.
    pub(super) entries: String,
}

/// The transactions after a position.
pub(super) struct Next {
    /// The end of the log.
    pub(super) head: Position,
    /// What was written down, in the order of the log.
    pub(super) batches: VecDeque<WrittenBatch>,
    /// Whether there may be more of them.
    pub(super) is_cut: bool,
}

/// Reads what follows on `after`.
pub(super) async fn next(readers: &Readers, after: Position) -> Result<Next, StorageError> {
    let mut next = Next { head: after, batches: VecDeque::new(), is_cut: false };
    let read = |row: &Row<'_>| {
        let Some(last) = row.get::<Option<i64>>(1)? else { return Ok((row.get::<Position>(0)?, None)) };
        let last = Position(last);
        let batch = WrittenBatch { last, before: row.get(2)?, node: row.get(3)?, entries: row.get(4)? };
        Ok((row.get(0)?, Some(batch)))
    };
    for (head, batch) in readers.query(NEXT, params![after, AT_ONCE], read).await? {
        next.head = head;
        next.batches.extend(batch);
    }
    next.is_cut = i64::try_from(next.batches.len()).is_ok_and(|read| read >= AT_ONCE);
    debug_assert!(next.batches.iter().is_sorted_by_key(|batch| batch.last), "transactions out of order");
    Ok(next)
}
