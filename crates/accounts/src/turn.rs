//! Access to TURN servers, through which calls go where clients cannot reach each other.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use homeserver_core::{Clock, Live};
use serde::Serialize;
use sha1::Sha1;

use crate::sessions::Requester;

/// How users are let in by the TURN servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TurnAccess {
    /// With a password for some time, made of a secret that the TURN servers know.
    SharedSecret(String),
    /// With the same name and password for all.
    Fixed {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
}

/// The TURN servers, and how users are let in.
#[derive(Clone, Debug)]
pub struct TurnOptions {
    /// The URIs of the servers.
    pub uris: Vec<String>,
    /// How users are let in; `None` if there are no servers.
    pub access: Option<TurnAccess>,
    /// How long what clients are told is good for.
    pub lifetime: Duration,
    /// Whether guests are told, too.
    pub allow_guests: bool,
}

/// What a client needs to use the TURN servers.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct TurnCredentials {
    /// The name to log in with.
    pub username: String,
    /// The password.
    pub password: String,
    /// The servers.
    pub uris: Vec<String>,
    /// For how many seconds it is good.
    pub ttl: u64,
}

/// Tells clients of TURN servers.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver>
pub struct Turn {
    options: Live<TurnOptions>,
    clock: Arc<dyn Clock>,
}

impl Turn {
    /// Tells of the servers of these options.
    #[must_use]
    pub fn new(options: TurnOptions, clock: Arc<dyn Clock>) -> Self {
        Self { options: Live::new(options), clock }
    }

    /// Tells of others from now on.
    pub fn reconfigure(&self, options: TurnOptions) {
        self.options.replace(options);
    }

    /// What the requester needs to use the servers; `None` if there are none for the requester.
    #[must_use]
    pub fn credentials(&self, requester: &Requester) -> Option<TurnCredentials> {
        let options = self.options.read();
        let access = options.access.as_ref().filter(|_| options.allow_guests || !requester.is_guest)?;
        let ttl = options.lifetime.as_secs();
        let (username, password) = match access {
            TurnAccess::Fixed { username, password } => (username.clone(), password.clone()),
            TurnAccess::SharedSecret(secret) => {
                let now = u64::try_from(self.clock.now().0).unwrap_or(0) / 1000;
                let username = format!("{}:{}", now.saturating_add(ttl), requester.user_id);
                let password = password_of(secret, &username)?;
                (username, password)
            }
        };
        Some(TurnCredentials { username, password, uris: options.uris.clone(), ttl })
    }
}

/// As the [REST API for TURN services](https://datatracker.ietf.org/doc/html/draft-uberti-behave-turn-rest-00) has it.
fn password_of(secret: &str, username: &str) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(username.as_bytes());
    Some(STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_what_turn_servers_expect() {
        // printf '1433895918:@alice:example.org' | openssl sha1 -hmac south -binary | base64
        assert_eq!(
            password_of("south", "1433895918:@alice:example.org").as_deref(),
            Some("nK3uMqSS0e7scc64S8phjWQ2kZA=")
        );
    }
}
