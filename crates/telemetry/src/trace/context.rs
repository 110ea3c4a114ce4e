//! The context of a trace in the headers of HTTP requests.
//!
//! <https://www.w3.org/TR/trace-context/>

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: &str = "traceparent";

/// Adds the trace of the current span to the headers of an outbound request, if the span is recorded. Code that makes requests to
/// other homeservers, or to other services of the operator, calls this.
pub fn inject_trace_context(headers: &mut HeaderMap) {
    let context = Span::current().context();
    if context.span().span_context().is_sampled() {
        TraceContextPropagator::new().inject_context(&context, &mut Outgoing(headers));
    }
}

/// What the sender of a request says about the trace it belongs to, if that is well-formed.
pub(super) fn remote_span(headers: &HeaderMap) -> Option<SpanContext> {
    // Two of them contradict each other.
    let mut all = headers.get_all(TRACEPARENT).iter();
    let (Some(_), None) = (all.next(), all.next()) else { return None };
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Incoming(headers));
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

struct Incoming<'a>(&'a HeaderMap);

impl Extractor for Incoming<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::{inject_trace_context, remote_span};
    use crate::{
        RemoteTraces, RequestSpan,
        trace::{RequestFacts, sampler::OwnDecision},
    };

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (http::HeaderName::from_static("traceparent"), HeaderValue::try_from(*value).unwrap()))
            .collect()
    }

    #[test]
    fn a_well_formed_context_is_read() {
        let span = remote_span(&headers(&[GOOD])).unwrap();
        assert_eq!(span.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.span_id().to_string(), "b7ad6b7169203331");
        assert!(span.is_remote() && span.is_sampled());
    }

    #[test]
    fn anything_else_is_as_if_it_were_not_there() {
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        for bad in ["", "x", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", zeros, &GOOD.to_uppercase()] {
            assert!(remote_span(&headers(&[bad])).is_none(), "{bad}");
        }
        assert!(remote_span(&headers(&[])).is_none());
        assert!(remote_span(&headers(&[GOOD, GOOD])).is_none());
    }

    /// What is injected in a request of `headers` that is recorded, or not.
    fn injected(ratio: f64, headers: &HeaderMap) -> (HeaderMap, String) {
        let provider = SdkTracerProvider::builder().with_sampler(OwnDecision { ratio }).build();
        let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(traces), || {
            let facts = RequestFacts { request_id: "r", method: "GET", route: None, headers };
            let request = RequestSpan::begin(&facts, RemoteTraces::Continue);
            let _request = request.span().enter();
            let inner = tracing::info_span!("inner").entered();
            let mut outgoing = HeaderMap::new();
            inject_trace_context(&mut outgoing);
            (outgoing, inner.context().span().span_context().span_id().to_string())
        })
    }

    #[test]
    fn a_request_to_others_goes_on_with_the_trace_of_the_current_span() {
        let mut incoming = headers(&[GOOD]);
        incoming.insert("tracestate", HeaderValue::from_static("vendor=1"));
        let (outgoing, span_id) = injected(1.0, &incoming);
        let expected = format!("00-0af7651916cd43dd8448eb211c80319c-{span_id}-01");
        assert_eq!(outgoing["traceparent"], expected);
        assert_eq!(outgoing["tracestate"], "vendor=1");
        let (outgoing, _) = injected(1.0, &HeaderMap::new());
        assert!(remote_span(&outgoing).is_some() && !outgoing.contains_key("tracestate"), "{outgoing:?}");
    }

    #[test]
    fn a_trace_that_is_not_recorded_is_not_passed_on() {
        assert!(injected(0.0, &headers(&[GOOD])).0.is_empty());
    }

    #[test]
    fn outside_of_a_trace_nothing_is_injected() {
        let mut headers = HeaderMap::new();
        inject_trace_context(&mut headers);
        assert!(headers.is_empty());
    }
}
