//! How far a transaction has come when its connection breaks.

use std::cell::Cell;

/// What the writer does in a transaction. If the connection breaks, the fate of its writes depends on that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It begins: nothing has run.
    Beginning,
    /// Appends and frequent writes run.
    Typed,
    /// The closure with this index in the batch runs.
    Closure(usize),
    /// It commits: only the database knows whether it has.
    Committing,
}

impl Stage {
    pub(super) fn cell() -> Cell<Self> {
        Cell::new(Self::Beginning)
    }
}
