use std::sync::Arc;

use accounts::{
    Accounts,
    account_data::AccountData,
    authentication::Authenticator,
    capabilities::{Capabilities, CapabilityOptions},
    devices::Devices,
    filters::Filters,
    login_tokens::LoginTokens,
    mail::ValidationMails,
    moderation::Moderation,
    openid::OpenIdTokens,
    passwords::{HashCost, PasswordError, PasswordPolicy, Passwords},
    profiles::Profiles,
    push_rules::PushRules,
    registration::{Registration, RegistrationOptions, SharedSecret},
    rendezvous::Rendezvous,
    sessions::{SessionOptions, Sessions},
    tags::Tags,
    threepids::ThirdPartyIdentifiers,
    turn::{Turn, TurnAccess, TurnOptions},
    uia::UserInteractiveAuth,
    well_known::{Support, SupportContact, WellKnown},
};
use api::state::AccountsComponents;
use config::{Config, Sources, WebUrl};
use rooms::supported_versions;
use tasks::limits::Limit;

use super::{
    email::{self, Email},
    foundation::Foundation,
};
use crate::StartError;

/// Accounts, and what belongs to one.
pub(crate) struct AccountsParts {
    pub(super) components: AccountsComponents,
    passwords: Arc<Passwords>,
    /// `None` if this server sends no mail.
    pub(super) mails: Option<Arc<ValidationMails>>,
}

impl AccountsParts {
    /// Reads the templates of mails; sessions follow the log from here on.
    pub(super) fn new(config: &Config, foundation: &Foundation) -> Result<Self, StartError> {
        let Foundation { database, interned, clock, identity, rate_limits, jobs, .. } = foundation;
        let server_name = &identity.server_name;
        let sessions =
            Arc::new(Sessions::new(database.clone(), interned.clone(), clock.clone(), SessionOptions::default()));
        sessions.follow(foundation.stopping.clone());
        let passwords = password_hashing(config, foundation.heavy_work.password_hashing.clone())?;
        let accounts = Arc::new(Accounts::new(
            database.clone(),
            clock.clone(),
            server_name.clone(),
            Some(passwords.clone()),
            sessions.clone(),
            jobs.clone(),
            rate_limits.clone(),
        ));
        let registration = Registration::new(
            database.clone(),
            clock.clone(),
            server_name.clone(),
            registration_options(config),
            Some(passwords.clone()),
            sessions.clone(),
        );
        let registration = Arc::new(registration.with_email(email::registration_policy(config)));
        let secret = shared_secret(config);
        let shared_secret =
            SharedSecret::new(database.clone(), clock.clone(), registration.clone(), rate_limits.clone(), secret);
        let threepids =
            Arc::new(ThirdPartyIdentifiers::new(database.clone(), clock.clone(), email::validation(config)));
        let user_interactive_auth = UserInteractiveAuth::new(
            database.clone(),
            clock.clone(),
            accounts.clone(),
            registration.clone(),
            threepids.clone(),
            rate_limits.clone(),
        );
        let login_tokens =
            LoginTokens::new(database.clone(), interned.clone(), clock.clone(), sessions.clone(), rate_limits.clone());
        let email = Email::new(config)?;
        let well_known = WellKnown::new(public_base_url(config), None);
        well_known.set_support(&support(config));
        let moderation = Moderation::new(database.clone(), server_name.clone(), sessions.clone());
        let components = AccountsComponents {
            capabilities: Arc::new(Capabilities::new(&capability_options(config))),
            well_known: Arc::new(well_known),
            moderation: Arc::new(moderation),
            tags: Arc::new(Tags::new(database.clone(), interned.clone())),
            turn: Arc::new(Turn::new(turn_options(config), clock.clone())),
            authenticator: Arc::new(Authenticator::new(sessions.clone())),
            devices: Arc::new(Devices::new(database.clone(), sessions.clone())),
            sessions,
            accounts,
            registration,
            shared_secret: Arc::new(shared_secret),
            login_tokens: Arc::new(login_tokens),
            rendezvous: Arc::new(Rendezvous::new(database.clone(), clock.clone(), rate_limits.clone())),
            user_interactive_auth: Arc::new(user_interactive_auth),
            threepids,
            mail_templates: email.as_ref().map(|email| email.templates.clone()),
            profiles: Arc::new(Profiles::new(database.clone(), clock.clone(), jobs.clone())),
            account_data: Arc::new(AccountData::new(database.clone(), interned.clone())),
            push_rules: Arc::new(PushRules::new(database.clone())),
            filters: Arc::new(Filters::new(database.clone())),
            openid_tokens: Arc::new(OpenIdTokens::new(database.clone(), clock.clone())),
        };
        let mails = email::mails(email, config, database, clock);
        Ok(Self { components, passwords, mails })
    }

    /// Takes over a new configuration.
    ///
    /// # Errors
    /// If the cost of a password hash is unusable; nothing has changed then.
    pub(super) fn reconfigure(&self, config: &Config, sources: &Sources) -> Result<(), config::Error> {
        configure_passwords(&self.passwords, config).map_err(|error| {
            sources.error("passwords.hash_memory", format!("expected a cost that argon2id allows: {error}"))
        })?;
        self.components.capabilities.reconfigure(&capability_options(config));
        self.components.well_known.reconfigure(public_base_url(config));
        self.components.well_known.set_support(&support(config));
        self.components.turn.reconfigure(turn_options(config));
        self.components.registration.reconfigure(registration_options(config));
        self.components.shared_secret.reconfigure(shared_secret(config));
        Ok(())
    }
}

/// The hashing of passwords, within `limit`.
pub(super) fn password_hashing(config: &Config, limit: Arc<Limit>) -> Result<Arc<Passwords>, StartError> {
    let passwords = Passwords::new(hash_cost(config), limit)?;
    configure_passwords(&passwords, config)?;
    Ok(Arc::new(passwords))
}

pub(super) fn registration_options(config: &Config) -> RegistrationOptions {
    RegistrationOptions {
        enabled: config.registration.enabled,
        require_token: config.registration.require_token,
        allow_guests: config.registration.allow_guests,
    }
}

fn configure_passwords(passwords: &Passwords, config: &Config) -> Result<(), PasswordError> {
    let policy = PasswordPolicy {
        least_chars: usize::try_from(config.passwords.minimum_length).unwrap_or(usize::MAX),
        least_score: u8::try_from(config.passwords.minimum_score).unwrap_or(u8::MAX),
    };
    passwords.reconfigure(hash_cost(config), policy, config.passwords.enabled)
}

fn hash_cost(config: &Config) -> HashCost {
    let passwords = &config.passwords;
    HashCost { memory_bytes: passwords.hash_memory.bytes(), iterations: passwords.hash_iterations }
}

fn capability_options(config: &Config) -> CapabilityOptions {
    CapabilityOptions {
        default_room_version: config.rooms.default_version.clone(),
        room_versions: supported_versions(),
        passwords_enabled: config.passwords.enabled,
        email_enabled: config.email.smtp_host.is_some(),
    }
}

fn support(config: &Config) -> Support {
    let contacts = config.support.contacts.iter().map(|contact| SupportContact {
        role: contact.role.clone(),
        matrix_id: contact.matrix_id.clone(),
        email_address: contact.email_address.clone(),
    });
    Support { contacts: contacts.collect(), page: config.support.page.as_ref().map(|page| page.as_str().to_owned()) }
}

fn turn_options(config: &Config) -> TurnOptions {
    let turn = &config.turn;
    let fixed = turn.username.clone().zip(turn.password.as_ref());
    let access = match (&turn.shared_secret, fixed) {
        (Some(secret), _) => Some(TurnAccess::SharedSecret(secret.reveal().to_owned())),
        (None, Some((username, password))) => {
            Some(TurnAccess::Fixed { username, password: password.reveal().to_owned() })
        }
        (None, None) => None,
    };
    TurnOptions {
        uris: turn.uris.clone(),
        access: access.filter(|_| !turn.uris.is_empty()),
        lifetime: turn.user_lifetime.duration(),
        allow_guests: turn.allow_guests,
    }
}

fn public_base_url(config: &Config) -> Option<&str> {
    config.server.public_base_url.as_ref().map(WebUrl::as_str)
}

fn shared_secret(config: &Config) -> Option<String> {
    config.registration.shared_secret.as_ref().map(|secret| secret.reveal().to_owned())
}
