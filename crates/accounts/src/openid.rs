//! Tokens by which users show other services who they are.

use std::sync::Arc;
use std::time::Duration;

use homeserver_core::{Clock, UserSn, random_token};
use sha2::{Digest as _, Sha256};
use storage::{Database, StorageError, TokenHash};

/// How long a token is good for.
pub const VALID_FOR: Duration = Duration::from_hours(1);
/// Tokens that one user has at once.
const MAX_TOKENS: i64 = 100;

/// Gives out tokens, and tells services whose they are. They are good for nothing else.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#openid>
pub struct OpenIdTokens {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl OpenIdTokens {
    /// Tokens whose hashes are kept in `database`.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    /// A new token of a user, valid for [`VALID_FOR`]. If the user has too many, the oldest ends.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be stored.
    pub async fn issue(&self, user_sn: UserSn) -> Result<String, StorageError> {
        let token = random_token("oid");
        let expires_at = self.clock.now().plus(VALID_FOR);
        self.database.insert_openid_token(hash(&token), user_sn, expires_at, MAX_TOKENS).await?;
        Ok(token)
    }

    /// The ID of the user whose token this is; `None` if it is nobody's, or not valid any more.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be read.
    pub async fn user(&self, token: &str) -> Result<Option<String>, StorageError> {
        self.database.openid_token_user(hash(token), self.clock.now()).await
    }
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}
