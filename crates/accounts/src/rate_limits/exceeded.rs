use std::time::Duration;

use super::LimitedAction;

/// Too many actions of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: wait before the next one", .kind.complaint())]
pub struct LimitExceeded {
    /// The kind of action that was too frequent.
    pub kind: LimitedAction,
    /// When the next one is possible. Whole milliseconds, rounded up, so that a client that waits for so long is let through.
    pub retry_after: Duration,
}
