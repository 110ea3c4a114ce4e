use std::time::Duration;

use http::{HeaderMap, StatusCode};

/// How a request ended, for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// With an answer of this status.
    Answered(StatusCode),
    /// Without one.
    Failed,
    /// Not in time.
    TimedOut,
}

/// Learns of requests to other servers.
pub trait ClientObserver: Send + Sync {
    /// A request is about to be sent; its trace may be told in the headers.
    fn sending(&self, headers: &mut HeaderMap);

    /// A request has ended.
    fn ended(&self, outcome: Outcome, took: Duration);
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl ClientObserver for Unobserved {
    fn sending(&self, _: &mut HeaderMap) {}

    fn ended(&self, _: Outcome, _: Duration) {}
}
