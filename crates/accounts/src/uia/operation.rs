//! What needs user-interactive authentication, and by which flows.

use super::{Flow, Stage, UiaError, UserInteractiveAuth};
use crate::asking::Asker;
use crate::sessions::Requester;

/// What a client can do only with user-interactive authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Registering an account.
    Register,
    /// Changing a password, or replacing one that was forgotten.
    ChangePassword,
    /// Closing an account.
    Deactivate,
    /// Deleting devices.
    DeleteDevices,
    /// Adding a third-party identifier to an account.
    AddThreepid,
    /// Replacing cross-signing keys.
    ReplaceCrossSigningKeys,
    /// Giving out a token by which another device can log in.
    IssueLoginToken,
}

impl Operation {
    /// Its name in the database.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::ChangePassword => "change password",
            Self::Deactivate => "deactivate",
            Self::DeleteDevices => "delete devices",
            Self::AddThreepid => "add address",
            Self::ReplaceCrossSigningKeys => "replace cross-signing keys",
            Self::IssueLoginToken => "issue login token",
        }
    }
}

/// An operation that somebody asks for, and what authorises it.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) operation: Operation,
    pub(super) asker: Asker<'a>,
    pub(super) flows: &'a [Flow],
}

impl UserInteractiveAuth {
    /// The flows that authorise an operation, for a requester who is logged in or for somebody who is not.
    ///
    /// # Errors
    /// [`UiaError::LoginRequired`] if only a requester can be authorised, and [`UiaError::Registration`] if registration is closed.
    pub async fn flows_for(&self, operation: Operation, requester: Option<&Requester>) -> Result<Vec<Flow>, UiaError> {
        let resets_by_email = operation == Operation::ChangePassword && self.threepids.email_enabled();
        Ok(match (operation, requester) {
            (Operation::Register, _) => self.registration.flows().await?,
            (_, Some(_)) if resets_by_email => vec![&[Stage::Password], &[Stage::PasswordResetEmail]],
            (_, None) if resets_by_email => vec![&[Stage::PasswordResetEmail]],
            (_, Some(_)) => vec![&[Stage::Password]],
            (_, None) => return Err(UiaError::LoginRequired),
        })
    }
}
