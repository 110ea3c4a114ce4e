//! Whom users ignore: what those say is not told to them.
//!
//! State events are told all the same, so that a room looks the same to everybody.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#ignoring-users>

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use homeserver_core::{Cache, HeapSize, UserSn};
use room_engine::string_value;
use serde::Deserialize;
use storage::{Database, LogEntry, LogObserver, StorageError, StoredEvent};

use crate::sessions::Requester;

/// Users whom one user ignores, the first by their IDs; further ones are not regarded.
const MAX_IGNORED: usize = 10_000;
/// The type of the account data.
const IGNORED_USER_LIST: &str = "m.ignored_user_list";

/// Whom the users of this server ignore, in memory. Follows the log.
pub struct IgnoredUsers {
    database: Database,
    users: Cache<UserSn, Ignored>,
}

/// Whom one user ignores.
#[derive(Clone, Default, Debug)]
pub struct Ignored(Option<Arc<HashSet<Box<str>>>>);

impl IgnoredUsers {
    /// Reads from `database` what is not remembered, and follows its log from now on. If this is started before what shows
    /// the log, a reader who sees a change of the list there finds it here.
    #[must_use]
    pub fn follow(database: &Database) -> Arc<Self> {
        let users = Cache::new(database.memory(), "ignored_users");
        let ignored = Arc::new(Self { database: database.clone(), users });
        database.observe(ignored.clone());
        ignored
    }

    /// Whom the reader ignores, who cannot be among them.
    ///
    /// # Errors
    /// [`StorageError`] if that cannot be read.
    pub async fn of(&self, reader: &Requester) -> Result<Ignored, StorageError> {
        let read = async {
            let content = self.database.account_data(reader.user_sn, None, IGNORED_USER_LIST).await?;
            Ok(content.map_or_else(Ignored::default, |content| Ignored::read(&content, reader.user_id.as_str())))
        };
        self.users.get_or_load(&reader.user_sn, read).await
    }
}

impl LogObserver<LogEntry> for IgnoredUsers {
    fn committed(&self, entries: &[LogEntry]) {
        for entry in entries {
            if let LogEntry::NotificationRules { user_sn, .. } = entry {
                self.users.remove(user_sn);
            }
        }
    }
}

impl Ignored {
    fn read(content: &[u8], reader: &str) -> Self {
        let users: HashSet<Box<str>> = ignored_users(content).filter(|user_id| **user_id != *reader).collect();
        Self((!users.is_empty()).then(|| Arc::new(users)))
    }

    /// Whether this user is ignored.
    #[must_use]
    pub fn has(&self, user_id: &str) -> bool {
        self.0.as_ref().is_some_and(|users| users.contains(user_id))
    }

    /// Whether nobody is ignored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether the event is not told: it is no state event, and the reader ignores its sender.
    #[must_use]
    pub fn hides(&self, event: &StoredEvent) -> bool {
        event.state_key_sn.is_none() && self.has_sent(event)
    }

    /// Whether somebody whom the reader ignores sent the event.
    #[must_use]
    pub fn has_sent(&self, event: &StoredEvent) -> bool {
        self.have_sent(&event.client_json)
    }

    /// The same of an event that is not stored, as canonical JSON.
    #[must_use]
    pub fn have_sent(&self, event: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|users| {
            let sender = room_engine::member(event, "sender").and_then(string_value);
            sender.is_some_and(|sender| users.contains(&*sender))
        })
    }
}

impl HeapSize for Ignored {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

/// The users in an [`m.ignored_user_list`](https://spec.matrix.org/v1.19/client-server-api/#mignored_user_list).
pub fn ignored_users(content: &[u8]) -> impl Iterator<Item = Box<str>> + use<> {
    #[derive(Deserialize)]
    struct IgnoredUserList {
        ignored_users: BTreeMap<Box<str>, serde::de::IgnoredAny>,
    }
    // What clients wrote there may be anything.
    let list = serde_json::from_slice::<IgnoredUserList>(content).map(|list| list.ignored_users);
    list.unwrap_or_default().into_keys().take(MAX_IGNORED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_users_are_read_from_whatever_clients_wrote() {
        let of = |content: &str| ignored_users(content.as_bytes()).collect::<Vec<_>>();
        assert_eq!(of(r#"{"ignored_users":{"@a:x":{},"@b:x":5}}"#), [Box::from("@a:x"), Box::from("@b:x")]);
        for content in ["{}", "[]", r#"{"ignored_users":[]}"#, r#"{"ignored_users":5}"#] {
            assert!(of(content).is_empty(), "{content}");
        }
    }

    #[test]
    fn nobody_ignores_themselves() {
        assert!(Ignored::read(br#"{"ignored_users":{"@me:x":{}}}"#, "@me:x").0.is_none());
        assert_eq!(Ignored::read(br#"{"ignored_users":{"@me:x":{},"@a:x":{}}}"#, "@me:x").0.unwrap().len(), 1);
    }
}
