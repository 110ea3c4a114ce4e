use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use homeserver_core::UserSn;
use ruma::UserId;
pub use storage::RateOverride;
use storage::StorageError;

use super::RateLimits;
use super::limiter::{Limiter, Rate};

/// Why an override was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum OverrideError {
    /// The user is one of another server.
    #[error("Only users of this server have rate limits here")]
    NotLocal,
    /// There is no such user.
    #[error("There is no such user")]
    NoSuchUser,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl RateLimits {
    /// The override of a user of this server, if there is one.
    ///
    /// # Errors
    /// [`OverrideError`] if there is no such user here.
    pub async fn override_of(&self, user_id: &UserId) -> Result<Option<RateOverride>, OverrideError> {
        let user_sn = self.local_user(user_id).await?;
        Ok(self.database.rate_limit_override(user_sn).await?)
    }

    /// Sets the override of a user of this server: at once here, within about a minute on other nodes.
    ///
    /// # Errors
    /// [`OverrideError`] if there is no such user here.
    pub async fn set_override(&self, user_id: &UserId, entry: RateOverride) -> Result<(), OverrideError> {
        let user_sn = self.local_user(user_id).await?;
        self.database.set_rate_limit_override(user_sn, entry).await?;
        Ok(self.tend().await?)
    }

    /// Removes the override of a user of this server, if there is one.
    ///
    /// # Errors
    /// [`OverrideError`] if there is no such user here.
    pub async fn remove_override(&self, user_id: &UserId) -> Result<(), OverrideError> {
        let user_sn = self.local_user(user_id).await?;
        self.database.delete_rate_limit_override(user_sn).await?;
        Ok(self.tend().await?)
    }

    async fn local_user(&self, user_id: &UserId) -> Result<UserSn, OverrideError> {
        if user_id.server_name() != self.server_name {
            return Err(OverrideError::NotLocal);
        }
        let account = self.database.account_by_user_id(user_id.as_str()).await?;
        account.map(|account| account.user_sn).ok_or(OverrideError::NoSuchUser)
    }
}

/// What an override comes to.
pub(super) enum Exemption {
    /// Nothing limits the user.
    FromAll,
    /// The user has a rate of messages, and otherwise the limits of everybody.
    RateOfMessages(Box<Limiter>),
}

/// The overrides of all users who have one. They are read without a lock.
#[derive(Default)]
pub(super) struct Overrides(ArcSwap<Known>);

#[derive(Default)]
pub(super) struct Known(HashMap<UserSn, Arc<(RateOverride, Exemption)>>);

impl Known {
    pub(super) fn of(&self, user_sn: UserSn) -> Option<&Exemption> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&user_sn).map(|entry| &entry.1)
    }
}

impl Overrides {
    pub(super) fn load(&self) -> Guard<Arc<Known>> {
        self.0.load()
    }

    /// Takes over what the database says. Who has the same override as before keeps what was spent.
    pub(super) fn replace(&self, stored: Vec<(UserSn, RateOverride)>) {
        let old = self.0.load();
        let known = stored.into_iter().map(|(user_sn, stored)| {
            let kept = old.0.get(&user_sn).filter(|entry| entry.0 == stored).cloned();
            (user_sn, kept.unwrap_or_else(|| Arc::new((stored, exemption(stored)))))
        });
        self.0.store(Arc::new(Known(known.collect())));
    }
}

fn exemption(entry: RateOverride) -> Exemption {
    let at_most = |number: i64| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
    match at_most(entry.messages_per_second) {
        0 => Exemption::FromAll,
        per_second => {
            let burst = NonZeroU32::new(at_most(entry.burst)).unwrap_or(NonZeroU32::MIN);
            let rate = Rate { per_second: f64::from(per_second), burst };
            Exemption::RateOfMessages(Box::new(Limiter::new(rate, 1, 4)))
        }
    }
}
