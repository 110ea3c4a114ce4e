//! The changes since the members of a room were read.

use std::collections::{HashSet, VecDeque};

use homeserver_core::UserSn;
use parking_lot::RwLock;

/// A room notes so many changed members; if there are more, all members are read again.
const MAX_PENDING: usize = 1_000;
/// So many changes of rules are remembered for rooms without events in the meantime.
const MAX_RULE_CHANGES: usize = 20_000;

/// The users whose membership of a room, or display name there, changed. `None` inside if they are too many.
pub(super) struct Pending(Option<HashSet<UserSn>>);

impl Default for Pending {
    fn default() -> Self {
        Self(Some(HashSet::new()))
    }
}

impl Pending {
    pub(super) fn add(&mut self, user_sn: UserSn) {
        if let Some(users) = &mut self.0 {
            users.insert(user_sn);
            if users.len() > MAX_PENDING {
                self.0 = None;
            }
        }
    }

    /// Takes the changed users; `None` if all members must be read again.
    pub(super) fn take(&mut self) -> Option<HashSet<UserSn>> {
        self.0.replace(HashSet::new())
    }
}

/// The local users whose rules changed recently, in order.
#[derive(Default)]
pub(super) struct RuleChanges(RwLock<Recent>);

#[derive(Default)]
struct Recent {
    /// The number of changes before those in `users`.
    forgotten: u64,
    users: VecDeque<UserSn>,
}

impl Recent {
    fn end(&self) -> u64 {
        self.forgotten + u64::try_from(self.users.len()).unwrap_or(u64::MAX)
    }
}

impl RuleChanges {
    pub(super) fn push(&self, user_sn: UserSn) {
        let mut recent = self.0.write();
        recent.users.push_back(user_sn);
        if recent.users.len() > MAX_RULE_CHANGES {
            recent.users.pop_front();
            recent.forgotten += 1;
        }
    }

    /// The number of all changes so far.
    pub(super) fn end(&self) -> u64 {
        self.0.read().end()
    }

    /// The changes after the first `seen`; `None` if some are no longer remembered.
    pub(super) fn since(&self, seen: u64) -> Option<impl Iterator<Item = UserSn> + use<>> {
        let recent = self.0.read();
        let known = usize::try_from(seen.checked_sub(recent.forgotten)?).ok()?;
        let new: Vec<UserSn> = recent.users.range(known.min(recent.users.len())..).copied().collect();
        Some(new.into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_is_too_far_behind_must_read_everything() {
        let changes = RuleChanges::default();
        changes.push(UserSn(1));
        let seen = changes.end();
        changes.push(UserSn(2));
        assert_eq!(changes.since(seen).unwrap().collect::<Vec<_>>(), [UserSn(2)]);
        assert_eq!(changes.since(0).unwrap().count(), 2);
        for _ in 0..MAX_RULE_CHANGES {
            changes.push(UserSn(3));
        }
        assert!(changes.since(seen).is_none());
        assert_eq!(changes.since(changes.end()).unwrap().count(), 0);
    }

    #[test]
    fn changed_members_are_noted_until_they_are_too_many() {
        let mut pending = Pending::default();
        pending.add(UserSn(1));
        pending.add(UserSn(1));
        assert_eq!(pending.take().unwrap().len(), 1);
        assert!(pending.take().unwrap().is_empty());
        (0..=1_000).for_each(|number| pending.add(UserSn(number)));
        assert!(pending.take().is_none());
        assert!(pending.take().unwrap().is_empty());
    }
}
