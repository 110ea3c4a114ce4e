//! How accounts come into being: by registration, by the shared secret, and on the command line.

mod guests;
mod nonce;
mod parameters;
mod shared_secret;
mod username;

use std::net::IpAddr;
use std::sync::Arc;

use homeserver_core::{Clock, Live, Timestamp, random_string};
use ruma::{OwnedServerName, OwnedUserId};
use serde_json::Value;
use storage::{Database, NewAccount, StorageError, TokenHash, Tx, UserThreepid};

pub use self::guests::UpgradingGuest;
pub use self::parameters::RegisterParameters;
use self::parameters::RegisteredBefore;
pub use self::shared_secret::{SharedSecret, SharedSecretError, SharedSecretRequest};
pub use self::username::OtherServer;
pub(crate) use self::username::localpart;
use crate::accounts::PasswordProof;
use crate::passwords::{PasswordError, Passwords};
use crate::sessions::{AuthenticationError, CheckedDevice, DeviceError, IssuedTokens, Sessions, new_session};
use crate::threepids::{EMAIL, Purpose};
use crate::uia::{Authorisation, Finishing, Flow, NewPassword, Stage, ValidatedEmail};

/// Who may register.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct RegistrationOptions {
    /// Anybody, by user-interactive authentication.
    pub enabled: bool,
    /// Only those who hold a registration token.
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
    /// Who wants to can confirm one.
    Offered,
    /// Who holds no token for the first account has to confirm one.
    Required,
}

/// Why nobody was registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// This server takes no new users.
    #[error(
        "Registration is not open on this server. Its administrator can make an account with `synapse-rust user create --name NAME`"
    )]
    Closed,
    /// This server takes no guests.
    #[error("Guests cannot register on this server")]
    NoGuests,
    /// Who wants to have a guest's user ID is not that guest.
    #[error("This user name is not the one of the guest whose access token was given")]
    AnotherGuest,
    /// The access token that was given to prove to be a guest is nobody's.
    #[error(transparent)]
    GuestToken(AuthenticationError),
    /// The name is not one by the grammar.
    #[error("{0}")]
    InvalidUsername(&'static str),
    /// The operator names a user of another server.
    #[error(transparent)]
    OtherServer(#[from] OtherServer),
    /// The session of user-interactive authentication has been used for another account, or has expired.
    #[error("This registration has been completed or has expired meanwhile: begin again")]
    SessionUsedUp,
    /// The user ID is taken.
    #[error("This user name is taken")]
    UserInUse,
    /// Another account has the e-mail address.
    #[error("This e-mail address belongs to an account already")]
    EmailInUse,
    /// The e-mail address that was confirmed cannot be used any more.
    #[error("The confirmation of the e-mail address cannot be used any more: ask for a new mail")]
    ConfirmationUsedUp,
    /// The registration token was used by somebody else in the meantime.
    #[error("This registration token has been used up in the meantime")]
    TokenUsedUp,
    /// The server has no passwords.
    #[error("This server does not use passwords")]
    PasswordsDisabled,
    /// The device cannot be logged in.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The password cannot be used.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
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

enum Created {
    Account(Vec<TokenHash>),
    UserInUse,
    TokenUsedUp,
    EmailInUse,
    ConfirmationUsedUp,
    SessionUsedUp,
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

    /// The ways to register at the moment.
    ///
    /// # Errors
    /// [`RegistrationError::Closed`] if there are none.
    pub async fn flows(&self) -> Result<Vec<Flow>, RegistrationError> {
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

    /// Whether a new account can have an e-mail address at the moment.
    ///
    /// # Errors
    /// [`RegistrationError::Closed`] if nobody can register.
    pub async fn takes_email(&self) -> Result<bool, RegistrationError> {
        Ok(self.flows().await?.iter().any(|flow| flow.contains(&Stage::RegistrationEmail)))
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

    async fn create(
        &self,
        user: NewUser,
        password_hash: Option<String>,
        is_guest: bool,
        authorisation: Authorisation,
    ) -> Result<Registered, RegistrationError> {
        let user_id = match &user.upgrades {
            Some(guest) => guest.user_id.clone(),
            None => self.user_id(&user.username.unwrap_or_else(|| random_string(12)))?,
        };
        let now = self.clock.now();
        let account = NewAccount {
            user_id: user_id.to_string(),
            password_hash,
            created_at: now,
            is_admin: user.is_admin,
            is_guest,
            user_type: user.user_type,
        };
        let prepared = user.device.as_ref().map(|device| self.sessions.prepare(device));
        let session = user.device.zip(prepared.as_ref().map(|prepared| prepared.stored(now)));
        let display_name = user.display_name.map(|name| serde_json::Value::from(name).to_string());
        let upgrades = user.upgrades.map(|guest| guest.user_sn);
        let registered_id = user_id.clone();
        let created = self.database.write(async move |tx| {
            let mut account = account.clone();
            if let Some(finishing) = &authorisation.finishing
                && !tx.lock_uia_session(finishing.session_id()).await?
            {
                return Ok(Created::SessionUsedUp);
            }
            if upgrades.is_none() && tx.account_exists(&account.user_id).await? {
                return Ok(Created::UserInUse);
            }
            let email = match &authorisation.email {
                None => None,
                Some(email) => match confirmed(tx, email, now).await? {
                    Ok(threepid) => Some(threepid),
                    Err(refused) => return Ok(refused),
                },
            };
            if let Some(token) = &authorisation.registration_token {
                let Some(usable) = tx.use_registration_token(token, now).await? else {
                    return Ok(Created::TokenUsedUp);
                };
                account.is_admin |= usable.makes_admin;
            }
            let user_sn = match upgrades {
                Some(guest_sn) => tx.upgrade_guest(guest_sn, &account).await?,
                None => tx.create_account(&account).await?,
            };
            let Some(user_sn) = user_sn else {
                return give_back(tx, authorisation.registration_token.as_deref()).await;
            };
            if let Some(threepid) = &email
                && !tx.add_threepid(user_sn, threepid).await?
            {
                // Another node gave it to somebody else meanwhile. This runs again, and finds that.
                return Err(StorageError::Constraint("user_threepids: the address is taken".to_owned()));
            }
            if let Some(name) = &display_name {
                tx.set_profile_field(user_sn, "displayname", name).await?;
            }
            if let Some(finishing) = &authorisation.finishing
                && let Some(password_hash) = account.password_hash.clone()
            {
                let proof = PasswordProof { user_sn, user_id: registered_id.clone(), password_hash };
                let device_id = session.as_ref().map(|(device, _)| device.device_id.clone());
                finish(tx, finishing, RegisteredBefore { proof, device_id }).await?;
            }
            let revoked = match &session {
                Some((device, tokens)) => new_session(tx, user_sn, device, tokens).await?,
                None => Vec::new(),
            };
            Ok(Created::Account(revoked))
        });
        match created.await? {
            Created::UserInUse => Err(RegistrationError::UserInUse),
            Created::TokenUsedUp => Err(RegistrationError::TokenUsedUp),
            Created::EmailInUse => Err(RegistrationError::EmailInUse),
            Created::SessionUsedUp => Err(RegistrationError::SessionUsedUp),
            Created::ConfirmationUsedUp => Err(RegistrationError::ConfirmationUsedUp),
            Created::Account(revoked) => {
                self.sessions.end(&revoked);
                if let Some(guest_sn) = upgrades {
                    self.sessions.look_up_again(guest_sn).await?;
                }
                Ok(Registered { user_id, tokens: prepared.map(|prepared| prepared.issued) })
            }
        }
    }

    fn user_id(&self, username: &str) -> Result<OwnedUserId, RegistrationError> {
        username::new_user_id(username, &self.server_name).map_err(RegistrationError::InvalidUsername)
    }
}

/// The ways to register for everybody. Clients follow the first that they know, so the one without an address comes first.
fn open_flows(email: EmailPolicy) -> Vec<Flow> {
    match email {
        EmailPolicy::Unavailable => vec![&[Stage::Dummy]],
        EmailPolicy::Offered => vec![&[Stage::Dummy], &[Stage::RegistrationEmail]],
        EmailPolicy::Required => vec![&[Stage::RegistrationEmail]],
    }
}

/// The ways to register for those who hold a token. No flow is the beginning of another: whoever completes the token first may
/// still want to confirm an address.
fn token_flows(email: EmailPolicy) -> Vec<Flow> {
    match email {
        EmailPolicy::Unavailable => vec![&[Stage::RegistrationToken]],
        EmailPolicy::Offered => {
            vec![&[Stage::RegistrationToken, Stage::Dummy], &[Stage::RegistrationToken, Stage::RegistrationEmail]]
        }
        EmailPolicy::Required => vec![&[Stage::RegistrationToken, Stage::RegistrationEmail]],
    }
}

/// Uses up the confirmation of an address, which the new account will have.
async fn confirmed(
    tx: &mut Tx,
    email: &ValidatedEmail,
    now: Timestamp,
) -> Result<Result<UserThreepid, Created>, StorageError> {
    let session = tx.take_validation(&email.session_id, Purpose::Registration.as_str(), now).await?;
    let Some(session) = session else { return Ok(Err(Created::ConfirmationUsedUp)) };
    if tx.threepid_owner(EMAIL, &session.address).await?.is_some() {
        return Ok(Err(Created::EmailInUse));
    }
    let validated_at = session.validated_at.unwrap_or(now);
    Ok(Ok(UserThreepid { medium: EMAIL.to_owned(), address: session.address, validated_at, added_at: now }))
}

/// Remembers the account for a client that asks again.
async fn finish(tx: &mut Tx, finishing: &Finishing, registered: RegisteredBefore) -> Result<(), StorageError> {
    let unwritable = |error| StorageError::Statement(format!("table uia_sessions: {error}"));
    let outcome = serde_json::to_value(&registered).map_err(unwritable)?;
    let done = finishing.outcome(Some(&registered.proof.password_hash), &outcome)?;
    tx.finish_uia_session(&done).await.map(drop)
}

/// Another node was faster to take the name.
async fn give_back(tx: &mut Tx, registration_token: Option<&str>) -> Result<Created, StorageError> {
    if let Some(token) = registration_token {
        tx.return_registration_token(token).await?;
    }
    Ok(Created::UserInUse)
}
