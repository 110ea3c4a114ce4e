//! What is too much, as an error.

use accounts::rate_limits::LimitExceeded;
use http::StatusCode;
use tasks::limits::Busy;

use super::ApiError;

impl From<LimitExceeded> for ApiError {
    fn from(error: LimitExceeded) -> Self {
        Self::limit_exceeded(error.retry_after).with_sentence(error.to_string())
    }
}

/// Not 429: the client may have asked for the first time today, and it is the server that has too much to do. The code and the hints
/// are the same, so that clients wait as they do after a 429; a proxy in front of several nodes may ask another one.
impl From<Busy> for ApiError {
    fn from(error: Busy) -> Self {
        Self::limit_exceeded(error.retry_after)
            .with_status(StatusCode::SERVICE_UNAVAILABLE)
            .with_sentence(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use accounts::rate_limits::LimitedAction;
    use axum::response::IntoResponse as _;
    use tasks::limits::Reason;

    use super::*;

    async fn told(error: ApiError) -> (u16, String, serde_json::Value) {
        let response = error.into_response();
        let retry_after = response.headers()["retry-after"].to_str().unwrap().to_owned();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, retry_after, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_user_who_does_too_much_and_a_server_that_does_are_told_apart() {
        let retry_after = Duration::from_millis(4_001);
        let (status, header, body) = told(LimitExceeded { kind: LimitedAction::Message, retry_after }.into()).await;
        assert_eq!((status, header.as_str()), (429, "5"));
        assert_eq!((&body["errcode"], &body["retry_after_ms"]), (&"M_LIMIT_EXCEEDED".into(), &4_001.into()));
        assert_eq!(body["error"], "You are sending too much: wait before the next one");

        let busy = Busy { limit: "password_hashing", reason: Reason::QueueFull, retry_after };
        let (status, header, body) = told(busy.into()).await;
        assert_eq!((status, header.as_str()), (503, "5"));
        assert_eq!((&body["errcode"], &body["retry_after_ms"]), (&"M_LIMIT_EXCEEDED".into(), &4_001.into()));
    }
}
