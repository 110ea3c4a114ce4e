//! The stages that this server knows.

use serde::{Deserialize, Serialize};

/// Stages that authorise an operation when all are completed.
pub type Flow = &'static [Stage];

/// One stage of user-interactive authentication.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#authentication-types>
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing to prove: the flow exists so that a client has one to follow.
    Dummy,
    /// The password of the requester.
    Password,
    /// Any registration token that can be used.
    RegistrationToken,
    /// The registration token that makes the first account an administrator. Clients see no difference.
    FirstAccountToken,
    /// An e-mail address that the new account will have.
    RegistrationEmail,
    /// The e-mail address of the account whose password is to be replaced. Clients see no difference.
    PasswordResetEmail,
}

impl Stage {
    /// Its name in the specification.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dummy => "m.login.dummy",
            Self::Password => "m.login.password",
            Self::RegistrationToken | Self::FirstAccountToken => "m.login.registration_token",
            Self::RegistrationEmail | Self::PasswordResetEmail => "m.login.email.identity",
        }
    }
}
