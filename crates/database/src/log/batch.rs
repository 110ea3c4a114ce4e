//! What one transaction adds to the log.

use homeserver_core::Position;

use crate::domain::Entry;

/// The entries of one transaction, and the positions that it took.
#[derive(Clone, Debug)]
pub(crate) struct LogBatch<E> {
    /// The last position before the transaction.
    pub(crate) before: Position,
    /// The last position that the transaction took.
    pub(crate) last: Position,
    /// In the order of their positions. Transactions that take positions may publish nothing.
    pub(crate) entries: Vec<E>,
}

impl<E: Entry> LogBatch<E> {
    pub(crate) fn new(before: Position, last: Position, entries: Vec<E>) -> Self {
        debug_assert!(before <= last, "a batch from {before:?} to {last:?}");
        debug_assert!(entries.is_sorted_by_key(E::position), "entries out of order");
        let begins_after = |entry: &E| before == last || before < entry.position();
        debug_assert!(entries.first().is_none_or(begins_after), "an entry before the batch");
        debug_assert!(entries.last().is_none_or(|entry| entry.position() <= last), "an entry after the batch");
        Self { before, last, entries }
    }
}

/// Whether this process writes down what it adds to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Writing {
    /// It does, because other processes follow.
    Down,
    /// It is the only one that follows the log.
    Nothing,
}
