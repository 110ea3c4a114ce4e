use std::path::PathBuf;

use accounts::mail::MailKind;
use accounts::threepids::canonical_email;
use clap::Subcommand;

use super::{CommandResult, load, print};
use crate::{compose::Email, runtime};

#[derive(Subcommand)]
pub(super) enum EmailCommand {
    /// Send a test mail, and say what the SMTP server made of it.
    Test {
        /// The address to send it to.
        address: String,
    },
}

pub(super) fn run(command: EmailCommand, file: Option<PathBuf>) -> CommandResult {
    let EmailCommand::Test { address } = command;
    let config = load(file.as_ref())?.config;
    let address = canonical_email(&address).map_err(|problem| format!("{address:?} is {problem}"))?;
    // One worker suffices for one mail.
    runtime::build(1)?.block_on(async {
        let email = Email::new(&config)?.ok_or("email.smtp_host is not set, so this server sends no mail")?;
        let words = email.templates.mail(MailKind::Test, &address, None)?;
        Ok::<_, Box<dyn std::error::Error>>(email.mailer.send(&address, &words).await?)
    })?;
    print(&format!("The SMTP server has taken a mail to {address}.\n"))
}
