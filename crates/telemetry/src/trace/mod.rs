//! Traces: what a request went through, for logs and for a collector of traces.

mod context;
mod otlp;
mod request;
mod sampler;

pub use context::inject_trace_context;
pub use otlp::{SpanCounts, TraceOptions, Traces};
pub(crate) use request::REQUEST_TARGET;
pub use request::{RemoteTraces, RequestFacts, RequestSpan, record_requester};
