//! The transaction that makes an account.

use homeserver_core::{Timestamp, UserSn, random_string};
use ruma::OwnedUserId;
use storage::{NewAccount, NewTokens, StorageError, TokenHash, Tx, UserThreepid};

use super::parameters::RegisteredBefore;
use super::{NewUser, Registered, Registration, RegistrationError};
use crate::accounts::PasswordProof;
use crate::sessions::{CheckedDevice, new_session};
use crate::threepids::{EMAIL, Purpose};
use crate::uia::{Authorisation, Finishing, ValidatedEmail};

impl Registration {
    pub(super) async fn create(
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
        let prepared = user.device.as_ref().map(|device| self.sessions.prepare(device));
        let upgrades = user.upgrades.map(|guest| guest.user_sn);
        let creation = Creation {
            account: NewAccount {
                user_id: user_id.to_string(),
                password_hash,
                created_at: now,
                is_admin: user.is_admin,
                is_guest,
                user_type: user.user_type,
            },
            user_id: user_id.clone(),
            display_name: user.display_name.map(|name| serde_json::Value::from(name).to_string()),
            upgrades,
            session: user.device.zip(prepared.as_ref().map(|prepared| prepared.stored(now))),
            authorisation,
            now,
        };
        let created = self.database.write(async move |tx| match creation.run(tx).await {
            Ok(revoked) => Ok(Ok(revoked)),
            Err(RegistrationError::Storage(error)) => Err(error),
            Err(refused) => Ok(Err(refused)),
        });
        self.sessions.end(&created.await??);
        if let Some(guest_sn) = upgrades {
            self.sessions.look_up_again(guest_sn).await?;
        }
        Ok(Registered { user_id, tokens: prepared.map(|prepared| prepared.issued) })
    }
}

/// An account that is to be made, and what is stored with it.
struct Creation {
    account: NewAccount,
    user_id: OwnedUserId,
    /// As JSON.
    display_name: Option<String>,
    /// The guest who becomes the user.
    upgrades: Option<UserSn>,
    session: Option<(CheckedDevice, NewTokens)>,
    authorisation: Authorisation,
    now: Timestamp,
}

impl Creation {
    /// Makes the account, and returns the access tokens that the device had before. The transaction may run again, so `self` stays as it
    /// is. What is written before a refusal stays written.
    async fn run(&self, tx: &mut Tx) -> Result<Vec<TokenHash>, RegistrationError> {
        if let Some(finishing) = &self.authorisation.finishing
            && !tx.lock_uia_session(finishing.session_id()).await?
        {
            return Err(RegistrationError::SessionUsedUp);
        }
        if self.upgrades.is_none() && tx.account_exists(&self.account.user_id).await? {
            return Err(RegistrationError::UserInUse);
        }
        let threepid = match &self.authorisation.email {
            Some(email) => Some(self.use_confirmation(tx, email).await?),
            None => None,
        };
        let user_sn = self.insert_account(tx).await?;
        if let Some(threepid) = &threepid
            && !tx.add_threepid(user_sn, threepid).await?
        {
            // Another node has given the address to another account meanwhile. The writer runs this again, which then finds that.
            return Err(StorageError::Constraint("user_threepids: the address is taken".to_owned()).into());
        }
        if let Some(name) = &self.display_name {
            tx.set_profile_field(user_sn, "displayname", name).await?;
        }
        if let Some(finishing) = &self.authorisation.finishing {
            self.finish(tx, finishing, user_sn).await?;
        }
        match &self.session {
            Some((device, tokens)) => Ok(new_session(tx, user_sn, device, tokens).await?),
            None => Ok(Vec::new()),
        }
    }

    /// Uses up the confirmation of an e-mail address, which the account will have.
    async fn use_confirmation(&self, tx: &mut Tx, email: &ValidatedEmail) -> Result<UserThreepid, RegistrationError> {
        let session = tx.take_validation(&email.session_id, Purpose::Registration.as_str(), self.now).await?;
        let session = session.ok_or(RegistrationError::ConfirmationUsedUp)?;
        if tx.threepid_owner(EMAIL, &session.address).await?.is_some() {
            return Err(RegistrationError::EmailInUse);
        }
        let validated_at = session.validated_at.unwrap_or(self.now);
        Ok(UserThreepid { medium: EMAIL.to_owned(), address: session.address, validated_at, added_at: self.now })
    }

    /// Uses the registration token, and inserts the account.
    async fn insert_account(&self, tx: &mut Tx) -> Result<UserSn, RegistrationError> {
        let mut account = self.account.clone();
        let token = self.authorisation.registration_token.as_deref();
        if let Some(token) = token {
            let usable = tx.use_registration_token(token, self.now).await?.ok_or(RegistrationError::TokenUsedUp)?;
            account.is_admin |= usable.makes_admin;
        }
        let user_sn = match self.upgrades {
            Some(guest_sn) => tx.upgrade_guest(guest_sn, &account).await?,
            None => tx.create_account(&account).await?,
        };
        if let (None, Some(token)) = (user_sn, token) {
            // Another node was faster to take the name.
            tx.return_registration_token(token).await?;
        }
        user_sn.ok_or(RegistrationError::UserInUse)
    }

    /// Remembers the account, for a client that repeats its request.
    async fn finish(&self, tx: &mut Tx, finishing: &Finishing, user_sn: UserSn) -> Result<(), StorageError> {
        let Some(password_hash) = self.account.password_hash.clone() else { return Ok(()) };
        let proof = PasswordProof { user_sn, user_id: self.user_id.clone(), password_hash };
        let device_id = self.session.as_ref().map(|(device, _)| device.device_id.clone());
        let unwritable = |error| StorageError::Statement(format!("table uia_sessions: {error}"));
        let registered = RegisteredBefore { proof, device_id };
        let outcome = serde_json::to_value(&registered).map_err(unwritable)?;
        let done = finishing.outcome(Some(&registered.proof.password_hash), &outcome)?;
        tx.finish_uia_session(&done).await.map(drop)
    }
}
