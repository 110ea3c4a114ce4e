//! Who this server is.

use std::sync::Arc;

use ruma::OwnedServerName;
use ruma::signatures::Ed25519KeyPair;

/// The server's name and the key it signs events with.
pub struct Identity {
    /// The part after the colon in the IDs of its users.
    pub server_name: OwnedServerName,
    /// Its signing key.
    pub key_pair: Arc<Ed25519KeyPair>,
}

impl Identity {
    /// Whether a user of this ID would have an account here.
    #[must_use]
    pub fn is_local(&self, user_id: &ruma::UserId) -> bool {
        user_id.server_name() == self.server_name
    }
}
