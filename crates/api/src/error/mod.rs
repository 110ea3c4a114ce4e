//! The error that goes over the wire: a status, an error code of the specification, and a sentence that a person can act on.
//!
//! What an error of a component means depends on who asks, so each boundary has a type of its own around it, with mappings of its own:
//! `ClientError`, `FederationError` and `AdminError`, each in the `error` module of that boundary. What everybody is told alike is mapped
//! here, once, to an [`ApiError`].

mod accounts;
mod asking;
mod limits;
mod storage;

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};

/// What extractors answer with, and handlers of what clients and servers are told alike.
pub type ApiResult<T> = Result<T, ApiError>;

/// A Matrix error response.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#standard-error-response>
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    /// None for the stages of user-interactive authentication, which are no error.
    errcode: Option<&'static str>,
    sentence: Cow<'static, str>,
    retry_after: Option<Duration>,
    fields: Option<Box<Map<String, Value>>>,
    is_internal: bool,
}

/// Goes with the answer to the edge, which knows the request that it is about.
#[derive(Clone)]
pub(crate) struct InternalError(pub(crate) ApiError);

impl ApiError {
    /// An error with any status and code; the constructors below name the usual ones.
    pub fn new(status: StatusCode, errcode: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        let (retry_after, fields) = (None, None);
        Self { status, errcode: Some(errcode), sentence: sentence.into(), retry_after, fields, is_internal: false }
    }

    /// Adds a key to the body, beside `errcode` and `error`.
    #[must_use]
    pub fn with_field(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.fields.get_or_insert_default().insert(key.to_owned(), value.into());
        self
    }

    /// Replaces the sentence.
    #[must_use]
    pub fn with_sentence(mut self, sentence: impl Into<Cow<'static, str>>) -> Self {
        self.sentence = sentence.into();
        self
    }

    /// Replaces the status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Tells the client when to try again, in the `Retry-After` header.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The status it answers with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code it answers with, such as `M_FORBIDDEN`; empty if it asks for stages of user-interactive authentication.
    pub fn errcode(&self) -> &'static str {
        self.errcode.unwrap_or_default()
    }

    /// Asks the client to complete stages of user-interactive authentication. `body` is the whole answer.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#user-interactive-api-in-the-rest-api>
    pub fn user_interactive(body: Map<String, Value>) -> Self {
        let fields = Some(Box::new(body));
        let (status, sentence) = (StatusCode::UNAUTHORIZED, Cow::Borrowed(""));
        Self { status, errcode: None, sentence, retry_after: None, fields, is_internal: false }
    }

    /// Something failed on this side. Logged here, once, with what was being done; the client learns no details, but by which
    /// ID they are found in the log.
    pub fn internal(doing: &str, error: &dyn Error) -> Self {
        tracing::error!(error = telemetry::cause_chain(error), "{doing} failed");
        let sentence = "The server could not do this because of an internal error";
        Self { is_internal: true, ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", sentence) }
    }

    /// The same error with the request's ID in its sentence, so that a report of it can be matched with the log.
    pub(crate) fn quoting(mut self, request_id: &str) -> Self {
        self.sentence = Cow::Owned(format!("{} (request ID {request_id})", self.sentence));
        self.is_internal = false;
        self
    }

    /// The database, or something else that this request needs, cannot be reached for the moment.
    pub fn unavailable(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", sentence).with_retry_after(Duration::from_secs(2))
    }

    /// Too many requests: try again after `wait`.
    pub fn limit_exceeded(wait: Duration) -> Self {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", "Too many requests: wait before the next one")
            .with_field("retry_after_ms", wait_ms)
            .with_retry_after(wait)
    }

    /// The access token is not, or no longer, known. With `soft_logout` the client may log in again and keep what it has.
    pub fn unknown_token(sentence: impl Into<Cow<'static, str>>, soft_logout: bool) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", sentence).with_field("soft_logout", soft_logout)
    }

    /// The room has a version that the asking server does not support.
    pub fn incompatible_room_version(room_version: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "M_INCOMPATIBLE_ROOM_VERSION",
            format!("The room has version {room_version}, which your server does not support"),
        )
        .with_field("room_version", room_version)
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $status:ident $errcode:literal;)*) => {
        impl ApiError {$(
            $(#[$doc])*
            pub fn $name(sentence: impl Into<Cow<'static, str>>) -> Self {
                Self::new(StatusCode::$status, $errcode, sentence)
            }
        )*}
    };
}

constructors! {
    /// Not allowed to do this.
    forbidden = FORBIDDEN "M_FORBIDDEN";
    /// JSON, but not what this endpoint takes.
    bad_json = BAD_REQUEST "M_BAD_JSON";
    /// Not JSON.
    not_json = BAD_REQUEST "M_NOT_JSON";
    /// No such thing.
    not_found = NOT_FOUND "M_NOT_FOUND";
    /// No such endpoint.
    unrecognized = NOT_FOUND "M_UNRECOGNIZED";
    /// No access token in the request.
    missing_token = UNAUTHORIZED "M_MISSING_TOKEN";
    /// Body, event or key over its limit.
    too_large = PAYLOAD_TOO_LARGE "M_TOO_LARGE";
    /// A parameter has a wrong value.
    invalid_param = BAD_REQUEST "M_INVALID_PARAM";
    /// A required parameter is missing.
    missing_param = BAD_REQUEST "M_MISSING_PARAM";
    /// The user ID is taken.
    user_in_use = BAD_REQUEST "M_USER_IN_USE";
    /// The user ID is not one by the grammar.
    invalid_username = BAD_REQUEST "M_INVALID_USERNAME";
    /// The room alias is taken.
    room_in_use = BAD_REQUEST "M_ROOM_IN_USE";
    /// The state that a new room was asked to have is not allowed by its own rules.
    invalid_room_state = BAD_REQUEST "M_INVALID_ROOM_STATE";
    /// This server does not support the room version.
    unsupported_room_version = BAD_REQUEST "M_UNSUPPORTED_ROOM_VERSION";
    /// The change does not fit the state, for example an alias that does not point to the room.
    bad_state = BAD_REQUEST "M_BAD_STATE";
    /// A restricted join that this server cannot vouch for.
    unable_to_authorise_join = BAD_REQUEST "M_UNABLE_TO_AUTHORISE_JOIN";
    /// A restricted join that another server must vouch for.
    unable_to_grant_join = BAD_REQUEST "M_UNABLE_TO_GRANT_JOIN";
    /// Guests may not do this.
    guest_access_forbidden = FORBIDDEN "M_GUEST_ACCESS_FORBIDDEN";
    /// Reserved by an application service.
    exclusive = BAD_REQUEST "M_EXCLUSIVE";
    /// The account has been deactivated.
    user_deactivated = FORBIDDEN "M_USER_DEACTIVATED";
    /// The account is locked.
    user_locked = UNAUTHORIZED "M_USER_LOCKED";
    /// The account is suspended.
    user_suspended = FORBIDDEN "M_USER_SUSPENDED";
    /// The password does not meet the server's rules.
    weak_password = BAD_REQUEST "M_WEAK_PASSWORD";
    /// A profile field name that is too long.
    key_too_large = BAD_REQUEST "M_KEY_TOO_LARGE";
    /// A profile that would become too large.
    profile_too_large = BAD_REQUEST "M_PROFILE_TOO_LARGE";
    /// The user may not leave the server notices room.
    cannot_leave_server_notice_room = FORBIDDEN "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM";
    /// A resource of this server is used up.
    resource_limit_exceeded = FORBIDDEN "M_RESOURCE_LIMIT_EXCEEDED";
    /// Key backup: the version in use is another one.
    wrong_room_keys_version = FORBIDDEN "M_WRONG_ROOM_KEYS_VERSION";
    /// Another server could not be reached.
    connection_failed = BAD_GATEWAY "M_CONNECTION_FAILED";
    /// Another server could not be reached in time.
    connection_timeout = GATEWAY_TIMEOUT "M_CONNECTION_TIMEOUT";
    /// The server cannot validate addresses of this kind.
    threepid_medium_not_supported = BAD_REQUEST "M_THREEPID_MEDIUM_NOT_SUPPORTED";
    /// Somebody has the address.
    threepid_in_use = BAD_REQUEST "M_THREEPID_IN_USE";
    /// Nobody has the address.
    threepid_not_found = BAD_REQUEST "M_THREEPID_NOT_FOUND";
    /// The account cannot have the address.
    threepid_denied = FORBIDDEN "M_THREEPID_DENIED";
    /// The address was not validated.
    threepid_auth_failed = BAD_REQUEST "M_THREEPID_AUTH_FAILED";
    /// This server does not speak with the identity server.
    server_not_trusted = BAD_REQUEST "M_SERVER_NOT_TRUSTED";
    /// Wrong in a way that no other code names.
    unknown = BAD_REQUEST "M_UNKNOWN";
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let internal = self.is_internal.then(|| InternalError(self.clone()));
        let mut body = self.fields.map_or_else(Map::new, |fields| *fields);
        if let Some(errcode) = self.errcode {
            body.insert("errcode".to_owned(), Value::from(errcode));
            body.insert("error".to_owned(), Value::from(self.sentence.into_owned()));
        }
        let mut response = (self.status, Value::Object(body).to_string()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_millis().div_ceil(1000);
            if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
        }
        if let Some(internal) = internal {
            response.extensions_mut().insert(internal);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(error: ApiError) -> Value {
        let bytes = axum::body::to_bytes(error.into_response().into_body(), 10_000).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn an_error_carries_its_code_its_sentence_and_its_fields() {
        let error = ApiError::forbidden("You are not in this room").with_field("room_version", "12");
        assert_eq!(
            body(error).await,
            serde_json::json!({ "errcode": "M_FORBIDDEN", "error": "You are not in this room", "room_version": "12" })
        );
    }

    #[tokio::test]
    async fn a_rate_limit_tells_when_to_come_back_in_the_body_and_in_the_header() {
        let response = ApiError::limit_exceeded(Duration::from_millis(1500)).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "2");
        assert_eq!(body(ApiError::limit_exceeded(Duration::from_millis(1500))).await["retry_after_ms"], 1500);
    }

    #[tokio::test]
    async fn an_internal_error_shows_no_details() {
        let error = ApiError::internal("reading the table", &std::io::Error::other("secret"));
        assert!(!body(error).await.to_string().contains("secret"));
    }
}
