//! Makes accounts: by registration, by the shared secret, and on the command line.

mod creating;
mod error;
mod flows;
mod guests;
mod nonce;
mod parameters;
mod shared_secret;
mod username;

use std::net::IpAddr;
use std::sync::Arc;

use homeserver_core::{Clock, Live, random_string};
use ruma::{OwnedServerName, OwnedUserId};
use serde_json::Value;
use storage::{Database, StorageError};

pub use self::error::RegistrationError;
pub use self::guests::UpgradingGuest;
pub use self::parameters::RegisterParameters;
use self::parameters::RegisteredBefore;
pub use self::shared_secret::{SharedSecret, SharedSecretError, SharedSecretRequest};
pub use self::username::OtherServer;
pub(crate) use self::username::localpart;
use crate::passwords::Passwords;
use crate::sessions::{CheckedDevice, IssuedTokens, Sessions};
use crate::uia::{Authorisation, NewPassword};

/// Who may register.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct RegistrationOptions {
    /// Anybody, by user-interactive authentication.
    pub enabled: bool,
    /// Only holders of a registration token.
    pub require_token: bool,
    /// Guests, without any proof.
    pub allow_guests: bool,
}

/// What part e-mail addresses have in registration.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum EmailPolicy {
    /// None: the server sends no mail.
    #[default]
    Unavailable,
    /// A new user can confirm one.
    Offered,
    /// A new user has to confirm one, unless a token makes this the first account.
    Required,
}

/// A user to be registered.
#[derive(Default)]
pub struct NewUser {
    /// What the user wants to be called; something random if it does not matter.
    pub username: Option<String>,
    /// The password.
    pub password: Option<NewPassword>,
    /// What to show instead of the user ID.
    pub display_name: Option<String>,
    /// Whether the user is to administer this server.
    pub is_admin: bool,
    /// What kind of user it is, in the words of the admin API.
    pub user_type: Option<String>,
    /// The device to log in; none if the user is not to be logged in.
    pub device: Option<CheckedDevice>,
    /// The guest who becomes this user.
    pub upgrades: Option<UpgradingGuest>,
}

/// A user who was registered.
#[derive(Debug)]
pub struct Registered {
    /// The user's ID.
    pub user_id: OwnedUserId,
    /// The tokens of the device that was logged in.
    pub tokens: Option<IssuedTokens>,
}

/// Makes accounts.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#account-registration>
pub struct Registration {
    database: Database,
    clock: Arc<dyn Clock>,
    server_name: OwnedServerName,
    options: Live<RegistrationOptions>,
    email: EmailPolicy,
    /// None if the server does not use passwords.
    passwords: Option<Arc<Passwords>>,
    sessions: Arc<Sessions>,
}

impl Registration {
    /// Registration of users of `server_name`.
    #[must_use]
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        server_name: OwnedServerName,
        options: RegistrationOptions,
        passwords: Option<Arc<Passwords>>,
        sessions: Arc<Sessions>,
    ) -> Self {
        let (options, email) = (Live::new(options), EmailPolicy::default());
        Self { database, clock, server_name, options, email, passwords, sessions }
    }

    /// The same, with another part of e-mail addresses than none.
    #[must_use]
    pub fn with_email(self, email: EmailPolicy) -> Self {
        Self { email, ..self }
    }

    /// Changes who may register from now on.
    pub fn reconfigure(&self, options: RegistrationOptions) {
        self.options.replace(options);
    }

    /// The token that makes its holder an administrator, as long as there is no account. Made at the first call.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn first_account_token(&self) -> Result<Option<String>, StorageError> {
        if self.database.has_accounts().await? {
            return Ok(None);
        }
        if let Some(token) = self.database.admin_registration_token().await? {
            return Ok(Some(token));
        }
        let token = random_string(32);
        self.database.insert_admin_registration_token(token.clone()).await?;
        Ok(Some(token))
    }

    /// Whether a new user can be called `username`.
    ///
    /// # Errors
    /// [`RegistrationError::InvalidUsername`] or [`RegistrationError::UserInUse`].
    pub async fn check_available(&self, username: &str) -> Result<OwnedUserId, RegistrationError> {
        let user_id = self.user_id(username)?;
        if self.database.account_by_user_id(user_id.as_str()).await?.is_some() {
            return Err(RegistrationError::UserInUse);
        }
        Ok(user_id)
    }

    /// Whether a registration token could be used now.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn is_token_usable(&self, token: &str) -> Result<bool, StorageError> {
        Ok(self.database.usable_registration_token(token, self.clock.now()).await?.is_some())
    }

    /// Registers a user who was authorised to.
    ///
    /// # Errors
    /// [`RegistrationError`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn register(&self, user: NewUser, authorisation: Authorisation) -> Result<Registered, RegistrationError> {
        let password_hash = match &user.password {
            None => None,
            Some(NewPassword::Hashed(hash)) => Some(hash.clone()),
            Some(NewPassword::Plain(password)) => {
                let passwords = self.passwords.as_deref().filter(|passwords| passwords.is_enabled());
                let passwords = passwords.ok_or(RegistrationError::PasswordsDisabled)?;
                Some(passwords.hash(password).await?)
            }
        };
        self.create(user, password_hash, false, authorisation).await
    }

    /// The answer to a client that repeats the request by which a user was registered: the account, and new tokens of the device,
    /// because the others may never have arrived. `outcome` is what was remembered of it.
    ///
    /// # Errors
    /// [`RegistrationError::UserInUse`] if the account has been closed meanwhile, or has another password.
    pub async fn register_again(
        &self,
        outcome: Value,
        parameters: &RegisterParameters,
        address: Option<IpAddr>,
    ) -> Result<Registered, RegistrationError> {
        let unreadable = |error| StorageError::Statement(format!("table uia_sessions: {error}"));
        let RegisteredBefore { proof, device_id } = serde_json::from_value(outcome).map_err(unreadable)?;
        let Some(device_id) = device_id else {
            return Ok(Registered { user_id: proof.user_id, tokens: None });
        };
        let device = CheckedDevice { device_id, address, ..parameters.device(address)? };
        let tokens = self.sessions.open(proof.user_sn, &proof.password_hash, &device).await?;
        let tokens = tokens.ok_or(RegistrationError::UserInUse)?;
        Ok(Registered { user_id: proof.user_id, tokens: Some(tokens) })
    }

    /// Registers a guest and logs it in.
    ///
    /// # Errors
    /// [`RegistrationError::NoGuests`].
    pub async fn register_guest(&self, device: CheckedDevice) -> Result<Registered, RegistrationError> {
        if !self.options.read().allow_guests {
            return Err(RegistrationError::NoGuests);
        }
        let guest = NewUser { device: Some(device), ..NewUser::default() };
        self.create(guest, None, true, Authorisation::default()).await
    }

    /// Registers a user on the word of the operator.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub async fn create_user(
        &self,
        name: &str,
        password: Option<String>,
        is_admin: bool,
    ) -> Result<OwnedUserId, RegistrationError> {
        let username = Some(localpart(name, &self.server_name)?.to_owned());
        let password = password.map(NewPassword::Plain);
        let user = NewUser { username, password, is_admin, ..NewUser::default() };
        Ok(self.register(user, Authorisation::default()).await?.user_id)
    }

    fn user_id(&self, username: &str) -> Result<OwnedUserId, RegistrationError> {
        username::new_user_id(username, &self.server_name).map_err(RegistrationError::InvalidUsername)
    }
}
