//! Mails as jobs of the queue.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tasks::queue::{Handle, Job, JobError, Priority, Retry, Run};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::ValidationMails;
use crate::threepids::SESSION_AGE;

/// Mails that are handed over at the same time. Somebody waits for other urgent jobs, too: an SMTP server that hangs takes so
/// many of the workers, and no more.
const MAX_AT_ONCE: usize = 2;
/// How long a mail waits for the others before it makes place for other jobs.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Which mail is sent.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub enum MailKind {
    /// Somebody wants to make an account with the address.
    Registration,
    /// Somebody wants to replace the password of the account with the address.
    PasswordReset,
    /// Somebody wants to add the address to their account.
    AddAddress,
    /// Somebody wanted to use the address, which an account has already.
    AlreadyInUse,
    /// The operator tries whether mails arrive.
    Test,
}

impl MailKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Registration, Self::PasswordReset, Self::AddAddress, Self::AlreadyInUse, Self::Test];

    /// The name of its templates.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::PasswordReset => "password_reset",
            Self::AddAddress => "add_address",
            Self::AlreadyInUse => "already_in_use",
            Self::Test => "test",
        }
    }

    pub(super) fn has_link(self) -> bool {
        matches!(self, Self::Registration | Self::PasswordReset | Self::AddAddress)
    }
}

/// A mail to be sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct MailJob {
    /// The validation session that it is sent for, which has the address.
    pub session_id: String,
    /// Which mail it is.
    pub kind: MailKind,
}

impl Job for MailJob {
    const NAME: &str = "mail";
    const PRIORITY: Priority = Priority::Urgent;
    /// As long as its link could be used.
    const RETRY: Retry = Retry {
        attempts: 60,
        max_age: SESSION_AGE,
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(5 * 60),
    };
    /// At worst the mail comes twice, and the links of both are good.
    const IS_INTERRUPTIBLE: bool = true;
}

/// Hands over mails, a few at a time.
pub struct SendMail {
    mails: Arc<ValidationMails>,
    permits: Semaphore,
}

impl SendMail {
    /// Hands over what `mails` makes.
    #[must_use]
    pub fn new(mails: Arc<ValidationMails>) -> Self {
        Self { mails, permits: Semaphore::new(MAX_AT_ONCE) }
    }
}

impl Handle<MailJob> for SendMail {
    async fn run(&self, job: MailJob, _run: &Run) -> Result<(), JobError> {
        let busy = || JobError::Retry("other mails are being handed over".to_owned());
        let _permit = timeout(MAX_WAIT, self.permits.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())?;
        self.mails.send(&job).await.map_err(|error| {
            if error.is_permanent { JobError::GiveUp(error.reason) } else { JobError::Retry(error.reason) }
        })
    }
}
