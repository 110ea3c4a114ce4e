//! How often one user, one address or one room may do what costs others.
//!
//! Each [`LimitedAction`] of action has a limiter of its own: a bucket for each [`Key`] that allows a burst at once and a rate for good.
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
mod spent;
mod store;

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use homeserver_core::UserSn;
use ruma::OwnedServerName;
use storage::{Database, StorageError};

pub use self::exceeded::LimitExceeded;
pub use self::key::Key;
pub use self::kind::LimitedAction;
pub use self::limiter::Rate;
use self::limiter::{CAPACITY, Limiter, SHARDS};
use self::overrides::{Exemption, Overrides};
pub use self::overrides::{OverrideError, RateOverride};
pub use self::spent::{Failure, Spent, SpentOnce};
use crate::sessions::Requester;

/// The limiters of one server.
pub struct RateLimits {
    database: Database,
    server_name: OwnedServerName,
    limiters: ArcSwap<Limiters>,
    overrides: Overrides,
    names: RandomState,
    refused: [AtomicU64; LimitedAction::ALL.len()],
}

/// One for each kind, in their order; `None` where there is no limit.
type Limiters = [Option<Arc<Limiter>>; LimitedAction::ALL.len()];

/// What one kind has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KindCounts {
    /// Which.
    pub kind: LimitedAction,
    /// Requests refused since the start.
    pub refused: u64,
    /// Keys in memory.
    pub keys: usize,
}

impl RateLimits {
    /// Limits at these rates, none where there is `None`. Overrides in `database` are known after [`RateLimits::tend`].
    #[must_use]
    pub fn new(
        database: Database,
        server_name: OwnedServerName,
        rates: impl Fn(LimitedAction) -> Option<Rate>,
    ) -> Self {
        let limiters =
            LimitedAction::ALL.map(|kind| rates(kind).map(|rate| Arc::new(Limiter::new(rate, SHARDS, CAPACITY))));
        Self {
            database,
            server_name,
            limiters: ArcSwap::from_pointee(limiters),
            overrides: Overrides::default(),
            names: RandomState::new(),
            refused: [const { AtomicU64::new(0) }; LimitedAction::ALL.len()],
        }
    }

    /// Changes the rates. A rate that stays the same keeps its counts; a rate that changes starts with empty counts.
    pub fn reconfigure(&self, rates: impl Fn(LimitedAction) -> Option<Rate>) {
        let old = self.limiters.load();
        let limiters = LimitedAction::ALL.map(|kind| {
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
    pub fn spend(
        &self,
        kind: LimitedAction,
        key: Key,
        requester: Option<&Requester>,
    ) -> Result<Spent<'_>, LimitExceeded> {
        let is_limited = self.ask(kind, key, requester, true)?;
        let user_sn = requester.map(|requester| requester.user_sn);
        Ok(Spent { limits: self, kind, key, user_sn, is_limited })
    }

    /// Spends for one action of a user that is counted by user.
    ///
    /// # Errors
    /// As [`RateLimits::spend`].
    pub fn spend_by_user(&self, kind: LimitedAction, requester: &Requester) -> Result<Spent<'_>, LimitExceeded> {
        self.spend(kind, Key::user(requester.user_sn), Some(requester))
    }

    /// Spends for so many actions that have happened already. Where there is not so much left, all of it is spent.
    pub fn record(&self, kind: LimitedAction, key: Key, requester: Option<&Requester>, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.with_limiter(requester, kind, |limiter| {
            // Down to what is left, in steps that end soon.
            let mut step = count.min(limiter.rate().burst.get());
            while step > 0 && limiter.ask(key, step, true).is_err() {
                step /= 2;
            }
        });
    }

    /// As [`RateLimits::spend`], but nothing is spent: for what is found out before the action, to refuse early.
    ///
    /// # Errors
    /// As [`RateLimits::spend`].
    pub fn check(&self, kind: LimitedAction, key: Key, requester: Option<&Requester>) -> Result<(), LimitExceeded> {
        self.ask(kind, key, requester, false).map(drop)
    }

    /// How many of these actions are allowed at once; `None` if there is no limit for this user.
    #[must_use]
    pub fn burst(&self, kind: LimitedAction, requester: Option<&Requester>) -> Option<u32> {
        self.with_limiter(requester, kind, |limiter| limiter.rate().burst.get())
    }

    /// Whether there is a limit on actions of this kind.
    #[must_use]
    pub fn has(&self, kind: LimitedAction) -> bool {
        self.limiters.load().get(kind as usize).is_some_and(Option::is_some)
    }

    /// Forgets users and addresses that have been idle for so long that it makes no difference, and reads the overrides again, which other
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
        let count = |kind: LimitedAction| KindCounts {
            kind,
            refused: self.refused.get(kind as usize).map_or(0, |refused| refused.load(Ordering::Relaxed)),
            keys: limiters.get(kind as usize).and_then(Option::as_ref).map_or(0, |limiter| limiter.keys()),
        };
        LimitedAction::ALL.into_iter().map(count).collect()
    }

    /// Whether there is a limit at all, if the action is within it.
    fn ask(
        &self,
        kind: LimitedAction,
        key: Key,
        requester: Option<&Requester>,
        is_spent: bool,
    ) -> Result<bool, LimitExceeded> {
        match self.with_limiter(requester, kind, |limiter| limiter.ask(key, 1, is_spent)) {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(retry_after)) => {
                if let Some(refused) = self.refused.get(kind as usize) {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(LimitExceeded { kind, retry_after })
            }
        }
    }

    /// Calls `with` the limiter that is to be asked; `None` if nothing limits this.
    fn with_limiter<T>(
        &self,
        requester: Option<&Requester>,
        kind: LimitedAction,
        with: impl FnOnce(&Limiter) -> T,
    ) -> Option<T> {
        if requester.is_some_and(|requester| !requester.is_rate_limited) {
            return None;
        }
        self.with_limiter_of(requester.map(|requester| requester.user_sn), kind, with)
    }

    fn with_limiter_of<T>(
        &self,
        user_sn: Option<UserSn>,
        kind: LimitedAction,
        with: impl FnOnce(&Limiter) -> T,
    ) -> Option<T> {
        let limiters = self.limiters.load();
        let limiter = limiters.get(kind as usize)?.as_deref()?;
        let Some(user_sn) = user_sn else { return Some(with(limiter)) };
        let overrides = self.overrides.load();
        match overrides.of(user_sn) {
            Some(Exemption::FromAll) => None,
            Some(Exemption::RateOfMessages(own)) if kind == LimitedAction::Message => Some(with(own)),
            _ => Some(with(limiter)),
        }
    }
}

#[cfg(test)]
mod tests;
