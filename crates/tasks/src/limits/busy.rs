use std::time::Duration;

/// There is too much work of one kind at the moment.
///
/// The server has too much to do; the client may have asked for the first time today. So at the edge this
/// becomes a 503, and not the 429 of a client that sends too much. A proxy in front of several nodes may try another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("The server has too much of this to do at the moment: try again in a moment")]
pub struct Busy {
    /// The name of the limit.
    pub limit: &'static str,
    /// What was full.
    pub reason: Reason,
    /// When it makes sense to try again.
    pub retry_after: Duration,
}

/// Why somebody was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Too many wait already.
    QueueFull,
    /// The longest wait was over.
    WaitedTooLong,
}
