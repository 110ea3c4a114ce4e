use std::future;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::{Method, Request, StatusCode};
use telemetry::{HealthProbe, Metrics};
use tower::ServiceExt;

use crate::Resource;

async fn send(method: Method, path: &str, database: Result<(), String>, resources: &[Resource]) -> Response {
    let metrics = Arc::new(Metrics::new().unwrap());
    let answer = Box::new(move || Box::pin(future::ready(database.clone())) as _);
    let probe = Arc::new(HealthProbe::new("0", metrics.clone(), answer));
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
