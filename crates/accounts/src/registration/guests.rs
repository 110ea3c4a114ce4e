//! Guests who become users.

use homeserver_core::UserSn;
use ruma::OwnedUserId;

use super::{Registration, RegistrationError};
use crate::sessions::AuthenticationError;

/// A guest who has proved to be one, and registers as a user of the same ID.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#guest-access>
#[derive(Clone, Debug)]
pub struct UpgradingGuest {
    pub(super) user_sn: UserSn,
    pub(super) user_id: OwnedUserId,
}

impl Registration {
    /// The guest whose access token it is, and who wants to keep its name.
    ///
    /// # Errors
    /// [`RegistrationError::GuestToken`] if the token is nobody's, [`RegistrationError::AnotherGuest`] if it is not that of a
    /// guest of this name.
    pub async fn upgrading_guest(&self, token: &str, username: &str) -> Result<UpgradingGuest, RegistrationError> {
        let wanted = self.user_id(username)?;
        let guest = self.sessions.authenticate(token, None).await.map_err(|error| match error {
            AuthenticationError::Storage(error) => error.into(),
            error => RegistrationError::GuestToken(error),
        })?;
        if !guest.is_guest || guest.user_id != wanted {
            return Err(RegistrationError::AnotherGuest);
        }
        Ok(UpgradingGuest { user_sn: guest.user_sn, user_id: guest.user_id })
    }
}
