//! How often one user, one address or one room may do what costs others.
//!
//! Each [`Kind`] of action has a limiter of its own: a bucket for each [`Key`] that allows a burst at once and a rate for good.
//! The component that does the action [spends](RateLimits::spend) from it, so that all endpoints that lead to the action share
//! it; what is about addresses is spent at the edge, which alone knows them. What was spent for an action that was then refused
//! for another reason can be [given back](Spent::settle).
//!
//! Users can be exempt, or have a rate for messages of their own ([`RateOverride`]). Their entries are few and all in memory, and
//! are read without a lock.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#rate-limiting>

mod exceeded;
mod key;
mod kind;
mod limiter;
mod overrides;
mod spent_once;
mod store;

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use homeserver_core::UserSn;
use ruma::{OwnedServerName, UserId};
use storage::{Database, StorageError};

pub use self::exceeded::LimitExceeded;
pub use self::key::Key;
pub use self::kind::Kind;
pub use self::limiter::Rate;
use self::limiter::{CAPACITY, Limiter, SHARDS};
use self::overrides::{Exemption, Overrides};
pub use self::overrides::{OverrideError, RateOverride};
pub(crate) use self::spent_once::SpentOnce;
use crate::sessions::Requester;

/// The limiters of one server.
pub struct RateLimits {
    database: Database,
    server_name: OwnedServerName,
    limiters: ArcSwap<Limiters>,
    overrides: Overrides,
    names: RandomState,
    refused: [AtomicU64; Kind::ALL.len()],
}

/// One for each kind, in their order; `None` where there is no limit.
type Limiters = [Option<Arc<Limiter>>; Kind::ALL.len()];

/// What one kind has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KindCounts {
    /// Which.
    pub kind: Kind,
    /// Requests refused since the start.
    pub refused: u64,
    /// Keys in memory.
    pub keys: usize,
}

impl RateLimits {
    /// Limits at these rates, none where there is `None`. Overrides in `database` are known after [`RateLimits::tend`].
    #[must_use]
    pub fn new(database: Database, server_name: OwnedServerName, rates: impl Fn(Kind) -> Option<Rate>) -> Self {
        let limiters = Kind::ALL.map(|kind| rates(kind).map(|rate| Arc::new(Limiter::new(rate, SHARDS, CAPACITY))));
        Self {
            database,
            server_name,
            limiters: ArcSwap::from_pointee(limiters),
            overrides: Overrides::default(),
            names: RandomState::new(),
            refused: [const { AtomicU64::new(0) }; Kind::ALL.len()],
        }
    }

    /// Changes the rates. Where one stays as it is, what was spent stays spent; where it changes, everybody starts anew.
    pub fn reconfigure(&self, rates: impl Fn(Kind) -> Option<Rate>) {
        let old = self.limiters.load();
        let limiters = Kind::ALL.map(|kind| {
            let rate = rates(kind)?;
            match old.get(kind as usize).and_then(Option::as_ref).filter(|limiter| limiter.rate() == rate) {
                Some(limiter) => Some(Arc::clone(limiter)),
                None => Some(Arc::new(Limiter::new(rate, SHARDS, CAPACITY))),
            }
        });
        self.limiters.store(Arc::new(limiters));
    }

    /// The key of an account by a name that somebody has given; there need not be such an account.
    #[must_use]
    pub fn account(&self, name: &str) -> Key {
        Key::name(name, &self.names)
    }

    /// Spends for one action. `requester` is who does it, if it is a user: some are exempt.
    ///
    /// # Errors
    /// [`LimitExceeded`] if there is nothing left to spend; nothing is spent then.
    pub fn spend(&self, kind: Kind, key: Key, requester: Option<&Requester>) -> Result<Spent<'_>, LimitExceeded> {
        self.ask(kind, key, requester, 1, true)?;
        let exempt_sn = requester.map(|requester| requester.user_sn);
        Ok(Spent { limits: self, kind, key, user_sn: exempt_sn, count: 1 })
    }

    /// Spends for one action of a user that is counted by user.
    ///
    /// # Errors
    /// As [`RateLimits::spend`].
    pub fn spend_by_user(&self, kind: Kind, requester: &Requester) -> Result<Spent<'_>, LimitExceeded> {
        self.spend(kind, Key::user(requester.user_sn), Some(requester))
    }

    /// Spends for so many actions, or what there is if that is less: they have happened already.
    pub fn record(&self, kind: Kind, key: Key, requester: Option<&Requester>, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(self.burst(kind, requester).unwrap_or(1));
        if count > 0 {
            // Where there is not so much left, it will do for the next one to be refused.
            let _ = self.exemption(requester, kind, |limiter| limiter.ask(key, count, true));
        }
    }

    /// As [`RateLimits::spend`], but nothing is spent: for what is found out before the action, to refuse early.
    ///
    /// # Errors
    /// As [`RateLimits::spend`].
    pub fn check(&self, kind: Kind, key: Key, requester: Option<&Requester>) -> Result<(), LimitExceeded> {
        self.ask(kind, key, requester, 1, false)
    }

    /// How many of these actions are allowed at once; `None` if there is no limit for this user.
    #[must_use]
    pub fn burst(&self, kind: Kind, requester: Option<&Requester>) -> Option<u32> {
        self.exemption(requester, kind, |limiter| limiter.rate().burst.get())
    }

    /// Whether there is a limit on actions of this kind.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.limiters.load().get(kind as usize).is_some_and(Option::is_some)
    }

    /// Forgets whoever has not done anything for so long that it makes no difference, and reads the overrides again, which other
    /// nodes may have changed. To be called every minute or so.
    ///
    /// # Errors
    /// [`StorageError`] if the overrides cannot be read.
    pub async fn tend(&self) -> Result<(), StorageError> {
        for limiter in self.limiters.load().iter().flatten() {
            limiter.forget_those_at_rest();
        }
        self.overrides.replace(self.database.rate_limit_overrides().await?);
        Ok(())
    }

    /// What each kind has counted.
    #[must_use]
    pub fn counts(&self) -> Vec<KindCounts> {
        let limiters = self.limiters.load();
        let count = |kind: Kind| KindCounts {
            kind,
            refused: self.refused.get(kind as usize).map_or(0, |refused| refused.load(Ordering::Relaxed)),
            keys: limiters.get(kind as usize).and_then(Option::as_ref).map_or(0, |limiter| limiter.keys()),
        };
        Kind::ALL.into_iter().map(count).collect()
    }

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

    fn ask(
        &self,
        kind: Kind,
        key: Key,
        requester: Option<&Requester>,
        count: u32,
        is_spent: bool,
    ) -> Result<(), LimitExceeded> {
        match self.exemption(requester, kind, |limiter| limiter.ask(key, count, is_spent)) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(retry_after)) => {
                if let Some(refused) = self.refused.get(kind as usize) {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(LimitExceeded { kind, retry_after })
            }
        }
    }

    /// Calls `with` the limiter that is to be asked; `None` if nothing limits this.
    fn exemption<T>(&self, requester: Option<&Requester>, kind: Kind, with: impl FnOnce(&Limiter) -> T) -> Option<T> {
        if requester.is_some_and(|requester| !requester.is_rate_limited) {
            return None;
        }
        self.limiter_for(requester.map(|requester| requester.user_sn), kind, with)
    }

    fn limiter_for<T>(&self, user_sn: Option<UserSn>, kind: Kind, with: impl FnOnce(&Limiter) -> T) -> Option<T> {
        let limiters = self.limiters.load();
        let limiter = limiters.get(kind as usize)?.as_deref()?;
        let Some(user_sn) = user_sn else { return Some(with(limiter)) };
        let overrides = self.overrides.load();
        match overrides.of(user_sn) {
            Some(Exemption::FromAll) => None,
            Some(Exemption::RateOfMessages(own)) if kind == Kind::Message => Some(with(own)),
            _ => Some(with(limiter)),
        }
    }
}

/// What was spent for an action.
#[must_use = "what was spent for something that fails is to be given back, or kept on purpose"]
pub struct Spent<'a> {
    limits: &'a RateLimits,
    kind: Kind,
    key: Key,
    user_sn: Option<UserSn>,
    count: u32,
}

impl Spent<'_> {
    /// Gives back what was spent if the action failed, and passes its outcome on.
    ///
    /// # Errors
    /// What the action failed with.
    pub fn settle<T, E>(self, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.is_err() {
            self.give_back();
        }
        outcome
    }

    /// Gives back what was spent.
    pub fn give_back(self) {
        self.limits.limiter_for(self.user_sn, self.kind, |limiter| limiter.give_back(self.key, self.count));
    }

    /// Leaves it spent, whatever becomes of the action.
    pub fn keep(self) {}
}

#[cfg(test)]
mod tests;
