//! Asking other servers on behalf of somebody who asks this one.
//!
//! Whom this server asks is then what a client says, and how long that takes is up to a server that the client chooses. So each
//! kind of such requests has places of its own, of which one user or address has a share at most, and a rate for each of them.

use std::net::IpAddr;
use std::sync::Arc;

use tasks::limits::{self, Busy, Limit, Permit};

use crate::rate_limits::{Key, Kind, LimitExceeded, RateLimits};
use crate::sessions::Requester;

/// On whose behalf another server is asked.
#[derive(Clone, Copy, Debug)]
pub enum Asker<'a> {
    /// A user or guest.
    User(&'a Requester),
    /// An address: nobody who has logged in, or a server that has not proved who it is.
    Address(Option<IpAddr>),
}

impl<'a> Asker<'a> {
    /// Under which the asker is counted.
    #[must_use]
    pub fn key(self) -> Key {
        match self {
            Self::User(requester) => Key::user(requester.user_sn),
            Self::Address(address) => Key::address(address),
        }
    }

    fn requester(self) -> Option<&'a Requester> {
        match self {
            Self::User(requester) => Some(requester),
            Self::Address(_) => None,
        }
    }
}

/// Why another server is not asked.
#[derive(Debug, thiserror::Error)]
pub enum AskingError {
    /// Too often.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// Too many at once.
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// The shares of one kind of requests to other servers.
pub struct Shares {
    kind: Kind,
    rate_limits: Arc<RateLimits>,
    shares: limits::Shares<Key>,
}

impl Shares {
    /// Shares of `limit`, and the rate of `kind`.
    #[must_use]
    pub fn new(kind: Kind, rate_limits: Arc<RateLimits>, limit: Arc<Limit>) -> Self {
        Self { kind, rate_limits, shares: limits::Shares::new(limit) }
    }

    /// Counts a request, and takes a place of the asker's share until the permit is dropped.
    ///
    /// # Errors
    /// [`AskingError`] if the asker asks too often, or has too many requests that wait already.
    pub async fn enter(&self, asker: Asker<'_>) -> Result<Permit, AskingError> {
        self.rate_limits.spend(self.kind, asker.key(), asker.requester())?.keep();
        Ok(self.shares.enter(&asker.key()).await?)
    }
}
