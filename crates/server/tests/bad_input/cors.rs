//! What browsers need, unknown paths, and discovery.

use http::Method;
use serde_json::json;
use testing::{Answer, TestServer, on_both_databases};

use crate::endpoints::ENDPOINTS;
use crate::world::World;

#[track_caller]
fn has_cors_headers(answer: &Answer) {
    let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert_eq!(header("access-control-allow-origin"), "*", "{answer}");
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
        assert!(header("access-control-allow-methods").contains(method), "{answer}");
    }
    for name in ["X-Requested-With", "Content-Type", "Authorization"] {
        assert!(header("access-control-allow-headers").contains(name), "{answer}");
    }
}

const UNKNOWN: &[&str] = &[
    "/index.html",
    "/unknown",
    "/_matrix",
    "/_matrix/client/v3",
    "/_matrix/client/v3/",
    "/_matrix/client/v3/unknown",
    "/_matrix/client/v99/sync",
    "/_matrix/client/v3/sync/",
    "/_matrix/client//v3/sync",
    "/_matrix/federation/v1/unknown",
    "/_matrix/media/v3/unknown",
    "/_synapse/admin/v1/unknown",
    "/.well-known/matrix/unknown",
    "/_matrix/client/v3/%ff",
    "/_matrix/client/v3/%00",
];

on_both_databases! {
    async fn a_path_that_nobody_knows_is_a_404_with_cors_headers(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        for path in UNKNOWN {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
                let answer = server.client().request(method, path).await;
                has_cors_headers(&answer);
                answer.error(404, "M_UNRECOGNIZED");
            }
        }
    }

    async fn options_of_any_path_is_answered_without_a_token(db: TestDatabase) {
        let world = World::new(&db).await;
        let known = ENDPOINTS.iter().map(|endpoint| endpoint.full_path());
        for path in known.chain(UNKNOWN.iter().map(|path| (*path).to_owned())).chain(["/health".to_owned(), "/metrics".to_owned()]) {
            let path = path.replace(['{', '}'], "x");
            let answer = world.client().request(Method::OPTIONS, &path).await;
            has_cors_headers(&answer);
            assert!(answer.status.is_success(), "{answer}");
            assert!(answer.body.is_empty(), "{answer}");
        }
    }

    async fn every_answer_of_every_endpoint_has_cors_headers(db: TestDatabase) {
        let world = World::new(&db).await;
        for endpoint in ENDPOINTS {
            let call = world.call(endpoint).await;
            has_cors_headers(&call.bare().await);
            has_cors_headers(&world.client().request(Method::PATCH, &call.path).await);
            has_cors_headers(&call.valid().await);
        }
    }

    async fn head_is_get_without_the_body(db: TestDatabase) {
        let world = World::new(&db).await;
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.method() == Method::GET) {
            let mut call = world.call(endpoint).await;
            let get = call.valid().await;
            call.method = Method::HEAD;
            let head = call.valid().await;
            assert_eq!(head.status, get.status, "{head}");
            assert!(head.body.is_empty(), "{head}");
            assert_eq!(head.headers.get("content-type"), get.headers.get("content-type"), "{head}");
            has_cors_headers(&head);
        }
    }

    async fn the_well_known_document_names_the_configured_address_or_is_not_there(db: TestDatabase) {
        let path = "/.well-known/matrix/client";
        let server = TestServer::start(&db).await;
        let answer = server.client().get(path).await;
        has_cors_headers(&answer);
        answer.error(404, "M_NOT_FOUND");
        server.shutdown().await;

        let base_url = ("server", "public_base_url", "https://matrix.example.org".into());
        let server = TestServer::start_with(&db, &[base_url]).await;
        let answer = server.client().get(path).await;
        has_cors_headers(&answer);
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.ok()["m.homeserver"], json!({ "base_url": "https://matrix.example.org" }));
        server.client().post(path).await.error(405, "M_UNRECOGNIZED");
    }
}
