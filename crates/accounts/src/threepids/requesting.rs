//! Asking for a mail.

use std::sync::atomic::Ordering;

use homeserver_core::random_string;
use storage::ValidationRequest;
use tasks::queue::Job as _;

use super::{
    EMAIL, MAX_MAILS, Purpose, SESSION_AGE, ThirdPartyIdentifiers, ThreepidError, canonical_email, next_link,
    token_hash,
};
use crate::mail::{MailJob, MailKind};

/// Sessions between two clean-ups.
const PRUNE_EVERY: u32 = 64;
/// The longest secret of a client, in bytes.
const MAX_SECRET_BYTES: usize = 255;

/// What a client says who asks for a mail.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken>
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// What only the client knows.
    pub client_secret: String,
    /// The address.
    pub email: String,
    /// The number of the mail: the same one is sent once.
    pub send_attempt: i64,
    /// Where to go after the confirmation.
    pub next_link: Option<String>,
}

enum Requested {
    Session(String),
    TooManyMails,
}

impl ThirdPartyIdentifiers {
    /// Has a mail sent to an address, and returns the name of the session. The mail is scheduled in the transaction of the
    /// session: after a crash there are both, or neither.
    ///
    /// # Errors
    /// [`ThreepidError`]. Where addresses that have accounts are hidden, the answers are the same for both,
    /// and the mail says what is the matter.
    pub async fn request_token(&self, purpose: Purpose, request: TokenRequest) -> Result<String, ThreepidError> {
        let validation = self.validation.as_ref().ok_or(ThreepidError::MediumNotSupported)?;
        check_secret(&request.client_secret)?;
        let address =
            canonical_email(&request.email).map_err(|problem| ThreepidError::InvalidParameter("email", problem))?;
        let next_link = next_link::allowed(validation, request.next_link.as_deref())?;
        let is_known = self.database.threepid_owner(EMAIL, &address).await?.is_some();
        let mail = match (purpose, is_known) {
            (Purpose::PasswordReset, true) | (Purpose::Registration | Purpose::AddAddress, false) => {
                Some(purpose.mail())
            }
            (Purpose::PasswordReset, false) if validation.hide_known_addresses => None,
            (Purpose::PasswordReset, false) => return Err(ThreepidError::NotFound),
            (_, true) if validation.hide_known_addresses => Some(MailKind::AlreadyInUse),
            (_, true) => return Err(ThreepidError::InUse),
        };
        let now = self.clock.now();
        if self.begun.fetch_add(1, Ordering::Relaxed).is_multiple_of(PRUNE_EVERY) {
            self.prune().await?;
        }
        let request = ValidationRequest {
            session_id: random_string(32),
            purpose: purpose.as_str(),
            address,
            client_secret_hash: token_hash(&request.client_secret),
            send_attempt: request.send_attempt,
            next_link,
            now,
            expires_at: now.plus(SESSION_AGE),
        };
        self.begin(request, mail).await
    }

    async fn begin(&self, request: ValidationRequest, mail: Option<MailKind>) -> Result<String, ThreepidError> {
        let requested = self.database.write(async move |tx| {
            if let Some(begun) = tx.begun_validation(&request).await?
                && (begun.validated_at.is_some() || request.send_attempt <= begun.send_attempt)
            {
                return Ok(Requested::Session(begun.session_id));
            }
            if tx.validation_mails(&request.address, request.now).await? >= MAX_MAILS {
                return Ok(Requested::TooManyMails);
            }
            let session_id = tx.store_validation(&request).await?;
            if let Some(kind) = mail {
                let job = MailJob { session_id: session_id.clone(), kind };
                job.schedule(tx, request.now).await?;
            }
            Ok(Requested::Session(session_id))
        });
        match requested.await? {
            Requested::Session(session_id) => Ok(session_id),
            Requested::TooManyMails => Err(ThreepidError::TooManyMails(SESSION_AGE)),
        }
    }
}

fn check_secret(secret: &str) -> Result<(), ThreepidError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".=_-".contains(&byte);
    if secret.is_empty() || secret.len() > MAX_SECRET_BYTES || !secret.bytes().all(is_allowed) {
        let problem = "not 1 to 255 of the characters 0-9 a-z A-Z . = _ -";
        return Err(ThreepidError::InvalidParameter("client_secret", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_keeps_to_the_grammar() {
        for secret in ["monkeys_are_GREAT", "0.=_-", &"x".repeat(255)] {
            check_secret(secret).unwrap();
        }
        for secret in ["", " ", "é", "a/b", "a+b", &"x".repeat(256)] {
            assert!(check_secret(secret).is_err(), "{secret}");
        }
    }
}
