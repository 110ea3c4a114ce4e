use homeserver_core::UserSn;
use parking_lot::Mutex;
use storage::StorageError;

use super::{Key, LimitExceeded, LimitedAction, RateLimits};
use crate::profiles::ProfileError;
use crate::registration::RegistrationError;
use crate::sessions::Requester;

/// What was spent for an action.
#[must_use = "what was spent for something that fails is to be given back, or kept on purpose"]
pub struct Spent<'a> {
    pub(super) limits: &'a RateLimits,
    pub(super) kind: LimitedAction,
    pub(super) key: Key,
    pub(super) user_sn: Option<UserSn>,
    /// Whether anything was spent.
    pub(super) is_limited: bool,
}

/// Why an action failed, for which something was spent.
pub trait Failure {
    /// Whether the database has refused a write of the action. Others had to wait for that, so it stays spent: who could have it
    /// back could do it without end.
    fn is_refused_write(&self) -> bool;
}

impl Failure for StorageError {
    fn is_refused_write(&self) -> bool {
        !self.is_unavailable()
    }
}

impl Failure for ProfileError {
    fn is_refused_write(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_refused_write())
    }
}

impl Failure for RegistrationError {
    fn is_refused_write(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_refused_write())
    }
}

impl Spent<'_> {
    /// Gives back what was spent if the action was refused before anything was written, or the server could not do it, and passes
    /// its outcome on.
    ///
    /// # Errors
    /// What the action failed with.
    pub fn settle<T, E: Failure>(self, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.as_ref().is_err_and(|error| !error.is_refused_write()) {
            self.give_back();
        }
        outcome
    }

    /// Gives back what was spent.
    pub fn give_back(self) {
        if self.is_limited {
            self.limits.with_limiter_of(self.user_sn, self.kind, |limiter| limiter.give_back(self.key, 1));
        }
    }

    /// Leaves it spent, whatever becomes of the action.
    pub fn keep(self) {}
}

/// What is spent for a change of a room whose events may be built several times, and for which it shows only then what they are:
/// each kind is spent once.
pub struct SpentOnce<'a> {
    limits: &'a RateLimits,
    spent: Mutex<Vec<Spent<'a>>>,
}

impl<'a> SpentOnce<'a> {
    /// Nothing yet.
    #[must_use]
    pub fn new(limits: &'a RateLimits) -> Self {
        Self { limits, spent: Mutex::default() }
    }

    /// Refuses early, before the room is looked at.
    ///
    /// # Errors
    /// [`LimitExceeded`].
    pub fn check(&self, kind: LimitedAction, requester: &Requester) -> Result<(), LimitExceeded> {
        self.limits.check(kind, Key::user(requester.user_sn), Some(requester))
    }

    /// Spends for an action that is counted by user, if it was not spent before.
    ///
    /// # Errors
    /// [`LimitExceeded`].
    pub fn spend(&self, kind: LimitedAction, requester: &Requester) -> Result<(), LimitExceeded> {
        self.spend_of(kind, Key::user(requester.user_sn), requester)
    }

    /// Spends for an action, if it was not spent before.
    ///
    /// # Errors
    /// [`LimitExceeded`].
    pub fn spend_of(&self, kind: LimitedAction, key: Key, requester: &Requester) -> Result<(), LimitExceeded> {
        let mut spent = self.spent.lock();
        if !spent.iter().any(|spent| spent.kind == kind) {
            spent.push(self.limits.spend(kind, key, Some(requester))?);
        }
        Ok(())
    }

    /// As [`Spent::settle`]; attempts to join stay spent, which are work whether they succeed or not.
    ///
    /// # Errors
    /// What the action failed with.
    pub fn settle<T, E: Failure>(&self, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.as_ref().is_err_and(|error| !error.is_refused_write()) {
            for spent in std::mem::take(&mut *self.spent.lock()) {
                if !matches!(spent.kind, LimitedAction::JoinsLocal | LimitedAction::JoinsRemote) {
                    spent.give_back();
                }
            }
        }
        outcome
    }
}
