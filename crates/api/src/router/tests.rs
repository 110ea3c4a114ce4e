use std::sync::Arc;
use std::time::Duration;

use accounts::authentication::Authenticator;
use accounts::sessions::{SessionOptions, Sessions};
use axum::body::Body;
use axum::routing::{get, post};
use homeserver_core::SystemClock;
use http::{Method, Request, Response};
use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedUserId};
use serde_json::{Value, json};
use storage::{Database, DatabaseOptions, Interned};
use telemetry::RemoteTraces;
use tower::ServiceExt;

use super::*;
use crate::edge::RequestObserver;
use crate::error::ApiResult;
use crate::extract::{Authenticated, Json, OptionalAuthenticated, Path};

async fn send(router: Router, method: Method, path: &str, token: Option<&str>) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn json_of(response: Response<Body>) -> Value {
    let bytes = axum::body::to_bytes(response.into_body(), 1_000_000).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn edge(observer: Option<Arc<dyn RequestObserver>>) -> EdgeLayer {
    EdgeLayer { observer, client_traces: RemoteTraces::Link }
}

fn one_endpoint() -> Router {
    let broken = async || -> ApiResult<()> { Err(ApiError::forbidden("No")) };
    finish(Router::new().route("/known", get(async || "")).route("/broken", get(broken)), edge(None))
}

#[tokio::test]
async fn every_answer_carries_the_cors_headers() {
    for (method, path, status) in [
        (Method::GET, "/known", StatusCode::OK),
        (Method::HEAD, "/known", StatusCode::OK),
        (Method::GET, "/broken", StatusCode::FORBIDDEN),
        (Method::GET, "/nowhere", StatusCode::NOT_FOUND),
        (Method::PATCH, "/known", StatusCode::METHOD_NOT_ALLOWED),
        (Method::OPTIONS, "/known", StatusCode::OK),
        (Method::OPTIONS, "/nowhere", StatusCode::OK),
    ] {
        let response = send(one_endpoint(), method.clone(), path, None).await;
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(response.headers()["access-control-allow-origin"], "*", "{method} {path}");
        assert_eq!(response.headers()["access-control-allow-methods"], "GET, POST, PUT, DELETE, OPTIONS");
        let allowed = "X-Requested-With, Content-Type, Authorization, If-Match, If-None-Match";
        assert_eq!(response.headers()["access-control-allow-headers"], allowed);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_unrecognized() {
    for (method, path) in [(Method::GET, "/nowhere"), (Method::DELETE, "/known")] {
        assert_eq!(json_of(send(one_endpoint(), method, path, None).await).await["errcode"], "M_UNRECOGNIZED");
    }
}

#[tokio::test]
async fn missing_and_unknown_tokens_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("test.db").display());
    let database = Database::open(&DatabaseOptions::new(url)).await.unwrap();
    let interned = Arc::new(Interned::new(database.clone()));
    let sessions = Arc::new(Sessions::new(database, interned, Arc::new(SystemClock), SessionOptions::default()));
    let optional = async |OptionalAuthenticated(requester): OptionalAuthenticated| requester.is_some().to_string();
    let routes = Router::new().route("/private", get(async |_: Authenticated| "")).route("/optional", get(optional));
    let router: Router = routes.with_state(Arc::new(Authenticator::new(sessions)));
    for (path, token, expected) in [
        ("/private", None, json!("M_MISSING_TOKEN")),
        ("/private?access_token=", Some("x"), json!("M_UNKNOWN_TOKEN")),
        ("/private?a=b&access_token=x%5Fy", None, json!("M_UNKNOWN_TOKEN")),
        ("/optional", Some("x"), json!("M_UNKNOWN_TOKEN")),
    ] {
        let response = send(router.clone(), Method::GET, path, token).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(json_of(response).await["errcode"], expected, "{path}");
    }
    assert_eq!(json_of(send(router.clone(), Method::GET, "/optional", None).await).await, json!(false));
}

#[tokio::test]
async fn a_bad_path_parameter_is_named() {
    let rooms = |room: &'static str| {
        let handler = async |Path((_, _)): Path<(OwnedRoomId, OwnedUserId)>| "";
        let router = Router::<()>::new().route("/{roomId}/{userId}", get(handler));
        send(router, Method::GET, room, None)
    };
    assert_eq!(rooms("/!room:a.org/@u:a.org").await.status(), StatusCode::OK);
    for (path, sentence) in [
        ("/room/@u:a.org", "roomId: "),
        ("/!room:a.org/u", "userId: "),
        ("/!r/%ff", "Invalid UTF-8 in `userId`"),
        ("/!r%00/@u:a.org", "The path"),
    ] {
        let response = rooms(path).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        let body = json_of(response).await;
        assert_eq!(body["errcode"], "M_INVALID_PARAM");
        assert!(body["error"].as_str().unwrap().starts_with(sentence), "{body}");
    }
    let router = Router::<()>::new().route("/{roomId}", get(async |Path(_): Path<OwnedRoomId>| ""));
    assert_eq!(send(router.clone(), Method::GET, "/!a%2Fb:c", None).await.status(), StatusCode::OK);
    let body = json_of(send(router, Method::GET, "/room", None).await).await;
    assert!(body["error"].as_str().unwrap().starts_with("roomId: "), "{body}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large() {
    let handler = async |Json(_): Json<Value, 100>| "";
    let router = Router::<()>::new().route("/", post(handler));
    let request = Request::post("/").body(Body::from(format!("{{\"a\":\"{}\"}}", "x".repeat(200)))).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(json_of(response).await["errcode"], "M_TOO_LARGE");
}

#[tokio::test]
async fn every_answer_carries_the_id_of_its_request() {
    let id = |response: &Response<Body>| response.headers()["x-request-id"].to_str().unwrap().to_owned();
    for path in ["/known", "/broken", "/nowhere"] {
        let request = Request::get(path).header("X-Request-Id", "from-a-proxy.1").body(Body::empty()).unwrap();
        assert_eq!(id(&one_endpoint().oneshot(request).await.unwrap()), "from-a-proxy.1");
        let generated = id(&send(one_endpoint(), Method::GET, path, None).await);
        assert_eq!(generated.len(), 16, "{generated}");
    }
}

#[tokio::test]
async fn only_an_internal_error_quotes_the_id_of_its_request() {
    let failing = async || -> ApiResult<()> { Err(ApiError::internal("Testing", &std::io::Error::other("secret"))) };
    let router = finish(Router::<()>::new().route("/fails", get(failing)), edge(None));
    let request = Request::get("/fails").header("X-Request-Id", "abc").body(Body::empty()).unwrap();
    let answer = router.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let sentence = "The server could not do this because of an internal error (request ID abc)";
    assert_eq!(json_of(answer).await, json!({ "errcode": "M_UNKNOWN", "error": sentence }));
    let other = json_of(send(one_endpoint(), Method::GET, "/broken", None).await).await;
    assert_eq!(other["error"], "No");
}

#[tokio::test]
async fn a_panic_is_answered_and_measured() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let observer = move |method: &Method, route: Option<&str>, status: StatusCode, _: Duration| {
        log.lock().push((method.clone(), route.map(str::to_owned), status));
    };
    let panicking = async |Path(_): Path<String>| -> &'static str { panic!("on purpose") };
    let router = finish(Router::<()>::new().route("/rooms/{roomId}", get(panicking)), edge(Some(Arc::new(observer))));
    let response = send(router.clone(), Method::GET, "/rooms/x", None).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    send(router, Method::GET, "/nowhere", None).await;
    let room = Some("/rooms/{roomId}".to_owned());
    let expected = [(Method::GET, room, StatusCode::INTERNAL_SERVER_ERROR), (Method::GET, None, StatusCode::NOT_FOUND)];
    assert_eq!(*seen.lock(), expected);
}
