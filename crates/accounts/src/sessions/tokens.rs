//! Tokens as they are given to clients, and as they are stored.

use std::time::Duration;

use homeserver_core::{Timestamp, random_token};
use sha2::{Digest, Sha256};
use storage::{NewTokens, TokenHash};

use super::CheckedDevice;

/// The hash under which a token is stored. Tokens have 256 bits of entropy, so there is nothing to guess.
pub(super) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// What a client is given for a new session.
#[derive(Clone, Debug)]
pub struct IssuedTokens {
    /// The device's ID; empty for a refresh, which does not tell.
    pub device_id: String,
    /// The access token.
    pub access_token: String,
    /// The token to refresh the access token with, if the client can.
    pub refresh_token: Option<String>,
    /// How long the access token is valid, if not forever.
    pub expires_in: Option<Duration>,
}

pub(crate) struct PreparedTokens {
    pub(crate) issued: IssuedTokens,
}

impl PreparedTokens {
    pub(super) fn new(device: &CheckedDevice, lifetime: Duration) -> Self {
        let issued = IssuedTokens {
            device_id: device.device_id.clone(),
            access_token: random_token("act_"),
            refresh_token: device.wants_refresh_token.then(|| random_token("rft_")),
            expires_in: device.wants_refresh_token.then_some(lifetime),
        };
        Self { issued }
    }

    pub(crate) fn stored(&self, now: Timestamp) -> NewTokens {
        NewTokens {
            access_hash: hash(&self.issued.access_token),
            expires_at: self.issued.expires_in.map(|lifetime| now.plus(lifetime)),
            refresh_hash: self.issued.refresh_token.as_deref().map(hash),
            created_at: now,
        }
    }
}
