//! What it costs a request to be seen: its span with who asks, and the spans of three statements below it. The baseline is a
//! process in which nobody looks.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use telemetry::{LogOptions, RemoteTraces, RequestFacts, RequestSpan, TraceOptions, record_requester};

fn request(headers: &HeaderMap) {
    let facts =
        RequestFacts { request_id: "0123456789abcdef", method: "GET", route: Some("/_matrix/client/v3/sync"), headers };
    let request = RequestSpan::begin(&facts, RemoteTraces::Link);
    let entered = request.span().enter();
    record_requester("@alice:example.org", Some("ABCDEFGHIJ"));
    for operation in ["SELECT events", "SELECT rooms", "SELECT users"] {
        let span = tracing::debug_span!(target: "storage", "statement", otel.name = operation, operation);
        span.in_scope(|| std::hint::black_box(operation));
    }
    tracing::debug!(target: "access", status = 200, "answered");
    drop(entered);
    request.answered(200);
}

fn spans(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _runtime = runtime.enter();
    let headers = HeaderMap::new();
    criterion.bench_function("nobody looks", |bencher| bencher.iter(|| request(&headers)));
    let traces = |sampling| TraceOptions {
        endpoint: "http://127.0.0.1:1".to_owned(),
        sampling,
        version: "0",
        server_name: "example.org".to_owned(),
    };
    for (name, traces) in
        [("logs", None), ("logs and traces of none", Some(traces(0.0))), ("logs and traces of all", Some(traces(1.0)))]
    {
        let (subscriber, _, _traces) =
            telemetry::subscriber(LogOptions { json: false, filter: "info", traces }).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            criterion.bench_function(name, |bencher| bencher.iter(|| request(&headers)));
        });
    }
}

criterion_group!(benches, spans);
criterion_main!(benches);
