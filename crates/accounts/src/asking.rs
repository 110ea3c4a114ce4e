//! Asking other servers on behalf of a client or of another server.
//!
//! The client chooses the server that is asked, and that server decides how long the answer takes. So each kind of such requests has a
//! limit of its own, in which each user or address has a bounded share, and a rate.

use std::net::IpAddr;
use std::sync::Arc;

use tasks::limits::{self, Busy, Limit, Permit};

use crate::rate_limits::{Key, LimitExceeded, LimitedAction, RateLimits};
use crate::sessions::Requester;

/// Who asks for something that costs others, or that needs a proof.
#[derive(Clone, Copy, Debug)]
pub enum Asker<'a> {
    /// A user or guest.
    User(&'a Requester),
    /// An address: a client that is not logged in, or a server that has not proved its name.
    Address(Option<IpAddr>),
}

impl<'a> Asker<'a> {
    /// The key that counts the asker in rate limits.
    #[must_use]
    pub fn key(self) -> Key {
        match self {
            Self::User(requester) => Key::user(requester.user_sn),
            Self::Address(address) => Key::address(address),
        }
    }

    /// The user or guest, if the asker is one.
    #[must_use]
    pub fn requester(self) -> Option<&'a Requester> {
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
    kind: LimitedAction,
    rate_limits: Arc<RateLimits>,
    limit: Arc<Limit>,
    shares: limits::Shares<Key>,
}

/// A place of a limit, which counts for the share of the asker, until it is dropped.
pub struct Place {
    _share: Permit,
    _place: Permit,
}

impl Shares {
    /// Shares of `limit`, and the rate of `kind`.
    #[must_use]
    pub fn new(kind: LimitedAction, rate_limits: Arc<RateLimits>, limit: Arc<Limit>) -> Self {
        Self { kind, rate_limits, limit: limit.clone(), shares: limits::Shares::new(limit) }
    }

    /// Counts a request, and takes a place of the limit, of which the asker has no more than a share.
    ///
    /// # Errors
    /// As [`Shares::enter`], and if too many requests of all askers run.
    pub async fn take_place(&self, asker: Asker<'_>) -> Result<Place, AskingError> {
        let share = self.enter(asker).await?;
        Ok(Place { _share: share, _place: self.limit.enter().await? })
    }

    /// Counts a request, and takes a place of the asker's share until the permit is dropped. Each request then takes a place of the limit.
    ///
    /// # Errors
    /// [`AskingError`] if the asker asks too often, or has too many requests that wait already.
    pub async fn enter(&self, asker: Asker<'_>) -> Result<Permit, AskingError> {
        self.rate_limits.spend(self.kind, asker.key(), asker.requester())?.keep();
        Ok(self.shares.enter(&asker.key()).await?)
    }
}
