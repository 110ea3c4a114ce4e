use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::Clock;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use room_engine::receipt::SignatureFault;
use room_engine::{CanonicalObject, EventError};
use ruma::OwnedServerName;
use tasks::limits::{Busy, Limit};

use crate::credentials::{Credentials, MalformedCredentials};
use crate::keys::{KeyError, ServerKeys};
use crate::rates::{Admission, ServerRates, TooMany};
use crate::reachability::Reachability;
use crate::signed_request::{self, SignedRequest};

/// Headers of one request that are looked at: a server signs with one key, and with two while it changes it.
const MAX_HEADERS: usize = 4;
/// Bodies up to this length are read in place.
const SHORT_BYTES: usize = 64 << 10;
/// The canonical form of a body is shorter than the body, but for numbers such as `1e9`: their normal form is longer.
const MAX_GROWTH: usize = 8;

/// Why a request of another server is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There are no credentials.
    #[error("The request has no Authorization header of the scheme X-Matrix")]
    Missing,
    /// They cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedCredentials),
    /// There are several, of several servers.
    #[error("The request is signed by several servers")]
    SeveralOrigins,
    /// The request is for another server.
    #[error("The request is for {0}, which is not this server")]
    OtherDestination(OwnedServerName),
    /// Somebody pretends to be this server.
    #[error("This server does not ask itself")]
    Itself,
    /// The body is not JSON.
    #[error("The request body is not JSON: {0}")]
    NotJson(EventError),
    /// The body is not an object that can be signed.
    #[error("The request body cannot be read: {0}")]
    Body(EventError),
    /// The keys of the server are not known.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The signature is wrong, or the key not valid.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    /// The server stops.
    #[error("This server is stopping")]
    Interrupted,
    /// Too many signatures are being checked.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The server asks for too much.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// Lets requests of other servers in.
pub struct Gate {
    server_name: OwnedServerName,
    keys: Arc<ServerKeys>,
    checks: Arc<Limit>,
    rates: Arc<ServerRates>,
    reachability: Arc<Reachability>,
    clock: Arc<dyn Clock>,
}

/// What a request says of who makes it. Nothing of it is proved.
pub struct Claims(Vec<Credentials>);

/// A request of another server.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    /// `GET` and so on.
    pub method: &'a str,
    /// Path and query, as they were sent.
    pub uri: &'a str,
    /// The body; empty if there is none. Its reader has limited its size.
    pub body: Bytes,
}

/// The server that makes a request. It has a place among its requests until this is dropped.
pub struct Admitted {
    /// The server.
    pub server: OwnedServerName,
    /// Its place.
    pub admission: Admission,
    /// The body, in the form that was signed; `None` if it was empty.
    pub content: Option<CanonicalObject>,
}

impl Gate {
    /// A gate for those who show that they are who they say, by `keys`.
    #[must_use]
    pub fn new(
        server_name: OwnedServerName,
        keys: Arc<ServerKeys>,
        checks: Arc<Limit>,
        rates: Arc<ServerRates>,
        reachability: Arc<Reachability>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { server_name, keys, checks, rates, reachability, clock }
    }

    /// Reads who makes a request, as it says.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn claims(&self, headers: &HeaderMap) -> Result<Claims, Refusal> {
        self.credentials(headers).map(Claims)
    }

    /// Whether another server has to be asked for its keys before the claims can be checked. Anybody can cause that.
    #[must_use]
    pub async fn must_ask(&self, claims: &Claims) -> bool {
        for credentials in &claims.0 {
            if self.keys.must_ask(&credentials.origin, &credentials.key_id).await {
                return true;
            }
        }
        false
    }

    /// Checks who makes a request.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn admit(&self, incoming: Incoming<'_>, claims: &Claims) -> Result<Admitted, Refusal> {
        let Claims(credentials) = claims;
        let Some(server) = credentials.first().map(|first| first.origin.clone()) else { return Err(Refusal::Missing) };
        let Incoming { method, uri, body } = incoming;
        let content = self.content(body).await?;
        let mut last = Refusal::Missing;
        for credentials in credentials {
            let destination = &self.server_name;
            let request = SignedRequest { content: content.as_ref(), destination, method, origin: &server, uri };
            match self.check(&request, credentials).await {
                Ok(()) => {
                    self.reachability.heard_from(&server).await;
                    let admission = self.rates.admit(&server).await?;
                    return Ok(Admitted { server, admission, content });
                }
                Err(refusal) => last = refusal,
            }
        }
        Err(last)
    }

    /// Reads the body; a long one on a thread for such work.
    async fn content(&self, body: Bytes) -> Result<Option<CanonicalObject>, Refusal> {
        if body.is_empty() {
            return Ok(None);
        }
        let _permit = self.checks.enter().await?;
        let read = |body: &[u8]| signed_request::body(body, body.len().saturating_mul(MAX_GROWTH));
        if body.len() <= SHORT_BYTES {
            return read(&body).map_err(of_body);
        }
        let content = tokio::task::spawn_blocking(move || read(&body)).await;
        content.map_err(|_| Refusal::Interrupted)?.map_err(of_body)
    }

    fn credentials(&self, headers: &HeaderMap) -> Result<Vec<Credentials>, Refusal> {
        let values = headers.get_all(AUTHORIZATION).iter().take(MAX_HEADERS);
        let values = values.map(|value| value.to_str().map_err(|_| MalformedCredentials::Grammar));
        let all: Vec<Credentials> = values.map(|value| value.and_then(Credentials::parse)).collect::<Result<_, _>>()?;
        for pair in all.windows(2) {
            if let [one, other] = pair
                && one.origin != other.origin
            {
                return Err(Refusal::SeveralOrigins);
            }
        }
        for credentials in &all {
            if credentials.origin == self.server_name {
                return Err(Refusal::Itself);
            }
            if let Some(other) = credentials.destination.as_ref().filter(|name| **name != self.server_name) {
                return Err(Refusal::OtherDestination(other.clone()));
            }
        }
        Ok(all)
    }

    async fn check(&self, request: &SignedRequest<'_>, credentials: &Credentials) -> Result<(), Refusal> {
        let keys = self.keys.of(&credentials.origin, &credentials.key_id).await?;
        let _permit = self.checks.enter().await?;
        Ok(request.verify(credentials, &*keys, self.clock.now().0)?)
    }
}

fn of_body(error: EventError) -> Refusal {
    match error {
        EventError::NotJson { .. } => Refusal::NotJson(error),
        error => Refusal::Body(error),
    }
}
