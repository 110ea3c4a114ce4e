//! Places where two clients meet, of which one logs the other in by a QR code.
//!
//! Neither can prove anything yet: the ID of the session is what both know. What they write is encrypted, short, and gone after
//! [`VALID_FOR`]. Sessions are in the database, so the two may be served by different nodes.
//!
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4108>, <https://github.com/matrix-org/matrix-spec-proposals/pull/4388>

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use homeserver_core::{Clock, random_string};
pub use storage::RendezvousSession;
use storage::{Database, RendezvousWrite, StorageError};

use crate::rate_limits::{Key, LimitExceeded, LimitedAction, RateLimits};

/// How long a session lasts.
pub const VALID_FOR: Duration = Duration::from_mins(5);
/// The most bytes of a payload.
pub const MAX_PAYLOAD_BYTES: usize = 4_096;
/// Sessions of clients at one address that are open at once, and of all.
const MAX_SESSIONS_OF_ADDRESS: i64 = 50;
const MAX_SESSIONS: i64 = 10_000;
/// How long the ID of a session, and that of a version of its payload, is.
const ID_LENGTH: usize = 40;
const VERSION_LENGTH: usize = 24;

/// Why something could not be done with a session. The texts are sentences for the client.
#[derive(Debug, thiserror::Error)]
pub enum RendezvousError {
    /// It has ended, or never was there.
    #[error("There is no such rendezvous, or it has expired")]
    NoSession,
    /// The other client was faster. The session is as that one has left it.
    #[error("The other client has written meanwhile: read that first")]
    Conflict(Box<RendezvousSession>),
    /// The payload is too long.
    #[error("A payload has at most {MAX_PAYLOAD_BYTES} bytes")]
    TooLarge,
    /// Too many are open.
    #[error("Too many of these sessions are open: try again in a few minutes")]
    TooMany,
    /// Too many requests from this address.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Lets clients meet.
pub struct Rendezvous {
    database: Database,
    clock: Arc<dyn Clock>,
    rate_limits: Arc<RateLimits>,
}

/// The address; of an IPv6 address its network of 64 bits, because one client usually has all addresses in there.
fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x}::/64", address.to_bits() >> 64),
    }
}

impl Rendezvous {
    /// Sessions in `database`.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>, rate_limits: Arc<RateLimits>) -> Self {
        Self { database, clock, rate_limits }
    }

    /// Opens a session for a client at an address.
    ///
    /// # Errors
    /// [`RendezvousError`].
    pub async fn open(&self, address: Option<IpAddr>, payload: Bytes) -> Result<RendezvousSession, RendezvousError> {
        self.count(address, &payload)?;
        let now = self.clock.now();
        let session = RendezvousSession {
            session_id: random_string(ID_LENGTH),
            version: random_string(VERSION_LENGTH),
            payload,
            written_at: now,
            expires_at: now.plus(VALID_FOR),
        };
        let opened_by = address.map(network_of).unwrap_or_default();
        let opening = self.database.open_rendezvous(session.clone(), opened_by, MAX_SESSIONS_OF_ADDRESS, MAX_SESSIONS);
        if opening.await? { Ok(session) } else { Err(RendezvousError::TooMany) }
    }

    /// What was written last.
    ///
    /// # Errors
    /// [`RendezvousError`].
    pub async fn read(&self, address: Option<IpAddr>, session_id: &str) -> Result<RendezvousSession, RendezvousError> {
        self.count(address, &[])?;
        let found = self.database.rendezvous(session_id, self.clock.now()).await?;
        found.ok_or(RendezvousError::NoSession)
    }

    /// Writes another payload in place of the one of this version.
    ///
    /// # Errors
    /// [`RendezvousError`].
    pub async fn write(
        &self,
        address: Option<IpAddr>,
        session_id: String,
        known_version: String,
        payload: Bytes,
    ) -> Result<RendezvousSession, RendezvousError> {
        self.count(address, &payload)?;
        let (version, now) = (random_string(VERSION_LENGTH), self.clock.now());
        match self.database.write_rendezvous(session_id, known_version, version, payload, now).await? {
            RendezvousWrite::Written(session) => Ok(session),
            RendezvousWrite::Conflict(session) => Err(RendezvousError::Conflict(Box::new(session))),
            RendezvousWrite::NoSession => Err(RendezvousError::NoSession),
        }
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`RendezvousError`].
    pub async fn close(&self, address: Option<IpAddr>, session_id: String) -> Result<(), RendezvousError> {
        self.count(address, &[])?;
        let is_closed = self.database.close_rendezvous(session_id, self.clock.now()).await?;
        if is_closed { Ok(()) } else { Err(RendezvousError::NoSession) }
    }

    /// How long a session lasts from now on.
    #[must_use]
    pub fn remaining(&self, session: &RendezvousSession) -> Duration {
        session.expires_at.since(self.clock.now())
    }

    fn count(&self, address: Option<IpAddr>, payload: &[u8]) -> Result<(), RendezvousError> {
        self.rate_limits.spend(LimitedAction::Rendezvous, Key::address(address), None)?.keep();
        if payload.len() > MAX_PAYLOAD_BYTES { Err(RendezvousError::TooLarge) } else { Ok(()) }
    }
}
