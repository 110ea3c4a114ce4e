//! How far a transaction has come when its connection breaks.

use std::cell::Cell;

/// What the writer does in a transaction. What has become of its writes, if the connection breaks, depends on that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It begins: nothing has run.
    Beginning,
    /// Writes that say their type run.
    Typed,
    /// The closure at this place of the batch runs.
    Closure(usize),
    /// It commits: only the database knows whether it has.
    Committing,
}

impl Stage {
    pub(super) fn cell() -> Cell<Self> {
        Cell::new(Self::Beginning)
    }
}
