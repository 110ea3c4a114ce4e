//! The presence of users of other servers. It holds for half an hour if nothing else is heard: servers repeat it more often than that.

use std::collections::BTreeMap;
use std::time::Duration;

use homeserver_core::{Timestamp, UserSn};
use replication::edus::EduReceiver;
use ruma::{OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::{NewPresence, PresenceState, StorageError};

use super::{MAX_STATUS_MESSAGE_BYTES, Presences};
use crate::from_servers::readable;

/// Most users of one transaction: the rest is left out.
const MAX_USERS: usize = 1_000;

#[derive(Deserialize)]
struct Content {
    push: Vec<OfUser>,
}

#[derive(Deserialize)]
struct OfUser {
    user_id: OwnedUserId,
    presence: String,
    status_msg: Option<String>,
    /// In milliseconds.
    #[serde(default)]
    last_active_ago: u64,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#presence>
impl EduReceiver for Presences {
    fn edu_type(&self) -> &'static str {
        "m.presence"
    }

    async fn receive(&self, origin: &ServerName, contents: &[Box<RawValue>]) -> Result<(), StorageError> {
        if !self.options.enabled {
            return Ok(());
        }
        let users = readable::<Content>(origin, contents).into_iter().flat_map(|content| content.push);
        // What is said of a user last counts.
        let mut said = BTreeMap::new();
        for of_user in users.take(MAX_USERS) {
            let Some(state) = PresenceState::parse(&of_user.presence) else { continue };
            if let Some(user_sn) = self.visible_user(origin, &of_user.user_id).await? {
                said.insert(user_sn, self.change(user_sn, state, of_user));
            }
        }
        if said.is_empty() {
            return Ok(());
        }
        self.database.set_remote_presence(said.into_values().collect(), self.clock.now()).await
    }
}

impl Presences {
    /// The number of a user of `origin` who is in a room that this server knows.
    async fn visible_user(&self, origin: &ServerName, user_id: &OwnedUserId) -> Result<Option<UserSn>, StorageError> {
        if user_id.server_name() != origin {
            return Ok(None);
        }
        let Some(user_sn) = self.interned.find_user(user_id.as_str()).await? else { return Ok(None) };
        let is_in_a_room = !self.user_rooms.of_other(user_sn).await?.joined().is_empty();
        Ok(is_in_a_room.then_some(user_sn))
    }

    fn change(&self, user_sn: UserSn, state: PresenceState, of_user: OfUser) -> NewPresence {
        let message = of_user.status_msg.filter(|message| !message.is_empty());
        let message = message.filter(|message| message.len() <= MAX_STATUS_MESSAGE_BYTES);
        NewPresence {
            user_sn,
            state,
            devices: Vec::new(),
            status_message: Some(message.map(Into::into)),
            last_active_at: Some(
                self.clock.now().minus(Duration::from_millis(of_user.last_active_ago)).max(Timestamp(0)),
            ),
        }
    }
}
