//! The flows by which accounts are registered.

use super::{EmailPolicy, Registration, RegistrationError};
use crate::uia::{Flow, Stage};

impl Registration {
    /// The flows that register an account at the moment.
    ///
    /// # Errors
    /// [`RegistrationError::Closed`] if there are none.
    pub(crate) async fn flows(&self) -> Result<Vec<Flow>, RegistrationError> {
        let options = *self.options.read();
        let mut flows = match (options.enabled, options.require_token) {
            (false, _) => Vec::new(),
            (true, false) => open_flows(self.email),
            (true, true) => return Ok(token_flows(self.email)),
        };
        if self.database.admin_registration_token().await?.is_some() {
            flows.push(&[Stage::FirstAccountToken]);
        }
        if flows.is_empty() { Err(RegistrationError::Closed) } else { Ok(flows) }
    }

    /// Refuses a request that only makes sense while somebody can register.
    ///
    /// # Errors
    /// [`RegistrationError::Closed`].
    pub async fn check_open(&self) -> Result<(), RegistrationError> {
        self.flows().await.map(drop)
    }

    /// Whether a new account can have an e-mail address at the moment.
    ///
    /// # Errors
    /// [`RegistrationError::Closed`] if nobody can register.
    pub async fn takes_email(&self) -> Result<bool, RegistrationError> {
        Ok(self.flows().await?.iter().any(|flow| flow.contains(&Stage::RegistrationEmail)))
    }
}

/// The flows for everybody. Clients follow the first that they know, so the one without an address comes first.
fn open_flows(email: EmailPolicy) -> Vec<Flow> {
    match email {
        EmailPolicy::Unavailable => vec![&[Stage::Dummy]],
        EmailPolicy::Offered => vec![&[Stage::Dummy], &[Stage::RegistrationEmail]],
        EmailPolicy::Required => vec![&[Stage::RegistrationEmail]],
    }
}

/// The flows for holders of a registration token. No flow is the beginning of another, so a client that completes the token first can
/// still confirm an address.
fn token_flows(email: EmailPolicy) -> Vec<Flow> {
    match email {
        EmailPolicy::Unavailable => vec![&[Stage::RegistrationToken]],
        EmailPolicy::Offered => {
            vec![&[Stage::RegistrationToken, Stage::Dummy], &[Stage::RegistrationToken, Stage::RegistrationEmail]]
        }
        EmailPolicy::Required => vec![&[Stage::RegistrationToken, Stage::RegistrationEmail]],
    }
}
