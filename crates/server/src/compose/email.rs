//! E-mail as the configuration wants it.

use std::sync::Arc;

use accounts::mail::{Encryption, MailError, MailOptions, Mailer, Templates, ValidationMails};
use accounts::registration::EmailPolicy;
use accounts::threepids::{EmailValidation, link_host};
use config::{Config, MailTls};
use homeserver_core::Clock;
use storage::Database;

/// What sends mail; there is none without `email.smtp_host`.
pub(crate) struct Email {
    pub(crate) mailer: Mailer,
    pub(crate) templates: Arc<Templates>,
}

impl Email {
    /// Reads certificates and templates, and tries the templates.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>, MailError> {
        let Some(options) = mail_options(config) else { return Ok(None) };
        let email = &config.email;
        let client_url = email.client_base_url.as_ref().map(config::WebUrl::as_str);
        let server_name = config.server.name.as_str();
        let templates = Templates::load(email.templates_dir.as_deref(), &email.app_name, server_name, client_url)?;
        Ok(Some(Self { mailer: Mailer::new(&options)?, templates: Arc::new(templates) }))
    }
}

/// What makes the mails of validation sessions, if this server sends any.
pub(crate) fn mails(
    email: Option<Email>,
    config: &Config,
    database: &Database,
    clock: &Arc<dyn Clock>,
) -> Option<Arc<ValidationMails>> {
    let Email { mailer, templates } = email?;
    let base_url = config.server.public_base_url.as_ref()?.as_str().to_owned();
    Some(Arc::new(ValidationMails::new(database.clone(), clock.clone(), mailer, templates, base_url)))
}

/// How addresses are validated, if they are.
pub(crate) fn validation(config: &Config) -> Option<EmailValidation> {
    let email = &config.email;
    email.smtp_host.as_ref()?;
    let client = email.client_base_url.as_ref().and_then(|url| link_host(url.as_str()));
    Some(EmailValidation {
        hide_known_addresses: email.hide_known_addresses,
        next_link_hosts: email.next_link_hosts.iter().cloned().chain(client).collect(),
    })
}

/// What part addresses have in registration.
pub(crate) fn registration_policy(config: &Config) -> EmailPolicy {
    match (&config.email.smtp_host, config.registration.require_email) {
        (None, _) => EmailPolicy::Unavailable,
        (Some(_), false) => EmailPolicy::Offered,
        (Some(_), true) => EmailPolicy::Required,
    }
}

fn mail_options(config: &Config) -> Option<MailOptions> {
    let email = &config.email;
    let password = email.password.as_ref().map(|password| password.reveal().to_owned());
    Some(MailOptions {
        host: email.smtp_host.clone()?,
        port: email.smtp_port.unwrap_or(email.tls.usual_port()),
        encryption: match email.tls {
            MailTls::StartTls => Encryption::StartTls,
            MailTls::Implicit => Encryption::Implicit,
            MailTls::None => Encryption::None,
        },
        credentials: email.username.clone().zip(password),
        from: email.from.clone().unwrap_or_default(),
        server_name: config.server.name.clone(),
        trusted_ca: config.network.trusted_ca.clone(),
        verify_tls: config.network.verify_tls,
        timeout: email.timeout.duration(),
    })
}
