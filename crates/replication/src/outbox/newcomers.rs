//! Users of this server who come into a room of servers that have not been told of their devices.
//!
//! A server that already shares a room with the user has been told of every change. Another one may have asked for the user's keys before
//! it was to be told of changes, so it is told of one.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#device-management>

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use homeserver_core::{RoomSn, UserSn};
use ruma::{OwnedServerName, ServerName};
use storage::{Due, OutgoingEvent, StorageError};

use super::Outbox;
use super::following::is_join;

impl Outbox {
    /// Tells servers of the devices of users who have come into their rooms by these events. `servers_of` has the servers of the rooms.
    pub(super) async fn introduce_newcomers(
        self: &Arc<Self>,
        events: &[(Due, OutgoingEvent)],
        servers_of: &HashMap<RoomSn, Vec<Arc<str>>>,
    ) -> Result<(), StorageError> {
        for (due, event) in events {
            let is_ours = |user_id: &&str| self.is_local(user_id) && is_join(&event.client_json);
            let member = event.member.as_deref().filter(is_ours);
            let Some(user_id) = member else { continue };
            let Some(user_sn) = self.parts.interned.find_user(user_id).await? else { continue };
            let in_room = servers_of.get(&due.room_sn).map(Vec::as_slice).unwrap_or_default();
            self.introduce(user_sn, due, in_room).await?;
        }
        Ok(())
    }

    /// Tells the servers in a room of the devices of a user who has come into it.
    pub(super) async fn introduce(
        self: &Arc<Self>,
        user_sn: UserSn,
        due: &Due,
        in_room: &[Arc<str>],
    ) -> Result<(), StorageError> {
        let database = &self.parts.database;
        // Users who were in the room have changed their profiles.
        if !database.has_entered_at(user_sn, due.room_sn, due.position).await? {
            return Ok(());
        }
        let mut known: BTreeSet<Arc<str>> = BTreeSet::new();
        for room_sn in self.parts.edus.rooms_of(user_sn).await? {
            if room_sn != due.room_sn {
                known.extend(self.parts.room_servers.of(room_sn).await?);
            }
        }
        let new = in_room.iter().filter(|server| !known.contains(*server));
        let new: Vec<OwnedServerName> = new.filter_map(|server| ServerName::parse(&**server).ok()).collect();
        let changed_at = database.device_list_changed_at(user_sn).await?.unwrap_or(due.position);
        if !new.is_empty()
            && let Some(edu) = self.parts.edus.device_list(user_sn, changed_at).await?
        {
            let to_serve = self.state.lock().hand_edu(&edu, &new);
            to_serve.into_iter().for_each(|server| self.spawn(server));
        }
        Ok(())
    }
}
