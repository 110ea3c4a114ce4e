//! What other servers tell of changes of their users' keys.
//!
//! Each change names the one before it. As long as none is missing, the keys that are kept are changed as it says. Otherwise they count as
//! outdated, and [a job](super::ResyncDeviceLists) asks for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::{Clock, UserSn};
use replication::edus::EduReceiver;
use ruma::{OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;
use storage::{Database, Interned, RemoteDeviceList, StorageError};
use tasks::queue::Job as _;

use super::ResyncDeviceLists;
use crate::keys::KeptKeys;

/// A device was changed.
const DEVICE_LIST_UPDATE: &str = "m.device_list_update";
/// The types of EDUs that tell of it: the keys of a device, and those by which a user signs.
const EDU_TYPES: [&str; 2] = [DEVICE_LIST_UPDATE, "m.signing_key_update"];
/// While so many users of a server wait to be asked for, it names no further ones.
const MAX_WAITING: i64 = 500;
/// The longest ID of a device.
const MAX_DEVICE_ID_BYTES: usize = 255;

/// Takes in that the keys of users of other servers have changed.
pub struct RemoteDeviceLists {
    database: Database,
    interned: Arc<Interned>,
    clock: Arc<dyn Clock>,
    edu_type: &'static str,
}

#[derive(Deserialize)]
struct OfUser {
    user_id: OwnedUserId,
}

/// A change of one device.
#[derive(Deserialize)]
struct Change {
    device_id: Box<str>,
    stream_id: i64,
    #[serde(default)]
    prev_id: Vec<i64>,
    #[serde(default)]
    deleted: Option<bool>,
    #[serde(default)]
    keys: Option<Box<RawValue>>,
    #[serde(default)]
    device_display_name: Option<String>,
}

/// What is told of one user: changes in their order, or `None` if not all of it says what has changed.
type Told = Option<Vec<Change>>;

impl RemoteDeviceLists {
    /// One receiver for each type of EDU that tells of changed keys.
    #[must_use]
    pub fn receivers(database: &Database, interned: &Arc<Interned>, clock: &Arc<dyn Clock>) -> [Arc<Self>; 2] {
        EDU_TYPES.map(|edu_type| {
            let (database, interned, clock) = (database.clone(), interned.clone(), clock.clone());
            Arc::new(Self { database, interned, clock, edu_type })
        })
    }

    async fn take(&self, origin: &ServerName, contents: &[Box<RawValue>]) -> Result<(), StorageError> {
        let mut told: BTreeMap<OwnedUserId, Told> = BTreeMap::new();
        for content in contents {
            let Ok(OfUser { user_id }) = serde_json::from_str(content.get()) else { continue };
            if user_id.server_name() != origin {
                continue;
            }
            let change =
                (self.edu_type == DEVICE_LIST_UPDATE).then(|| serde_json::from_str(content.get()).ok()).flatten();
            match (told.entry(user_id).or_insert_with(|| Some(Vec::new())), change) {
                (Some(changes), Some(change)) => changes.push(change),
                (told, _) => *told = None,
            }
        }
        if told.is_empty() {
            return Ok(());
        }
        // They may be in a room of which not all members are known.
        let may_be_anybody = !self.database.rooms_told_of_server(origin.as_str()).await?.is_empty()
            && self.has_room_for_strangers(origin).await?;
        let mut known = BTreeMap::new();
        for (user_id, told) in told {
            let user_sn = match self.interned.find_user(user_id.as_str()).await? {
                None if may_be_anybody => Some(self.interned.user(user_id.as_str()).await?),
                found => found,
            };
            if let Some(user_sn) = user_sn {
                known.insert(user_sn, (user_id, told));
            }
        }
        let numbers: Vec<i64> = known.keys().map(|user_sn| user_sn.0).collect();
        let lists = self.database.remote_device_lists(&numbers).await?;
        let lists: BTreeMap<UserSn, RemoteDeviceList> = lists.into_iter().map(|list| (list.user_sn, list)).collect();
        let concerned = match may_be_anybody {
            true => known.keys().copied().collect(),
            // Others are nobody's concern here.
            false => self.database.users_sharing_rooms(&numbers).await?,
        };
        let mut outdated = Vec::new();
        for user_sn in concerned {
            let Some((user_id, told)) = known.get(&user_sn) else { continue };
            if !self.change(user_id, lists.get(&user_sn), told).await? {
                outdated.push(user_sn);
            }
        }
        self.outdate(origin, outdated).await
    }

    /// Whether a server may still name users who are not known here: as long as not too many of its users wait to be asked for.
    async fn has_room_for_strangers(&self, origin: &ServerName) -> Result<bool, StorageError> {
        let server_sn = self.interned.server(origin.as_str()).await?;
        let waiting = self.database.outdated_device_lists(server_sn, UserSn(0), MAX_WAITING).await?;
        Ok(i64::try_from(waiting.len()).is_ok_and(|waiting| waiting < MAX_WAITING))
    }

    /// Changes the keys that are kept of a user as was told. Returns whether that can be done.
    async fn change(
        &self,
        user_id: &UserId,
        list: Option<&RemoteDeviceList>,
        told: &Told,
    ) -> Result<bool, StorageError> {
        let (Some(list), Some(changes)) = (list.filter(|list| list.is_current), told) else { return Ok(false) };
        let (Some(stream_id), Some(keys)) = (list.stream_id, &list.keys) else { return Ok(false) };
        let mut kept = KeptKeys::read(keys)?;
        let Some(last) = apply(&mut kept, user_id, stream_id, changes) else { return Ok(false) };
        if last == stream_id {
            return Ok(true);
        }
        let Some(stored) = kept.stored() else { return Ok(false) };
        self.store(list, last, stored).await
    }

    async fn store(&self, list: &RemoteDeviceList, stream_id: i64, keys: Bytes) -> Result<bool, StorageError> {
        let (user_sn, version) = (list.user_sn, list.version);
        self.database
            .write(async move |tx| tx.change_remote_device_list(user_sn, version, stream_id, &keys).await)
            .await
    }

    async fn outdate(&self, server: &ServerName, users: Vec<UserSn>) -> Result<(), StorageError> {
        if users.is_empty() {
            return Ok(());
        }
        let server_sn = self.interned.server(server.as_str()).await?;
        let (job, now) = (ResyncDeviceLists { server: server.to_owned() }, self.clock.now());
        self.database
            .write(async move |tx| {
                tx.outdate_remote_device_lists(server_sn, &users).await?;
                job.schedule(tx, now).await.map(drop)
            })
            .await
    }
}

/// Changes the keys of a user, of whose changes `stream_id` is the last one that is known. Returns the number of the last change; `None`
/// if one is missing before one of these.
fn apply(kept: &mut KeptKeys, user_id: &UserId, stream_id: i64, changes: &[Change]) -> Option<i64> {
    let mut known = vec![stream_id];
    for change in changes {
        // It is told again.
        if known.contains(&change.stream_id) {
            continue;
        }
        let follows = !change.prev_id.is_empty() && change.prev_id.iter().all(|before| known.contains(before));
        if !follows || change.device_id.len() > MAX_DEVICE_ID_BYTES {
            return None;
        }
        let name = change.device_display_name.as_deref();
        let keys = change.keys.as_ref().filter(|_| change.deleted != Some(true));
        match keys.map(|keys| KeptKeys::device(keys, user_id, &change.device_id, name)) {
            Some(Some(keys)) => drop(kept.devices.insert(change.device_id.clone(), keys)),
            // Keys that clients cannot read are as good as none.
            Some(None) | None => drop(kept.devices.remove(&change.device_id)),
        }
        known.push(change.stream_id);
    }
    known.last().copied()
}

/// <https://spec.matrix.org/v1.19/server-server-api/#device-management>
impl EduReceiver for RemoteDeviceLists {
    fn edu_type(&self) -> &'static str {
        self.edu_type
    }

    async fn receive(&self, origin: &ServerName, contents: &[Box<RawValue>]) -> Result<(), StorageError> {
        self.take(origin, contents).await
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;
    use serde_json::json;

    use super::*;

    fn change(device_id: &str, stream_id: i64, prev_id: &[i64], keys: bool) -> Change {
        let told = json!({ "user_id": "@b:b.example", "device_id": device_id, "n": stream_id });
        let change = json!({
            "device_id": device_id, "stream_id": stream_id, "prev_id": prev_id, "deleted": !keys,
            "keys": keys.then_some(told), "device_display_name": "phone",
        });
        serde_json::from_value(change).unwrap()
    }

    #[test]
    fn changes_are_taken_over_as_long_as_none_is_missing() {
        let user_id = user_id!("@b:b.example");
        let mut kept = KeptKeys::default();
        let changes = [change("A", 8, &[5], true), change("B", 9, &[8], true), change("A", 9, &[1], false)];
        assert_eq!(apply(&mut kept, user_id, 5, &changes), Some(9), "what was told already is passed over");
        assert_eq!(kept.devices.len(), 2);
        assert!(kept.devices["A"].get().contains(r#""unsigned":{"device_display_name":"phone"}"#));
        assert_eq!(apply(&mut kept, user_id, 9, &[change("A", 12, &[9], false)]), Some(12));
        assert_eq!(kept.devices.len(), 1);
        for (stream_id, prev_id) in [(13, &[11][..]), (13, &[]), (13, &[12, 11])] {
            assert_eq!(apply(&mut kept, user_id, 12, &[change("C", stream_id, prev_id, true)]), None);
        }
        assert_eq!(apply(&mut kept, user_id!("@eve:b.example"), 12, &[change("B", 13, &[12], true)]), Some(13));
        assert!(kept.devices.is_empty(), "keys of somebody else are none");
    }
}
