use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use homeserver_core::{DeviceSn, UserSn};
use http::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId, owned_device_id, owned_user_id};
use serde_json::{Value, json};
use services::capabilities::{Capabilities, CapabilityOptions};
use services::discovery::Discovery;
use services::sessions::{Requester, Sessions};
use tower::ServiceExt;

use super::*;
use crate::edge::EdgeLayer;
use crate::extract::{Json, Path};
use crate::state::{ApiState, Components};

fn components() -> Components {
    let sessions = Sessions::default();
    for (token, is_guest) in [("secret", false), ("guest", true)] {
        let requester = Requester {
            user_sn: UserSn(1),
            user_id: owned_user_id!("@alice:example.org"),
            device_sn: Some(DeviceSn(1)),
            device_id: Some(owned_device_id!("D")),
            is_guest,
            is_admin: false,
        };
        sessions.remember(token.to_owned(), requester);
    }
    Components {
        observer: None,
        capabilities: Arc::new(Capabilities::new(&CapabilityOptions {
            default_room_version: RoomVersionId::V12,
            room_versions: vec![RoomVersionId::V11, RoomVersionId::V12],
            passwords_enabled: true,
        })),
        discovery: Arc::new(Discovery::new(Some("https://matrix.example.org"), None)),
        sessions: Arc::new(sessions),
    }
}

fn api() -> Router {
    router(ApiState::new(components()), &Resource::ALL)
}

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

#[tokio::test]
async fn versions_lists_what_the_server_speaks() {
    let response = send(api(), Method::GET, "/_matrix/client/versions", None).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = json_of(response).await;
    assert!(body["versions"].as_array().unwrap().contains(&json!("v1.19")));
    assert!(body["unstable_features"].is_object());
}

#[tokio::test]
async fn every_answer_carries_the_cors_headers() {
    for (method, path, status) in [
        (Method::GET, "/_matrix/client/versions", StatusCode::OK),
        (Method::HEAD, "/_matrix/client/versions", StatusCode::OK),
        (Method::GET, "/_matrix/client/v3/capabilities", StatusCode::UNAUTHORIZED),
        (Method::GET, "/nowhere", StatusCode::NOT_FOUND),
        (Method::PATCH, "/_matrix/client/versions", StatusCode::METHOD_NOT_ALLOWED),
        (Method::OPTIONS, "/_matrix/client/v3/capabilities", StatusCode::OK),
        (Method::OPTIONS, "/nowhere", StatusCode::OK),
    ] {
        let response = send(api(), method.clone(), path, None).await;
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(response.headers()["access-control-allow-origin"], "*", "{method} {path}");
        assert_eq!(response.headers()["access-control-allow-methods"], "GET, POST, PUT, DELETE, OPTIONS");
        assert_eq!(response.headers()["access-control-allow-headers"], "X-Requested-With, Content-Type, Authorization");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_unrecognized() {
    for (method, path) in [(Method::GET, "/_matrix/client/v3/nothing"), (Method::DELETE, "/_matrix/client/v3/capabilities")] {
        assert_eq!(json_of(send(api(), method, path, None).await).await["errcode"], "M_UNRECOGNIZED");
    }
}

#[tokio::test]
async fn a_token_is_taken_from_the_header_or_the_query() {
    for (path, token) in [
        ("/_matrix/client/v3/capabilities", Some("secret")),
        ("/_matrix/client/r0/capabilities", Some("guest")),
        ("/_matrix/client/v3/capabilities?x=y&access_token=secr%65t", None),
    ] {
        let body = json_of(send(api(), Method::GET, path, token).await).await;
        assert_eq!(body["capabilities"]["m.room_versions"]["default"], "12", "{body}");
    }
}

#[tokio::test]
async fn missing_and_unknown_tokens_are_told_apart() {
    let path = "/_matrix/client/v3/capabilities";
    let missing = send(api(), Method::GET, path, None).await;
    assert_eq!(missing.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(json_of(missing).await["errcode"], "M_MISSING_TOKEN");
    let unknown = send(api(), Method::GET, path, Some("other")).await;
    assert_eq!(unknown.status(), StatusCode::UNAUTHORIZED);
    let body = json_of(unknown).await;
    assert_eq!((&body["errcode"], &body["soft_logout"]), (&json!("M_UNKNOWN_TOKEN"), &json!(false)));
}

#[tokio::test]
async fn well_known_names_the_base_url_or_is_a_clean_404() {
    let body = json_of(send(api(), Method::GET, "/.well-known/matrix/client", None).await).await;
    assert_eq!(body, json!({ "m.homeserver": { "base_url": "https://matrix.example.org" } }));
    let response = send(api(), Method::GET, "/.well-known/matrix/server", None).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(json_of(response).await["errcode"], "M_NOT_FOUND");
}

#[tokio::test]
async fn a_bad_path_parameter_is_named() {
    let rooms = |room: &'static str| {
        let handler = async |Path((_, _)): Path<(OwnedRoomId, OwnedUserId)>| "";
        let router = Router::<()>::new().route("/{roomId}/{userId}", get(handler));
        send(router, Method::GET, room, None)
    };
    assert_eq!(rooms("/!room:a.org/@u:a.org").await.status(), StatusCode::OK);
    for (path, parameter) in [("/room/@u:a.org", "roomId: "), ("/!room:a.org/u", "userId: "), ("/!r/%ff", "Invalid UTF-8 in `userId`"), ("/!r%00/@u:a.org", "")] {
        let response = rooms(path).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        let body = json_of(response).await;
        assert_eq!(body["errcode"], "M_INVALID_PARAM");
        assert!(body["error"].as_str().unwrap().starts_with(parameter), "{body}");
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
async fn a_panic_is_answered_and_measured() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let observer = move |method: &Method, route: Option<&str>, status: StatusCode, _: std::time::Duration| {
        log.lock().push((method.clone(), route.map(str::to_owned), status));
    };
    let panicking = async |Path(_): Path<String>| -> &'static str { panic!("on purpose") };
    let layer = EdgeLayer { observer: Some(Arc::new(observer)) };
    let router = Router::<()>::new().route("/rooms/{roomId}", get(panicking)).layer(layer);
    let response = send(router, Method::GET, "/rooms/x", None).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(*seen.lock(), [(Method::GET, Some("/rooms/{roomId}".to_owned()), StatusCode::INTERNAL_SERVER_ERROR)]);
}
