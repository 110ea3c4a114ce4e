use homeserver_core::UserSn;
use parking_lot::Mutex;

use super::{Key, Kind, LimitExceeded, RateLimits};
use crate::sessions::Requester;

/// What was spent for an action.
#[must_use = "what was spent for something that fails is to be given back, or kept on purpose"]
pub struct Spent<'a> {
    pub(super) limits: &'a RateLimits,
    pub(super) kind: Kind,
    pub(super) key: Key,
    pub(super) user_sn: Option<UserSn>,
    /// Whether anything was spent.
    pub(super) is_limited: bool,
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
        if self.is_limited {
            self.limits.with_limiter_of(self.user_sn, self.kind, |limiter| limiter.give_back(self.key, 1));
        }
    }

    /// Leaves it spent, whatever becomes of the action.
    pub fn keep(self) {}
}

/// What is spent for a change of a room whose events may be built several times, and for which it shows only then what they are:
/// each kind is spent once.
pub(crate) struct SpentOnce<'a> {
    limits: &'a RateLimits,
    spent: Mutex<Vec<Spent<'a>>>,
}

impl<'a> SpentOnce<'a> {
    pub(crate) fn new(limits: &'a RateLimits) -> Self {
        Self { limits, spent: Mutex::default() }
    }

    /// Refuses early, before the room is looked at.
    pub(crate) fn check(&self, kind: Kind, requester: &Requester) -> Result<(), LimitExceeded> {
        self.limits.check(kind, Key::user(requester.user_sn), Some(requester))
    }

    /// Spends for an action that is counted by user, if it was not spent before.
    pub(crate) fn spend(&self, kind: Kind, requester: &Requester) -> Result<(), LimitExceeded> {
        self.spend_of(kind, Key::user(requester.user_sn), requester)
    }

    /// Spends for an action, if it was not spent before.
    pub(crate) fn spend_of(&self, kind: Kind, key: Key, requester: &Requester) -> Result<(), LimitExceeded> {
        let mut spent = self.spent.lock();
        if !spent.iter().any(|spent| spent.kind == kind) {
            spent.push(self.limits.spend(kind, key, Some(requester))?);
        }
        Ok(())
    }

    /// Gives everything back if the change failed, and passes its outcome on; except for attempts to join, which are work whether
    /// they succeed or not.
    pub(crate) fn settle<T, E>(&self, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.is_err() {
            for spent in std::mem::take(&mut *self.spent.lock()) {
                if !matches!(spent.kind, Kind::JoinsLocal | Kind::JoinsRemote) {
                    spent.give_back();
                }
            }
        }
        outcome
    }
}
