//! Tokens by which users log in another device without typing their password there.
//!
//! A token is good for one login within [`VALID_FOR`]. Logging out everywhere ends the tokens too.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token>

use std::sync::Arc;
use std::time::Duration;

use homeserver_core::{Clock, random_token};
use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value};
use storage::{Database, Interned, StorageError};

use crate::rate_limits::{LimitExceeded, LimitedAction, RateLimits};
use crate::sessions::{CheckedDevice, IssuedTokens, Requester, Sessions};
use crate::uia::Authorisation;

/// How long a token is good for.
pub const VALID_FOR: Duration = Duration::from_mins(2);
/// Tokens that one user has at once.
const MAX_TOKENS: i64 = 10;

/// Why there is no token, or no login by it. The texts are sentences for the client.
#[derive(Debug, thiserror::Error)]
pub enum LoginTokenError {
    /// It was used, has expired, or never was one.
    #[error("This login token has been used or has expired: ask for another one")]
    UnknownToken,
    /// The authentication was used for another token.
    #[error("This authentication has been used for another login token: begin again")]
    SessionUsedUp,
    /// The user asks for too many, or logs in too often.
    #[error(transparent)]
    LimitExceeded(#[from] LimitExceeded),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Gives out tokens, and opens sessions for them.
pub struct LoginTokens {
    database: Database,
    interned: Arc<Interned>,
    clock: Arc<dyn Clock>,
    sessions: Arc<Sessions>,
    rate_limits: Arc<RateLimits>,
}

impl LoginTokens {
    /// Tokens whose hashes are kept in `database`. The sessions are among `sessions`.
    #[must_use]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        clock: Arc<dyn Clock>,
        sessions: Arc<Sessions>,
        rate_limits: Arc<RateLimits>,
    ) -> Self {
        Self { database, interned, clock, sessions, rate_limits }
    }

    /// A new token of the requester, who has authenticated for it. If there are too many, the oldest ends.
    ///
    /// # Errors
    /// [`LoginTokenError`].
    pub async fn issue(&self, requester: &Requester, authorisation: &Authorisation) -> Result<String, LoginTokenError> {
        self.rate_limits.spend_by_user(LimitedAction::LoginToken, requester)?.keep();
        let (token, expires_at) = (random_token("mlt_"), self.clock.now().plus(VALID_FOR));
        let done = |finishing: &crate::uia::Finishing| finishing.outcome(None, &Value::Object(Map::new()));
        let authorised_in = authorisation.finishing.as_ref().map(done).transpose()?;
        let hash = crate::sessions::token_hash(&token);
        let is_stored =
            self.database.insert_login_token(hash, requester.user_sn, expires_at, MAX_TOKENS, authorised_in).await?;
        if is_stored { Ok(token) } else { Err(LoginTokenError::SessionUsedUp) }
    }

    /// Opens a session for the user whose token this is, and uses it up. A device that the user had before loses its earlier tokens.
    ///
    /// # Errors
    /// [`LoginTokenError`].
    pub async fn log_in(
        &self,
        token: &str,
        device: &CheckedDevice,
    ) -> Result<(OwnedUserId, IssuedTokens), LoginTokenError> {
        let opened = self.sessions.open_by_login_token(token, device).await?;
        let (user_sn, tokens) = opened.ok_or(LoginTokenError::UnknownToken)?;
        let user_id = self.interned.user_id(user_sn).await?;
        let user_id = UserId::parse(&*user_id).map_err(|error| StorageError::Corrupt(error.to_string()))?;
        self.rate_limits.record(LimitedAction::LoginAccount, self.rate_limits.account(user_id.as_str()), None, 1);
        Ok((user_id, tokens))
    }
}
