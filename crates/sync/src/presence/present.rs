//! The users who are not offline, as the log tells.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use homeserver_core::UserSn;
use parking_lot::{Mutex, RwLock};
use storage::{LogEntry, LogObserver, Presence, PresenceState};

/// The users who are not offline.
#[derive(Default)]
pub(super) struct PresentUsers {
    pub(super) users: RwLock<HashMap<UserSn, Arc<Presence>>>,
    /// Users whose presence has changed since waiting requests were last woken.
    pub(super) changed: Mutex<HashSet<UserSn>>,
}

impl PresentUsers {
    pub(super) fn restore(&self, stored: Vec<Presence>) {
        let mut users = self.users.write();
        for presence in stored {
            // The log may have told something newer in the meantime.
            users.entry(presence.user_sn).or_insert_with(|| Arc::new(presence));
        }
    }

    pub(super) fn state(&self, user_sn: UserSn) -> PresenceState {
        self.users.read().get(&user_sn).map_or(PresenceState::Offline, |presence| presence.state)
    }
}

impl LogObserver<LogEntry> for PresentUsers {
    fn committed(&self, entries: &[LogEntry]) {
        for entry in entries {
            let LogEntry::Presence(presence) = entry else { continue };
            if presence.state == PresenceState::Offline {
                self.users.write().remove(&presence.user_sn);
            } else {
                self.users.write().insert(presence.user_sn, presence.clone());
            }
            self.changed.lock().insert(presence.user_sn);
        }
    }
}
