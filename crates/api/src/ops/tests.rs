use std::future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::{Method, Request, StatusCode};
use telemetry::{DiskSpace, HealthChecks, HealthProbe, Metrics};
use tower::ServiceExt;

use crate::Resource;

async fn send(method: Method, path: &str, database: Result<(), String>, resources: &[Resource]) -> Response {
    let metrics = Arc::new(Metrics::new().unwrap());
    let database = database.map(|()| Duration::from_millis(1));
    let space = DiskSpace { available_bytes: 1 << 40, size_bytes: 1 << 41 };
    let checks = HealthChecks {
        database: Box::new(move || Box::pin(future::ready(database.clone()))),
        writer: Box::new(|| Box::pin(future::ready(Ok(())))),
        last_commit: Box::new(|| None),
        disk: Box::new(move || Box::pin(future::ready(Ok(space)))),
        untold_for: Box::new(|| None),
        lost_for: Box::new(|| None),
        failing_loops: Box::new(Vec::new),
        is_stopping: Box::new(|| false),
    };
    let probe = Arc::new(HealthProbe::new("0", metrics.clone(), checks));
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    super::router(probe, metrics, None, resources).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn health_is_503_without_the_database() {
    let answer = send(Method::GET, "/health", Ok(()), &Resource::ALL).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = send(Method::GET, "/health", Err("gone".to_owned()), &Resource::ALL).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = to_bytes(answer.into_body(), 10_000).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["database"]["status"], "unhealthy");
}

#[tokio::test]
async fn a_server_without_its_database_is_alive_but_not_ready() {
    let gone = || Err("gone".to_owned());
    for (path, database, status) in [
        ("/health/live", Ok(()), StatusCode::OK),
        ("/health/live", gone(), StatusCode::OK),
        ("/health/ready", Ok(()), StatusCode::OK),
        ("/health/ready", gone(), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        assert_eq!(send(Method::GET, path, database, &Resource::ALL).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_server_that_starts_is_alive_and_asks_everybody_to_come_back() {
    for (path, status) in [
        ("/health/live", StatusCode::OK),
        ("/health/ready", StatusCode::SERVICE_UNAVAILABLE),
        ("/health", StatusCode::SERVICE_UNAVAILABLE),
        ("/_matrix/client/versions", StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = super::starting_router().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert!(answer.headers().contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn metrics_are_at_both_paths() {
    for path in ["/metrics", "/_synapse/metrics"] {
        let answer = send(Method::GET, path, Ok(()), &Resource::ALL).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], Metrics::CONTENT_TYPE);
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    }
}

#[tokio::test]
async fn only_what_the_listener_serves_is_there() {
    assert_eq!(send(Method::GET, "/metrics", Ok(()), &[Resource::Health]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(send(Method::GET, "/health", Ok(()), &[Resource::Metrics]).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(send(Method::POST, "/health", Ok(()), &Resource::ALL).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}
