//! E-mail that the server sends to its users.
//!
//! * [`Templates`] hold the words: embedded in the program, each replaceable by a file.
//! * [`Mailer`] hands a mail to the SMTP server, within a time limit.
//! * [`ValidationMails`] makes the mail of a validation session; it runs as a job, so that no request waits for it.

mod helo;
mod job;
mod mailer;
mod message;
mod options;
mod templates;
mod validation;

pub use self::job::{MailJob, MailKind, SendMail};
pub use self::mailer::{Mailer, SendError};
pub use self::options::{Encryption, MailError, MailOptions};
pub use self::templates::{PageKind, Templates, Words};
pub use self::validation::ValidationMails;
