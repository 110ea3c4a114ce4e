//! Why nobody was registered.

use storage::StorageError;

use super::OtherServer;
use crate::passwords::PasswordError;
use crate::sessions::{AuthenticationError, DeviceError};

/// Why nobody was registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// This server takes no new users.
    #[error(
        "Registration is not open on this server. Its administrator can make an account with `synapse-rust user create --name NAME`"
    )]
    Closed,
    /// This server takes no guests.
    #[error("Guests cannot register on this server")]
    NoGuests,
    /// The access token is not that of the guest whose user ID the new user wants.
    #[error("This user name is not the one of the guest whose access token was given")]
    AnotherGuest,
    /// The access token of the guest is not valid.
    #[error(transparent)]
    GuestToken(AuthenticationError),
    /// The name is not one by the grammar.
    #[error("{0}")]
    InvalidUsername(&'static str),
    /// The operator names a user of another server.
    #[error(transparent)]
    OtherServer(#[from] OtherServer),
    /// The session of user-interactive authentication has been used for another account, or has expired.
    #[error("This registration has been completed or has expired meanwhile: begin again")]
    SessionUsedUp,
    /// The user ID is taken.
    #[error("This user name is taken")]
    UserInUse,
    /// Another account has the e-mail address.
    #[error("This e-mail address belongs to an account already")]
    EmailInUse,
    /// The e-mail address that was confirmed cannot be used any more.
    #[error("The confirmation of the e-mail address cannot be used any more: ask for a new mail")]
    ConfirmationUsedUp,
    /// The registration token was used by somebody else in the meantime.
    #[error("This registration token has been used up in the meantime")]
    TokenUsedUp,
    /// The server has no passwords.
    #[error("This server does not use passwords")]
    PasswordsDisabled,
    /// The device cannot be logged in.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The password cannot be used.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
