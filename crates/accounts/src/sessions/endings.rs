//! Tells requests that wait that their session has ended.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use homeserver_core::UserSn;
use parking_lot::Mutex;
use storage::TokenHash;
use tokio::sync::Notify;

/// The least number of sessions for which the table is searched for sessions that no request uses any more.
const LEAST_TO_PRUNE: usize = 1_024;

/// Whether one session has ended. All requests of the session share it, also after it was dropped from the cache.
#[derive(Default, Debug)]
pub(super) struct Ending {
    has_ended: AtomicBool,
    waiting: Notify,
}

impl Ending {
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Waits until the session has ended.
    pub(super) async fn wait(&self) {
        // Made before the look: what comes in between is noticed.
        let notified = self.waiting.notified();
        if !self.has_ended() {
            notified.await;
        }
    }

    fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.waiting.notify_waiters();
    }
}

/// The sessions that this process knows of.
#[derive(Default)]
pub(super) struct Endings {
    sessions: Mutex<KnownSessions>,
    /// Grows with each change of a session. A request that has read a session meanwhile reads it again.
    changes: AtomicU64,
}

#[derive(Default)]
struct KnownSessions {
    known: HashMap<TokenHash, (UserSn, Weak<Ending>)>,
    /// How many were left when unused sessions were last removed.
    left: usize,
}

impl Endings {
    /// The ending of a session. All requests of the session share it.
    pub(super) fn of(&self, hash: TokenHash, user_sn: UserSn) -> Arc<Ending> {
        let mut sessions = self.sessions.lock();
        if let Some(ending) = sessions.known.get(&hash).and_then(|(_, ending)| ending.upgrade()) {
            return ending;
        }
        if sessions.known.len() >= LEAST_TO_PRUNE.max(2 * sessions.left) {
            sessions.known.retain(|_, (_, ending)| ending.strong_count() > 0);
            sessions.left = sessions.known.len();
        }
        let ending = Arc::<Ending>::default();
        sessions.known.insert(hash, (user_sn, Arc::downgrade(&ending)));
        ending
    }

    /// How often sessions were changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Says that sessions are changing, before what is remembered of them is forgotten.
    pub(super) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends a session for the requests that wait.
    pub(super) fn end(&self, hash: &TokenHash) {
        let known = self.sessions.lock().known.remove(hash);
        if let Some(ending) = known.and_then(|(_, ending)| ending.upgrade()) {
            ending.end();
        }
    }

    /// The sessions of some users.
    pub(super) fn of_users(&self, users: &HashSet<UserSn>) -> Vec<TokenHash> {
        let sessions = self.sessions.lock();
        sessions.known.iter().filter(|(_, (user_sn, _))| users.contains(user_sn)).map(|(hash, _)| *hash).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_request_that_waits_is_told_of_the_end_of_its_session_and_of_no_other() {
        let endings = Endings::default();
        let (ended, other) = (endings.of([1; 32], UserSn(1)), endings.of([2; 32], UserSn(1)));
        let waiting = tokio::spawn({
            let ended = ended.clone();
            async move { ended.wait().await }
        });
        tokio::task::yield_now().await;
        endings.end(&[1; 32]);
        tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
        ended.wait().await;
        assert!(ended.has_ended() && !other.has_ended());
    }

    #[test]
    fn sessions_that_nobody_knows_any_more_are_removed() {
        let endings = Endings::default();
        let kept = endings.of([255; 32], UserSn(7));
        for number in 0..10 * LEAST_TO_PRUNE {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            drop(endings.of(hash, UserSn(1)));
        }
        assert!(endings.sessions.lock().known.len() <= 2 * LEAST_TO_PRUNE);
        assert!(Arc::ptr_eq(&kept, &endings.of([255; 32], UserSn(7))));
        assert_eq!(endings.of_users(&HashSet::from([UserSn(7)])), [[255; 32]]);
    }
}
