use std::sync::Arc;

use homeserver_core::Clock;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use room_engine::receipt::SignatureFault;
use ruma::OwnedServerName;
use tasks::limits::{Busy, Limit};

use crate::credentials::{Credentials, MalformedCredentials, SignedRequest};
use crate::keys::{KeyError, ServerKeys};
use crate::rates::{Admission, ServerRates, TooMany};

/// Headers of one request that are looked at: a server signs with one key, and with two while it changes it.
const MAX_HEADERS: usize = 4;

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
    /// The keys of the server are not known.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The signature is wrong, or the key not valid.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
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
    clock: Arc<dyn Clock>,
}

/// What a request says of who makes it. Nothing of it is proved.
pub struct Claims(Vec<Credentials>);

/// The server that makes a request. It has a place among its requests until this is dropped.
pub struct Admitted {
    /// The server.
    pub server: OwnedServerName,
    /// Its place.
    pub admission: Admission,
}

impl Gate {
    /// A gate for those who show that they are who they say, by `keys`.
    #[must_use]
    pub fn new(
        server_name: OwnedServerName,
        keys: Arc<ServerKeys>,
        checks: Arc<Limit>,
        rates: Arc<ServerRates>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { server_name, keys, checks, rates, clock }
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
    pub fn must_ask(&self, claims: &Claims) -> bool {
        claims.0.iter().any(|credentials| self.keys.must_ask(&credentials.origin, &credentials.key_id))
    }

    /// Checks who makes a request without a body. `uri` is path and query, as they were sent.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn admit(&self, method: &str, uri: &str, claims: &Claims) -> Result<Admitted, Refusal> {
        let Claims(credentials) = claims;
        let Some(origin) = credentials.first().map(|first| first.origin.clone()) else { return Err(Refusal::Missing) };
        let mut last = Refusal::Missing;
        for credentials in credentials {
            match self.check(method, uri, credentials).await {
                Ok(()) => {
                    let admission = self.rates.admit(&origin).await?;
                    return Ok(Admitted { server: origin, admission });
                }
                Err(refusal) => last = refusal,
            }
        }
        Err(last)
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

    async fn check(&self, method: &str, uri: &str, credentials: &Credentials) -> Result<(), Refusal> {
        let keys = self.keys.of(&credentials.origin, &credentials.key_id).await?;
        let _permit = self.checks.enter().await?;
        let request = SignedRequest { destination: &self.server_name, method, origin: &credentials.origin, uri };
        Ok(request.verify(credentials, &*keys, self.clock.now().0)?)
    }
}
