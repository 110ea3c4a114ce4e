use http::HeaderMap;
use opentelemetry::{
    Context,
    trace::{Status, TraceContextExt as _},
};
use tracing::{Span, error_span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::context::remote_span;

/// The target of requests' spans.
pub(crate) const REQUEST_TARGET: &str = "request";

/// What becomes of the trace that the sender of a request says it belongs to. Whatever it says, whether a request is
/// recorded is this server's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteTraces {
    /// It is not looked at.
    Ignore,
    /// The request has a trace of its own, which refers to the sender's.
    Link,
    /// The request is a part of the sender's trace.
    Continue,
}

/// The facts of a request on arrival.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// What its log lines and its answer are marked with.
    pub request_id: &'a str,
    /// The method.
    pub method: &'a str,
    /// The pattern of the path, never the path, which may name people and rooms.
    pub route: Option<&'a str>,
    /// The headers, for the context of the sender's trace.
    pub headers: &'a HeaderMap,
}

/// The span of a request, from its head to the head of its answer.
#[derive(Debug, Clone)]
pub struct RequestSpan {
    span: Span,
}

impl RequestSpan {
    /// The span of a request that arrives now.
    #[must_use]
    pub fn begin(facts: &RequestFacts<'_>, remote: RemoteTraces) -> Self {
        let RequestFacts { request_id, method, route, headers } = *facts;
        let route = route.unwrap_or("none");
        // Of the highest level, so that every line that is logged in it names the request, whatever the level of the log.
        let span = error_span!(
            target: REQUEST_TARGET, "request", request_id, method, route, user_id = Empty, device_id = Empty,
            trace_id = Empty, otel.kind = "server"
        );
        if span.is_disabled() {
            return Self { span };
        }
        let sender = if remote == RemoteTraces::Ignore { None } else { remote_span(headers) };
        if let Some(sender) = &sender {
            match remote {
                RemoteTraces::Ignore => {}
                RemoteTraces::Link => span.add_link(sender.clone()),
                // Where no traces are sent there is none to continue.
                RemoteTraces::Continue => {
                    drop(span.set_parent(Context::new().with_remote_span_context(sender.clone())));
                }
            }
        }
        let context = span.context();
        let own = context.span();
        if own.span_context().is_sampled() {
            own.update_name(format!("{method} {route}"));
            span.record("trace_id", own.span_context().trace_id().to_string());
            span.set_attribute("http.request.method", method.to_owned());
            span.set_attribute("http.route", route.to_owned());
        } else if let Some(sender) = sender {
            // Not recorded here, but the sender may have recorded its part.
            span.record("trace_id", sender.trace_id().to_string());
        }
        Self { span }
    }

    /// To be entered whenever the request is worked on.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Says how the request was answered; to be called once.
    pub fn answered(&self, status: u16) {
        if self.span.is_disabled() {
            return;
        }
        self.span.set_attribute("http.response.status_code", i64::from(status));
        if status >= 500 {
            self.span.set_status(Status::error(""));
        }
    }
}

/// Adds the requester to the span of the current request.
pub fn record_requester(user_id: &str, device_id: Option<&str>) {
    let span = Span::current();
    span.record("user_id", user_id);
    span.record("device_id", device_id);
}
