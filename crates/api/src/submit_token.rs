//! `/_synapse/client/email/submit_token`: the page that the link of a mail leads to.
//!
//! Following the link shows a button and changes nothing, because mail programs and chat servers look at links; the button
//! confirms.

use std::sync::Arc;

use accounts::mail::{PageKind, Templates};
use accounts::threepids::{LinkState, ThirdPartyIdentifiers, link_origin};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use homeserver_core::random_string;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, StatusCode};
use serde::Deserialize;

use crate::error::{ApiError, ApiResult};
use crate::extract::{Query, form};
use crate::state::ApiState;

/// The two parameters of the link, which the button sends again. The limit is far above what this server makes.
const MAX_FORM_BYTES: usize = 4096;

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    sid: String,
    #[serde(default)]
    token: String,
}

pub(crate) fn routes() -> Router<ApiState> {
    Router::new().route("/_synapse/client/email/submit_token", get(show).post(confirm))
}

/// Shows the button.
async fn show(
    State(threepids): State<Arc<ThirdPartyIdentifiers>>,
    State(templates): State<Option<Arc<Templates>>>,
    Query(link): Query<Parameters>,
) -> ApiResult<Response> {
    let templates = templates.ok_or_else(no_such_page)?;
    let state = threepids.link_state(&link.sid, &link.token).await?;
    page(&templates, &state, &link)
}

/// Confirms, and sends people on to where their client wants them.
async fn confirm(
    State(threepids): State<Arc<ThirdPartyIdentifiers>>,
    State(templates): State<Option<Arc<Templates>>>,
    request: Request,
) -> ApiResult<Response> {
    let templates = templates.ok_or_else(no_such_page)?;
    let link: Parameters = form(request, MAX_FORM_BYTES).await?;
    let state = threepids.confirm(&link.sid, &link.token).await?;
    if let LinkState::Confirmed(session) = &state
        && let Some(next_link) = &session.next_link
    {
        let headers = [(LOCATION, next_link.as_str()), (CACHE_CONTROL, "no-store"), (REFERRER_POLICY, "no-referrer")];
        return Ok((StatusCode::SEE_OTHER, headers).into_response());
    }
    page(&templates, &state, &link)
}

fn no_such_page() -> ApiError {
    ApiError::not_found("This server sends no mail")
}

fn page(templates: &Templates, state: &LinkState, link: &Parameters) -> ApiResult<Response> {
    let nonce = random_string(22);
    let fields = [("sid", link.sid.as_str()), ("token", link.token.as_str())];
    let (status, kind, session) = match state {
        LinkState::Open(session) => (StatusCode::OK, PageKind::Confirm, Some(session)),
        LinkState::Confirmed(session) => (StatusCode::OK, PageKind::Confirmed, Some(session)),
        LinkState::Invalid => (StatusCode::BAD_REQUEST, PageKind::Invalid, None),
    };
    let (purpose, address) = session.map_or(("", ""), |session| (&session.purpose, &session.address));
    let html = templates
        .page(kind, purpose, address, &fields, &nonce)
        .map_err(|problem| ApiError::internal("Making a page", &std::io::Error::other(problem)))?;
    // Browsers apply form-action to where a form's answer redirects, too.
    let next = session.and_then(|session| session.next_link.as_deref()).and_then(link_origin).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self' {next}; frame-ancestors 'none'; base-uri 'none'"
    );
    let headers: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, &policy),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((status, headers, html).into_response())
}
