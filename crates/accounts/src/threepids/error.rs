//! What can be wrong with a third-party identifier.

use std::time::Duration;

use storage::StorageError;

/// Why something could not be done with a third-party identifier.
#[derive(Debug, thiserror::Error)]
pub enum ThreepidError {
    /// The server sends no mail.
    #[error("This server does not validate e-mail addresses")]
    MediumNotSupported,
    /// A parameter is not as it has to be: its name, and what is wrong.
    #[error("{0}: {1}")]
    InvalidParameter(&'static str, &'static str),
    /// An account has the address.
    #[error("This e-mail address belongs to an account already")]
    InUse,
    /// No account has the address.
    #[error("No account has this e-mail address")]
    NotFound,
    /// Too many mails were sent to the address.
    #[error("Too many mails were sent to this address")]
    TooManyMails(Duration),
    /// The user has too many addresses.
    #[error("This account has as many addresses as it can have: remove one first")]
    TooMany,
    /// There is no such session, or its address was not confirmed.
    #[error("The e-mail address is not confirmed: follow the link in the mail first")]
    NotValidated,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
