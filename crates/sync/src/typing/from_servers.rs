//! Users of other servers who type.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use replication::edus::EduReceiver;
use ruma::{OwnedRoomId, OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::StorageError;

use super::Typing;
use crate::from_servers::{member, readable};

/// How long a user of another server types if nothing else is heard: a server that goes away does not say that its users stop.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Content {
    room_id: OwnedRoomId,
    user_id: OwnedUserId,
    typing: bool,
}

/// <https://spec.matrix.org/v1.19/server-server-api/#typing-notifications>
impl EduReceiver for Typing {
    fn edu_type(&self) -> &'static str {
        "m.typing"
    }

    async fn receive(&self, origin: &ServerName, contents: &[Box<RawValue>]) -> Result<(), StorageError> {
        // What is said of a user last counts.
        let mut said = BTreeMap::new();
        for Content { room_id, user_id, typing } in readable(origin, contents) {
            let found = member((&self.database, &self.interned), origin, &room_id, &user_id).await?;
            said.extend(found.map(|member| (member, typing)));
        }
        let now = self.clock.now();
        let (mut begin, mut stop) = (Vec::new(), Vec::new());
        for ((room_sn, user_sn), types) in said {
            if types {
                begin.push(self.database.start_typing(room_sn, user_sn, now.plus(REMOTE_TIMEOUT)));
            } else if self.types(room_sn, user_sn).await? {
                stop.push((room_sn, user_sn));
            }
        }
        try_join_all(begin).await?;
        if !stop.is_empty() {
            self.database.stop_typing(stop, now).await?;
        }
        Ok(())
    }
}
