//! What has changed since the members of a room were read.

use std::collections::{HashSet, VecDeque};

use homeserver_core::UserSn;
use parking_lot::RwLock;

/// Members of one room whose change is noted; when there are more, all are read again.
const MAX_PENDING: usize = 1_000;
/// Changes of rules that are remembered for rooms in which nothing was said in the meantime.
const MAX_RULE_CHANGES: usize = 20_000;

/// Those whose membership of a room, or display name there, changed. `None` inside if they are too many.
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

    /// Takes them; `None` if all members have to be read again.
    pub(super) fn take(&mut self) -> Option<HashSet<UserSn>> {
        self.0.replace(HashSet::new())
    }
}

/// The users of this server whose rules changed lately, in order.
#[derive(Default)]
pub(super) struct RuleChanges(RwLock<Recent>);

#[derive(Default)]
struct Recent {
    /// How many there were before those in `users`.
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

    /// How many there ever were.
    pub(super) fn end(&self) -> u64 {
        self.0.read().end()
    }

    /// Those after the first `seen`; `None` if they are not remembered any more.
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
    fn whoever_is_behind_too_far_has_to_read_everything() {
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
    fn members_who_change_are_noted_until_they_are_too_many() {
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
