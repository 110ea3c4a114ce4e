//! Requests to other servers about rooms. Each has a type for its answer, a limit on its bytes, and one on its time.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/>

mod backfill;
mod event;
mod event_auth;
mod exchange;
mod get_missing_events;
mod handshakes;
mod hierarchy;
mod invite;
mod send_join;
mod splitter;
mod state;
mod timestamp_to_event;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use federation::{Client, Outgoing, RequestError};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ruma::ServerName;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub use self::get_missing_events::MissingQuery;
pub use self::handshakes::{Handshake, Template};
pub use self::hierarchy::ToldHierarchy;
pub use self::invite::InviteRequest;
pub use self::send_join::{JoinAnswer, JoinAnswerReader};
pub use self::state::{StateIds, WholeState};
pub use self::timestamp_to_event::ToldEvent;

/// How long another server may take for one answer, unless less time is left.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Asks other servers about rooms.
pub struct RoomRequests {
    client: Arc<Client>,
}

/// The limits of one request.
#[derive(Clone, Copy)]
struct Limits {
    bytes: usize,
    deadline: Instant,
}

impl RoomRequests {
    /// Requests by `client`.
    #[must_use]
    pub fn new(client: Arc<Client>) -> Self {
        Self { client }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        server: &ServerName,
        uri: &str,
        limits: Limits,
    ) -> Result<T, RequestError> {
        self.ask(server, Method::GET, uri, None, limits).await
    }

    /// As [`RoomRequests::get`], for a person who waits: a server that is left alone is tried, once in a while.
    async fn insist<T: DeserializeOwned>(
        &self,
        server: &ServerName,
        uri: &str,
        limits: Limits,
    ) -> Result<T, RequestError> {
        let outgoing = outgoing(server, Method::GET, uri, None, limits);
        read(server, &self.client.insist(&outgoing).await?)
    }

    /// For a person who waits, too.
    async fn put<T: DeserializeOwned>(
        &self,
        server: &ServerName,
        uri: &str,
        body: Bytes,
        limits: Limits,
    ) -> Result<T, RequestError> {
        let outgoing = outgoing(server, Method::PUT, uri, Some(body), limits);
        read(server, &self.client.insist(&outgoing).await?)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        server: &ServerName,
        method: Method,
        uri: &str,
        body: Option<Bytes>,
        limits: Limits,
    ) -> Result<T, RequestError> {
        let outgoing = outgoing(server, method, uri, body, limits);
        read(server, &self.client.ask(&outgoing).await?)
    }
}

fn outgoing<'a>(
    server: &'a ServerName,
    method: Method,
    uri: &'a str,
    body: Option<Bytes>,
    limits: Limits,
) -> Outgoing<'a> {
    let timeout = time_left(limits.deadline).min(TIMEOUT);
    Outgoing { method, server, uri, body, limit_bytes: limits.bytes, timeout }
}

fn read<T: DeserializeOwned>(server: &ServerName, json: &[u8]) -> Result<T, RequestError> {
    serde_json::from_slice(json).map_err(|error| RequestError::bad_answer(server, &error.to_string()))
}

fn time_left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// The path of a request, with `segments` that may have any text.
fn path(version: &str, name: &str, segments: &[&dyn fmt::Display]) -> String {
    let mut path = format!("/_matrix/federation/{version}/{name}");
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(&segment.to_string(), NON_ALPHANUMERIC));
    }
    path
}
