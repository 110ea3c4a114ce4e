//! Sessions that are opened by a login token.

use homeserver_core::UserSn;
use storage::{StorageError, TokenHash};

use super::tokens::hash;
use super::{CheckedDevice, IssuedTokens, Sessions, new_session};

/// The hash under which a token is stored.
pub(crate) fn token_hash(token: &str) -> TokenHash {
    hash(token)
}

impl Sessions {
    /// Opens a session for the user whose login token this is, and uses it up. A device that the user had before loses its earlier
    /// tokens. `None` if the token is no good, or the account is closed.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub(crate) async fn open_by_login_token(
        &self,
        token: &str,
        device: &CheckedDevice,
    ) -> Result<Option<(UserSn, IssuedTokens)>, StorageError> {
        let (prepared, now, token) = (self.prepare(device), self.clock.now(), hash(token));
        let (new, device) = (prepared.stored(now), device.clone());
        let opened = self.database.write(async move |tx| {
            let Some(user_sn) = tx.take_login_token(&token, now).await? else { return Ok(None) };
            Ok(Some((user_sn, new_session(tx, user_sn, &device, &new).await?)))
        });
        let Some((user_sn, revoked)) = opened.await? else { return Ok(None) };
        self.end(&revoked);
        Ok(Some((user_sn, prepared.issued)))
    }
}
