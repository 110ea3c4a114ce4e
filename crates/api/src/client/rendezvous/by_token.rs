//! `/_matrix/client/unstable/io.element.msc4388/rendezvous`: payloads in JSON, with a token for each.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4388>

use std::sync::Arc;

use accounts::rendezvous::{Rendezvous, RendezvousError, RendezvousSession};
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use crate::Empty;
use crate::client::error::ClientResult;
use crate::error::ApiError;
use crate::extract::{ClientAddress, Json, OptionalAuthenticated, Path};

#[derive(Serialize)]
pub(crate) struct Available {
    create_available: bool,
}

#[derive(Deserialize)]
pub(crate) struct Body {
    data: String,
}

#[derive(Deserialize)]
pub(crate) struct Update {
    sequence_token: String,
    data: String,
}

#[derive(Serialize)]
pub(crate) struct Opened {
    id: String,
    sequence_token: String,
    expires_in_ms: u64,
}

#[derive(Serialize)]
pub(crate) struct Written {
    sequence_token: String,
}

#[derive(Serialize)]
pub(crate) struct Payload {
    data: String,
    sequence_token: String,
    expires_in_ms: u64,
}

/// Users of this server can open sessions.
pub(crate) async fn discover(OptionalAuthenticated(requester): OptionalAuthenticated) -> Json<Available> {
    Json(Available { create_available: requester.is_some() })
}

/// Only users of this server open sessions: others could keep what they want on it.
pub(crate) async fn open(
    ClientAddress(address): ClientAddress,
    OptionalAuthenticated(requester): OptionalAuthenticated,
    State(rendezvous): State<Arc<Rendezvous>>,
    Json(body): Json<Body>,
) -> ClientResult<Json<Opened>> {
    if requester.is_none() {
        return Err(ApiError::forbidden("Only users of this server open a rendezvous here: log in first").into());
    }
    let session = rendezvous.open(address, body.data.into()).await?;
    let expires_in_ms = remaining_ms(&rendezvous, &session);
    Ok(Json(Opened { id: session.session_id, sequence_token: session.version, expires_in_ms }))
}

pub(crate) async fn read(
    ClientAddress(address): ClientAddress,
    Path(session_id): Path<String>,
    headers: HeaderMap,
    State(rendezvous): State<Arc<Rendezvous>>,
) -> ClientResult<Json<Payload>> {
    // Nobody is to be sent to it as to a page.
    if headers.get("sec-fetch-mode").is_some_and(|mode| mode.as_bytes() == b"navigate") {
        return Err(ApiError::forbidden("This is for clients, and not to be opened as a page").into());
    }
    let session = rendezvous.read(address, &session_id).await?;
    let data = String::from_utf8_lossy(&session.payload).into_owned();
    let expires_in_ms = remaining_ms(&rendezvous, &session);
    Ok(Json(Payload { data, sequence_token: session.version, expires_in_ms }))
}

/// A client that has had no answer may write the same again.
pub(crate) async fn write(
    ClientAddress(address): ClientAddress,
    Path(session_id): Path<String>,
    State(rendezvous): State<Arc<Rendezvous>>,
    Json(body): Json<Update>,
) -> ClientResult<Json<Written>> {
    let written = rendezvous.write(address, session_id, body.sequence_token, body.data.clone().into()).await;
    let session = match written {
        Err(RendezvousError::Conflict(session)) if session.payload == body.data.as_bytes() => *session,
        Err(error @ RendezvousError::Conflict(_)) => {
            let errcode = "IO_ELEMENT_MSC4388_CONCURRENT_WRITE";
            return Err(ApiError::new(StatusCode::CONFLICT, errcode, error.to_string()).into());
        }
        written => written?,
    };
    Ok(Json(Written { sequence_token: session.version }))
}

pub(crate) async fn close(
    ClientAddress(address): ClientAddress,
    Path(session_id): Path<String>,
    State(rendezvous): State<Arc<Rendezvous>>,
) -> ClientResult<Json<Empty>> {
    rendezvous.close(address, session_id).await?;
    Ok(Json(Empty {}))
}

fn remaining_ms(rendezvous: &Rendezvous, session: &RendezvousSession) -> u64 {
    u64::try_from(rendezvous.remaining(session).as_millis()).unwrap_or(u64::MAX)
}
