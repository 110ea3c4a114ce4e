use std::time::Duration;

use super::Kind;

/// Too many actions of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: wait before the next one", .kind.complaint())]
pub struct LimitExceeded {
    /// Of which kind.
    pub kind: Kind,
    /// When the next one is possible. Whole milliseconds, rounded up: whoever waits for so long is let through.
    pub retry_after: Duration,
}
