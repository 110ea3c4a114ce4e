//! Registration by the server's shared secret, as Synapse's admin API has it.
//!
//! <https://element-hq.github.io/synapse/latest/admin_api/register_api.html>

use std::sync::Arc;

use hmac::{Hmac, Mac};
use homeserver_core::{Clock, Live};
use sha1::Sha1;
use storage::{Database, StorageError};

use super::nonce;
use super::{NewUser, Registered, Registration, RegistrationError};
use crate::rate_limits::{Key, LimitExceeded, LimitedAction, RateLimits};
use crate::sessions::CheckedDevice;
use crate::uia::{Authorisation, NewPassword};

/// Nonces that were used are kept where the sessions of user-interactive authentication are, under this operation.
const NONCE_OPERATION: &str = "shared secret";
/// Types of users that Synapse knows.
const USER_TYPES: [&str; 2] = ["support", "bot"];

/// A request to register.
pub struct SharedSecretRequest {
    /// From [`SharedSecret::nonce`].
    pub nonce: String,
    /// What the user is to be called.
    pub username: String,
    /// The password.
    pub password: String,
    /// Whether the user is to administer this server.
    pub is_admin: bool,
    /// What kind of user it is.
    pub user_type: Option<String>,
    /// What to show instead of the user ID.
    pub display_name: Option<String>,
    /// HMAC-SHA1 of the above with the shared secret, in hexadecimal.
    pub mac: String,
    /// The device to log in.
    pub device: Option<CheckedDevice>,
}

/// Why nobody was registered.
#[derive(Debug, thiserror::Error)]
pub enum SharedSecretError {
    /// The server has no shared secret.
    #[error("Shared secret registration is not enabled")]
    Disabled,
    /// The nonce was never given out, has been used, or is too old.
    #[error("unrecognised nonce")]
    UnknownNonce,
    /// The user type is none that is known.
    #[error("Invalid user type")]
    InvalidUserType,
    /// The sender does not know the secret.
    #[error("HMAC incorrect")]
    WrongMac,
    /// There were too many wrong requests.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The user cannot be registered.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Registers users for holders of the shared secret.
pub struct SharedSecret {
    database: Database,
    clock: Arc<dyn Clock>,
    registration: Arc<Registration>,
    rate_limits: Arc<RateLimits>,
    /// None if this way of registration is closed.
    secret: Live<Option<String>>,
}

impl SharedSecret {
    /// Registration by `secret`. `rate_limits` count wrong requests.
    #[must_use]
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        registration: Arc<Registration>,
        rate_limits: Arc<RateLimits>,
        secret: Option<String>,
    ) -> Self {
        Self { database, clock, registration, rate_limits, secret: Live::new(secret) }
    }

    /// Replaces the secret; `None` closes this way of registration.
    pub fn reconfigure(&self, secret: Option<String>) {
        self.secret.replace(secret);
    }

    /// A nonce for one request within a minute. Nothing is stored of it: it says itself when it was given out, and proves that.
    #[must_use]
    pub fn nonce(&self) -> String {
        let secret = self.secret.snapshot();
        nonce::give_out(secret.as_deref().unwrap_or_default(), self.clock.now())
    }

    /// Registers a user. The nonce is used up even if the request is wrong. Wrong requests are counted for `address`.
    ///
    /// # Errors
    /// [`SharedSecretError`].
    pub async fn register(&self, request: SharedSecretRequest, address: Key) -> Result<Registered, SharedSecretError> {
        let secret = self.secret.snapshot();
        let secret = secret.as_deref().ok_or(SharedSecretError::Disabled)?;
        let now = self.clock.now();
        if !nonce::is_valid(secret, &request.nonce, now) {
            return Err(SharedSecretError::UnknownNonce);
        }
        if request.user_type.as_deref().is_some_and(|kind| !USER_TYPES.contains(&kind)) {
            return Err(SharedSecretError::InvalidUserType);
        }
        let is_right = is_mac_right(secret, &request);
        if !is_right {
            self.rate_limits.spend(LimitedAction::InteractiveAuth, address, None)?.keep();
        }
        if !self.database.use_once(request.nonce.clone(), NONCE_OPERATION, now).await? {
            return Err(SharedSecretError::UnknownNonce);
        }
        if !is_right {
            return Err(SharedSecretError::WrongMac);
        }
        let user = NewUser {
            username: Some(request.username),
            password: Some(NewPassword::Plain(request.password)),
            display_name: request.display_name,
            is_admin: request.is_admin,
            user_type: request.user_type,
            device: request.device,
            upgrades: None,
        };
        Ok(self.registration.register(user, Authorisation::default()).await?)
    }
}

fn is_mac_right(secret: &str, request: &SharedSecretRequest) -> bool {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return false };
    let admin = if request.is_admin { "admin" } else { "notadmin" };
    let parts = [
        Some(request.nonce.as_str()),
        Some(&request.username),
        Some(&request.password),
        Some(admin),
        request.user_type.as_deref(),
    ];
    for (index, part) in parts.into_iter().flatten().enumerate() {
        if index > 0 {
            mac.update(b"\0");
        }
        mac.update(part.as_bytes());
    }
    from_hex(&request.mac).is_some_and(|given| mac.verify_slice(&given).is_ok())
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| u8::try_from(pair.iter().fold(0, |value, digit| value * 16 + digit)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(mac: &str) -> SharedSecretRequest {
        SharedSecretRequest {
            nonce: "abc".to_owned(),
            username: "alice".to_owned(),
            password: "pässword".to_owned(),
            is_admin: true,
            user_type: None,
            display_name: None,
            mac: mac.to_owned(),
            device: None,
        }
    }

    #[test]
    fn the_mac_covers_nonce_name_password_and_role() {
        // printf 'abc\0alice\0pässword\0admin' | openssl sha1 -hmac secret
        let right = "2acea804841a8e08432dae1119a766612812e9c2";
        assert!(is_mac_right("secret", &request(right)));
        assert!(!is_mac_right("other", &request(right)));
        assert!(!is_mac_right("secret", &SharedSecretRequest { is_admin: false, ..request(right) }));
        assert!(!is_mac_right("secret", &SharedSecretRequest { user_type: Some("bot".to_owned()), ..request(right) }));
        for wrong in ["", "zz", "0", &right[2..]] {
            assert!(!is_mac_right("secret", &request(wrong)), "{wrong}");
        }
    }
}
