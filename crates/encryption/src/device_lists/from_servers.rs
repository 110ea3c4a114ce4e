//! Users of other servers whose keys have changed. Their keys are not kept here: clients that ask for them have their server asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use event_log::UserRoomsCache;
use replication::edus::EduReceiver;
use ruma::{OwnedUserId, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::{Database, Interned, StorageError};

/// The types of EDUs that tell of it: the keys of a device, and those by which a user signs.
const EDU_TYPES: [&str; 2] = ["m.device_list_update", "m.signing_key_update"];

/// Writes into the log that the keys of users of other servers have changed, so that clients ask for them again.
pub struct RemoteDeviceLists {
    database: Database,
    interned: Arc<Interned>,
    user_rooms: Arc<UserRoomsCache>,
    edu_type: &'static str,
}

#[derive(Deserialize)]
struct Content {
    user_id: OwnedUserId,
}

impl RemoteDeviceLists {
    /// One receiver for each type of EDU that tells of changed keys.
    #[must_use]
    pub fn receivers(
        database: &Database,
        interned: &Arc<Interned>,
        user_rooms: &Arc<UserRoomsCache>,
    ) -> [Arc<Self>; 2] {
        EDU_TYPES.map(|edu_type| {
            let (database, interned, user_rooms) = (database.clone(), interned.clone(), user_rooms.clone());
            Arc::new(Self { database, interned, user_rooms, edu_type })
        })
    }
}

/// <https://spec.matrix.org/v1.19/server-server-api/#device-management>
impl EduReceiver for RemoteDeviceLists {
    fn edu_type(&self) -> &'static str {
        self.edu_type
    }

    async fn receive(&self, origin: &ServerName, contents: &[Box<RawValue>]) -> Result<(), StorageError> {
        let mut changed = BTreeSet::new();
        for content in contents {
            let Ok(Content { user_id }) = serde_json::from_str(content.get()) else { continue };
            if user_id.server_name() != origin {
                continue;
            }
            let known = self.interned.find_user(user_id.as_str()).await?;
            let is_in_a_room = match known {
                Some(user_sn) => !self.user_rooms.of_other(user_sn).await?.joined().is_empty(),
                None => false,
            };
            // Others are nobody's concern here, unless they may be in a room of which not all members are known.
            if !is_in_a_room && self.database.rooms_told_of_server(origin.as_str()).await?.is_empty() {
                continue;
            }
            changed.insert(match known {
                Some(user_sn) => user_sn,
                None => self.interned.user(user_id.as_str()).await?,
            });
        }
        if changed.is_empty() {
            return Ok(());
        }
        self.database.note_device_list_changes(changed.into_iter().collect()).await
    }
}
