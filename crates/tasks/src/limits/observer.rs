use std::time::Duration;

use super::Reason;

/// Learns what happens at a [`Limit`](super::Limit).
pub trait LimitObserver: Send + Sync {
    /// Somebody got in after this wait, which is zero for most.
    fn entered(&self, limit: &'static str, waited: Duration);

    /// Somebody was refused.
    fn refused(&self, limit: &'static str, reason: Reason);
}

/// Takes no notice.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl LimitObserver for Unobserved {
    fn entered(&self, _limit: &'static str, _waited: Duration) {}

    fn refused(&self, _limit: &'static str, _reason: Reason) {}
}
