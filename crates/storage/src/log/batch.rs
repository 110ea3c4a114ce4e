//! What one transaction adds to the log.

use homeserver_core::Position;

use super::LogEntry;

/// The entries of one transaction, and the positions that it took.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// The last position before the transaction.
    pub(crate) before: Position,
    /// The last position that the transaction took.
    pub(crate) last: Position,
    /// In the order of their positions. Transactions that take positions may have nothing to tell.
    pub(crate) entries: Vec<LogEntry>,
}

/// Whether this process writes down what it adds to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Writing {
    /// It does, because other processes follow.
    Down,
    /// It is the only one that follows the log.
    Nothing,
}
