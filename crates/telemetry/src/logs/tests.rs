use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tracing::{debug_span, error, info};
use tracing_subscriber::{
    filter::{EnvFilter, FilterExt as _, filter_fn},
    fmt::MakeWriter,
    layer::{Layer as _, SubscriberExt as _},
};

use super::{check_filter, is_request, layer::LogLayer, line::Format};
use crate::{RemoteTraces, RequestSpan, record_requester, trace::RequestFacts};

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What is logged with `filter` while `work` runs.
fn logged(format: Format, filter: &str, work: impl FnOnce()) -> String {
    let output = Output::default();
    let filter = EnvFilter::builder().parse(filter).unwrap().or(filter_fn(is_request));
    let subscriber = tracing_subscriber::registry().with(LogLayer::new(format, output.clone()).with_filter(filter));
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(output.0.lock().unwrap().clone()).unwrap()
}

fn a_request() -> RequestSpan {
    let headers = http::HeaderMap::new();
    let facts = RequestFacts { request_id: "r1", method: "GET", route: Some("/sync"), headers: &headers };
    RequestSpan::begin(&facts, RemoteTraces::Ignore)
}

#[test]
fn a_filter_is_a_level_or_levels_by_module() {
    for filter in ["info", "warn,storage=debug", "synapse_rust::serve=trace", "off"] {
        assert!(check_filter(filter).is_ok(), "{filter}");
    }
    for filter in ["info,storage=loud", "a=b=c"] {
        assert!(check_filter(filter).is_err(), "{filter}");
    }
}

#[test]
fn a_line_of_json_has_its_request_its_fields_and_its_spans() {
    let text = logged(Format::Json, "debug", || {
        let request = a_request();
        let _request = request.span().enter();
        record_requester("@alice:example.org", Some("DEVICE"));
        let _inner = debug_span!("statement", operation = "SELECT rooms", otel.name = "x").entered();
        info!(target: "storage", rows = 3, error = %"no\nway", is_last = true, "read {}", "rooms");
    });
    let mut line: Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
    assert!(!text.trim_end().contains('\n'), "{text}");
    let timestamp = line["timestamp"].take();
    let timestamp = timestamp.as_str().unwrap();
    assert!(timestamp.len() == 27 && timestamp.ends_with('Z') && timestamp.as_bytes()[10] == b'T', "{timestamp}");
    let request = json!({
        "request_id": "r1", "method": "GET", "route": "/sync", "user_id": "@alice:example.org", "device_id": "DEVICE",
    });
    let expected = json!({
        "timestamp": null, "level": "INFO", "target": "storage", "message": "read rooms", "request_id": "r1",
        "fields": { "rows": 3, "error": "no\nway", "is_last": true },
        "spans": [
            { "name": "request", "fields": request },
            { "name": "statement", "fields": { "operation": "SELECT rooms" } },
        ],
    });
    assert_eq!(line, expected);
}

#[test]
fn a_line_of_text_is_one_line_whatever_it_is_about() {
    let text = logged(Format::Text, "info", || {
        let request = a_request();
        let _request = request.span().enter();
        info!(user = %"a\nb\u{1b}[31m", "two words: {}", "c\nd");
    });
    let (_, line) = text.split_once(' ').unwrap();
    let expected = " INFO request{request_id=r1 method=GET route=/sync}: telemetry::logs::tests: \
                    two words: c\\nd user=a\\nb\\u{1b}[31m\n";
    assert_eq!(line, expected);
}

#[test]
fn lines_name_their_request_whatever_the_filter_is() {
    for filter in ["error", "storage=error", "warn,request=off"] {
        let text = logged(Format::Text, filter, || {
            let request = a_request();
            let _request = request.span().enter();
            let _inner = debug_span!("not_wanted").entered();
            info!(target: "storage", "not this");
            error!(target: "storage", "this");
        });
        assert!(text.contains("request_id=r1") && text.contains("this") && !text.contains("not"), "{filter}: {text}");
    }
}

#[test]
fn what_is_recorded_again_replaces_what_was_there() {
    let text = logged(Format::Text, "info", || {
        let request = a_request();
        let _request = request.span().enter();
        record_requester("@a:b", Some("D"));
        record_requester("@c:d", Some("E"));
        info!("x");
    });
    assert!(text.contains("user_id=@c:d device_id=E}") && !text.contains("@a:b"), "{text}");
}
