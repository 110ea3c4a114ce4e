//! The mail of a validation session.

use std::sync::Arc;

use homeserver_core::{Clock, random_token};
use storage::{Database, StorageError};

use super::{MailJob, Mailer, SendError, Templates};
use crate::threepids::token_hash;

/// Sends the mails of validation sessions.
pub struct ValidationMails {
    database: Database,
    clock: Arc<dyn Clock>,
    mailer: Mailer,
    templates: Arc<Templates>,
    /// Where clients reach this server, without a slash at its end.
    base_url: String,
}

impl ValidationMails {
    /// Mails whose links lead to `base_url`.
    #[must_use]
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        mailer: Mailer,
        templates: Arc<Templates>,
        base_url: String,
    ) -> Self {
        Self { database, clock, mailer, templates, base_url }
    }

    /// Sends a mail, if its session can still be used.
    ///
    /// The token in it is made here, so that it is stored nowhere but as a hash. A mail that is sent again has another one:
    /// nobody knows whether the first was delivered, so both are good.
    ///
    /// # Errors
    /// [`SendError`] if it was not taken.
    pub async fn send(&self, job: &MailJob) -> Result<(), SendError> {
        let (now, session_id) = (self.clock.now(), &job.session_id);
        let token = random_token("");
        let session = if job.kind.has_link() {
            self.database.add_validation_token(session_id.clone(), token_hash(&token), now).await
        } else {
            self.database.validation_session(session_id, now).await
        };
        let Some(session) = session.map_err(|error| unstored(&error))? else {
            tracing::debug!("a mail is not sent, because its session has ended");
            return Ok(());
        };
        let link = format!("{}/_synapse/client/email/submit_token?sid={session_id}&token={token}", self.base_url);
        let link = job.kind.has_link().then_some(link.as_str());
        let words = self.templates.mail(job.kind, &session.address, link);
        let words = words.map_err(|reason| SendError { is_permanent: true, reason })?;
        self.mailer.send(&session.address, &words).await
    }
}

fn unstored(error: &StorageError) -> SendError {
    SendError { is_permanent: false, reason: format!("the database: {error}") }
}
