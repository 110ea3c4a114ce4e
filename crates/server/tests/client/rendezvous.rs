use http::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderName, StatusCode};
use serde_json::json;
use testing::{Answer, TestServer, on_both_databases};

const BY_ETAG: &str = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous";
const BY_TOKEN: &str = "/_matrix/client/unstable/io.element.msc4388/rendezvous";

fn etag(answer: &Answer) -> String {
    for (name, value) in [("cache-control", "no-store"), ("pragma", "no-cache")] {
        assert_eq!(answer.headers[name], value);
    }
    assert_eq!(answer.headers["access-control-expose-headers"], "ETag");
    assert!(answer.headers.contains_key("expires") && answer.headers.contains_key("last-modified"));
    answer.headers["etag"].to_str().unwrap().to_owned()
}

on_both_databases! {
    async fn two_clients_meet_and_neither_overwrites_what_it_has_not_read(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let client = server.client();
        let open = |kind: &'static str, body: &'static str| client.post(BY_ETAG).header(CONTENT_TYPE, kind).body(body);
        client.post(BY_ETAG).body("x").await.error(400, "M_MISSING_PARAM");
        open("application/json", "x").await.error(400, "M_INVALID_PARAM");
        client.post(BY_ETAG).header(CONTENT_TYPE, "text/plain").body("x".repeat(4_097)).await.error(413, "M_TOO_LARGE");

        let opened = open("text/plain", "hello from A").await;
        assert_eq!(opened.status, StatusCode::CREATED);
        let first = etag(&opened);
        let url = opened.json["url"].as_str().unwrap();
        let path = url.strip_prefix(client.base_url()).unwrap().to_owned();
        let read = client.get(&path).await;
        assert_eq!((read.status, &read.body[..], etag(&read)), (StatusCode::OK, &b"hello from A"[..], first.clone()));
        assert_eq!(read.headers["content-type"], "text/plain");
        let unchanged = client.get(&path).header(IF_NONE_MATCH, &first).await;
        assert_eq!((unchanged.status, etag(&unchanged)), (StatusCode::NOT_MODIFIED, first.clone()));

        let write = |known: &str, body: &'static str| {
            client.put(&path).header(CONTENT_TYPE, "text/plain").header(IF_MATCH, known).body(body)
        };
        client.put(&path).header(CONTENT_TYPE, "text/plain").body("x").await.error(400, "M_MISSING_PARAM");
        let written = write(&first, "hello from B").await;
        assert_eq!(written.status, StatusCode::ACCEPTED);
        assert_ne!(etag(&written), first);
        let late = write(&first, "hello again from A").await;
        assert_eq!((late.status, etag(&late)), (StatusCode::PRECONDITION_FAILED, etag(&written)));
        assert_eq!(client.get(&path).header(IF_NONE_MATCH, &first).await.body, "hello from B");

        assert_eq!(client.delete(&path).await.status, StatusCode::NO_CONTENT);
        client.get(&path).await.error(404, "M_NOT_FOUND");
        client.delete(&path).await.error(404, "M_NOT_FOUND");
        write(&first, "x").await.error(404, "M_NOT_FOUND");
    }

    async fn the_successor_speaks_json_and_takes_a_repeated_write_for_one(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (client, alice) = (server.client(), server.register("alice").await);
        assert_eq!(client.get(BY_TOKEN).await.ok(), json!({ "create_available": false }));
        assert_eq!(alice.get(BY_TOKEN).await.ok(), json!({ "create_available": true }));
        client.post(BY_TOKEN).json(&json!({ "data": "x" })).await.error(403, "M_FORBIDDEN");
        for body in [json!({}), json!({ "data": 5 })] {
            alice.post(BY_TOKEN).json(&body).await.error(400, "M_BAD_JSON");
        }
        alice.post(BY_TOKEN).json(&json!({ "data": "x".repeat(4_097) })).await.error(413, "M_TOO_LARGE");

        let opened = alice.post(BY_TOKEN).json(&json!({ "data": "A" })).await.ok();
        let path = format!("{BY_TOKEN}/{}", opened["id"].as_str().unwrap());
        let read = client.get(&path).await.ok();
        assert_eq!((&read["data"], &read["sequence_token"]), (&json!("A"), &opened["sequence_token"]));
        assert!((1..=300_000).contains(&read["expires_in_ms"].as_u64().unwrap()));
        let mode = HeaderName::from_static("sec-fetch-mode");
        client.get(&path).header(mode, "navigate").await.error(403, "M_FORBIDDEN");

        let body = json!({ "sequence_token": opened["sequence_token"], "data": "B" });
        let written = client.put(&path).json(&body).await.ok();
        assert_eq!(client.put(&path).json(&body).await.ok(), written, "the answer was lost");
        let late = json!({ "sequence_token": opened["sequence_token"], "data": "C" });
        client.put(&path).json(&late).await.error(409, "IO_ELEMENT_MSC4388_CONCURRENT_WRITE");
        assert_eq!(client.get(&path).await.ok()["data"], "B");
        client.delete(&path).await.ok();
        client.put(&path).json(&late).await.error(404, "M_NOT_FOUND");
    }
}
