//! The log: what transactions publish, told to the observers of every process in one order.
//!
//! What several processes write becomes one log: [`publisher`] tells this process's observers of everything in the order of positions,
//! [`reading`] reads what other processes have written down, and [`following`] looks for it.

mod batch;
pub(crate) mod following;
pub(crate) mod publisher;
mod reading;
mod row;

use homeserver_core::Position;

pub(crate) use batch::{LogBatch, Writing};
pub use publisher::LostLog;
pub(crate) use row::LogRow;

/// Follows the log: every entry `E` that any process adds to it, in the order of positions.
pub trait LogObserver<E>: Send + Sync {
    /// Is told of the entries of one committed transaction, before the requests that asked this process for its writes have their
    /// answer. It must not wait: everybody who follows the log waits for it.
    fn committed(&self, entries: &[E]);

    /// Is told of the entries of a transaction that another process has committed, before [`committed`](Self::committed) is told of them.
    fn committed_elsewhere(&self, _entries: &[E]) {}

    /// Everything up to this position was told. It may be behind the last entry: not every transaction that takes positions
    /// publishes something.
    fn told_up_to(&self, _position: Position) {}
}
