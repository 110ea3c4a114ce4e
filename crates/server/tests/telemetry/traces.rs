use std::time::{Duration, Instant};

use http::HeaderName;
use serde_json::json;
use testing::{RemoteServer, ServerProcess, TestDatabase, eventually, on_both_databases, path_segment};

use crate::collector::{Collector, attribute, hex};
use crate::{PROGRAM, metric, start};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const REMOTE_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const REMOTE_SPAN: &str = "b7ad6b7169203331";

fn traceparent(is_sampled: bool) -> String {
    format!("00-{REMOTE_TRACE}-{REMOTE_SPAN}-0{}", u8::from(is_sampled))
}

on_both_databases! {
    async fn a_trace_goes_from_the_request_to_the_statement(db: TestDatabase) {
        let (collector, endpoint) = Collector::start().await;
        let server = start(&db, &[("otlp_endpoint", endpoint.into())]).await;
        let alice = server.register("alice").await;
        let room = path_segment(&alice.create_room(&json!({})).await);
        let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/1");
        let send = alice.put(path).json(&json!({ "msgtype": "m.text", "body": "hidden words" }));
        send.header(REQUEST_ID, "the-send").header(TRACEPARENT, &traceparent(true)).await.ok();
        let read = alice.get(format!("/_matrix/client/v3/rooms/{room}/messages?dir=b"));
        read.header(REQUEST_ID, "the-read").await.ok();

        let sent = eventually("the span of the send", async || collector.request("the-send")).await;
        assert_eq!(sent.name, "PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}");
        let of_send = |key| attribute(&sent.attributes, key).unwrap_or_default();
        assert_eq!((of_send("user_id"), of_send("device_id")), (alice.id.clone(), alice.device_id.clone()));
        assert_eq!(of_send("http.response.status_code"), "200");
        // A client's trace is referred to and not taken over.
        assert_ne!(hex(&sent.trace_id), REMOTE_TRACE);
        assert_eq!((hex(&sent.links[0].trace_id).as_str(), hex(&sent.links[0].span_id).as_str()), (REMOTE_TRACE, REMOTE_SPAN));

        let read = eventually("the span of the read", async || collector.request("the-read")).await;
        let statement = eventually("a statement below it", async || {
            let below = collector.below(&read);
            below.into_iter().find(|span| attribute(&span.attributes, "db.query.text").is_some())
        }).await;
        assert!(statement.name.starts_with("SELECT "), "{}", statement.name);
        assert!(statement.start_time_unix_nano >= read.start_time_unix_nano);
        assert!(collector.below(&read).iter().any(|span| span.name == "messages"), "the service's span");
        let transaction = eventually("the writer's transaction", async || {
            collector.below(&sent).into_iter().find(|span| span.name == "transaction")
        }).await;
        let within = collector.below(&transaction);
        assert!(within.iter().any(|span| attribute(&span.attributes, "db.query.text").is_some()), "{within:?}");
        let name = json!({ "displayname": "Alice" });
        alice.put(format!("/_matrix/client/v3/profile/{}/displayname", path_segment(&alice.id))).json(&name).await.ok();
        let job = eventually("the run of a job", async || {
            collector.spans().into_iter().find(|span| attribute(&span.attributes, "job_id").is_some())
        }).await;
        assert!(job.parent_span_id.is_empty());
        assert_eq!(attribute(&job.attributes, "name"), Some(job.name.clone()));
        eventually("the job's statements", async || {
            collector.below(&job).into_iter().find(|span| attribute(&span.attributes, "db.query.text").is_some())
        }).await;

        let resource = collector.resource().attributes;
        assert_eq!(attribute(&resource, "service.name").as_deref(), Some("synapse-rust"));
        assert_eq!(attribute(&resource, "service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert!(!attribute(&resource, "service.instance.id").unwrap().is_empty());
        let everything = format!("{:?}", collector.spans());
        assert!(!everything.contains(&alice.token) && !everything.contains("hidden words"));
        eventually("the count of what was sent", async || {
            metric(&server.client(), "trace_spans_sent_total").await.filter(|spans| *spans > 5.0)
        }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_homeservers_trace_is_continued_and_a_clients_as_configured() {
    let (collector, endpoint) = Collector::start().await;
    let db = TestDatabase::sqlite();
    let server = start(&db, &[("otlp_endpoint", endpoint.into()), ("client_traces", "ignore".into())]).await;
    for (path, id) in [("/_matrix/federation/v1/version", "federation"), ("/_matrix/client/versions", "client")] {
        let request = server.client().get(path).header(REQUEST_ID, id).header(TRACEPARENT, &traceparent(false));
        request.await;
    }
    let continued = eventually("the homeserver's request", async || collector.request("federation")).await;
    assert_eq!(
        (hex(&continued.trace_id).as_str(), hex(&continued.parent_span_id).as_str()),
        (REMOTE_TRACE, REMOTE_SPAN)
    );
    let own = eventually("the client's request", async || collector.request("client")).await;
    assert!(hex(&own.trace_id) != REMOTE_TRACE && own.parent_span_id.is_empty() && own.links.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_on_to_the_other_server_that_is_asked() {
    let (collector, endpoint) = Collector::start().await;
    let (db, remote) = (TestDatabase::sqlite(), RemoteServer::start("remote.example").await);
    let mut settings = remote.settings();
    settings.push(("telemetry", "otlp_endpoint", endpoint.into()));
    let server = ServerProcess::start_with(PROGRAM, &db, &settings).await;
    let alice = server.register("alice").await;
    let ask = alice.get("/_matrix/client/v3/profile/%40bob%3Aremote.example").header(REQUEST_ID, "the-question");
    ask.await.error(404, "M_NOT_FOUND");
    let told = remote.requests("/_matrix/federation/v1/query/profile").remove(0);
    let told = told.headers[TRACEPARENT].to_str().unwrap().to_owned();

    let question = eventually("the span of the question", async || collector.request("the-question")).await;
    let sent = eventually("the span of the request to the other server", async || {
        collector.below(&question).into_iter().find(|span| span.name == "request to server")
    })
    .await;
    assert_eq!(told, format!("00-{}-{}-01", hex(&question.trace_id), hex(&sent.span_id)));
    assert_eq!(attribute(&sent.attributes, "server").as_deref(), Some("remote.example"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_can_have_their_requests_recorded() {
    let (collector, endpoint) = Collector::start().await;
    let db = TestDatabase::sqlite();
    let mut server = start(&db, &[("otlp_endpoint", endpoint.into()), ("otlp_sampling", 0.into())]).await;
    for path in ["/_matrix/federation/v1/version", "/_matrix/client/versions"] {
        server.client().get(path).header(TRACEPARENT, &traceparent(true)).await;
    }
    // What waits is sent before the end.
    assert_eq!(server.terminate().await.code(), Some(0));
    assert_eq!(collector.spans().len(), 0);
}

/// Requests are answered, what is lost is counted, and the server stops in time.
async fn nothing_but_spans_is_lost(endpoint: String) {
    let db = TestDatabase::sqlite();
    let mut server = start(&db, &[("otlp_endpoint", endpoint.into())]).await;
    let alice = server.register("alice").await;
    let started = Instant::now();
    for _ in 0..200 {
        alice.get("/_matrix/client/v3/account/whoami").await.ok();
    }
    assert!(started.elapsed() < Duration::from_secs(20), "200 requests took {:?}", started.elapsed());
    eventually("spans are dropped", async || {
        let dropped = metric(&server.client(), "trace_spans_dropped_total{reason=\"not_sent\"}").await;
        dropped.filter(|dropped| *dropped > 0.0)
    })
    .await;
    assert_eq!(metric(&server.client(), "trace_spans_sent_total").await, Some(0.0));
    let signalled = Instant::now();
    assert_eq!(server.terminate().await.code(), Some(0), "{}", server.log());
    assert!(signalled.elapsed() < Duration::from_secs(10), "it took {:?} to stop", signalled.elapsed());
    assert_eq!(server.log().matches("traces cannot be sent").count(), 1, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_costs_nothing_but_spans() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok(connection) = listener.accept().await {
            connections.push(connection);
        }
    });
    nothing_but_spans_is_lost(endpoint).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_costs_nothing_but_spans() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    nothing_but_spans_is_lost(endpoint).await;
}
