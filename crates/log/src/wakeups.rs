//! The requests that wait for something new.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use homeserver_core::UserSn;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::oneshot;

/// A waiting request's side of an entry. Resolves when there may be something new for the user.
pub type Wakeup = oneshot::Receiver<()>;

/// One entry for each waiting request, by user. Nothing is registered with rooms, and nobody polls.
#[derive(Default)]
pub struct Wakeups {
    waiting: Mutex<HashMap<UserSn, SmallVec<[oneshot::Sender<()>; 1]>>>,
    woken: AtomicU64,
}

impl Wakeups {
    /// Enters a request. The request must look once more for something new before it waits.
    pub fn enter(&self, user_sn: UserSn) -> Wakeup {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        let entries = waiting.entry(user_sn).or_default();
        // Requests that gave up leave their entries behind.
        entries.retain(|entry| !entry.is_closed());
        entries.push(sender);
        receiver
    }

    /// Removes the entries of requests that gave up.
    pub fn leave(&self, user_sn: UserSn) {
        let mut waiting = self.waiting.lock();
        if let Some(entries) = waiting.get_mut(&user_sn) {
            entries.retain(|entry| !entry.is_closed());
            if entries.is_empty() {
                waiting.remove(&user_sn);
            }
        }
    }

    /// The users who wait.
    #[must_use]
    pub fn users(&self) -> Vec<UserSn> {
        self.waiting.lock().keys().copied().collect()
    }

    /// Wakes everybody among `users` who waits.
    pub fn wake(&self, users: impl IntoIterator<Item = UserSn>) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            return;
        }
        for user_sn in users {
            for entry in waiting.remove(&user_sn).into_iter().flatten() {
                self.wake_one(entry);
            }
        }
    }

    /// Wakes everybody among the members of a room who waits. Work grows with the smaller of the two.
    pub fn wake_members(&self, members: &HashSet<UserSn>) {
        let mut waiting = self.waiting.lock();
        let woken = if waiting.len() < members.len() {
            waiting.extract_if(|user_sn, _| members.contains(user_sn)).map(|(_, entries)| entries).collect::<Vec<_>>()
        } else {
            members.iter().filter_map(|user_sn| waiting.remove(user_sn)).collect()
        };
        drop(waiting);
        woken.into_iter().flatten().for_each(|entry| self.wake_one(entry));
    }

    /// Wakes everybody who waits.
    pub fn wake_all(&self) {
        let all = std::mem::take(&mut *self.waiting.lock());
        all.into_values().flatten().for_each(|entry| self.wake_one(entry));
    }

    fn wake_one(&self, entry: oneshot::Sender<()>) {
        // A request that gave up is not counted.
        if entry.send(()).is_ok() {
            self.woken.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often a request that waited was woken.
    #[must_use]
    pub fn woken(&self) -> u64 {
        self.woken.load(Ordering::Relaxed)
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.lock().values().map(SmallVec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_who_wait_are_woken_whether_they_or_the_waiting_are_more() {
        for (waiting, members) in [(0..10, 5..100), (0..100, 95..100), (0..3, 3..5)] {
            let wakeups = Wakeups::default();
            let mut entries: HashMap<UserSn, Wakeup> =
                waiting.map(UserSn).map(|user_sn| (user_sn, wakeups.enter(user_sn))).collect();
            let members: HashSet<UserSn> = members.map(UserSn).collect();
            wakeups.wake_members(&members);
            for (user_sn, entry) in &mut entries {
                assert_eq!(entry.try_recv().is_ok(), members.contains(user_sn), "{user_sn:?}");
            }
            assert_eq!(wakeups.waiting(), entries.keys().filter(|user_sn| !members.contains(user_sn)).count());
        }
    }
}
