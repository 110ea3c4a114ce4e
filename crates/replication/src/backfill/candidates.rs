//! Which servers may have the past of a room.

use homeserver_core::RoomSn;
use rooms::RoomError;
use ruma::{OwnedServerName, ServerName, UserId};
use storage::Gap;

use super::Backfill;

/// So many servers are asked one after the other.
const MAX_CANDIDATES: usize = 5;

impl Backfill {
    /// Servers to ask, best first: those whose users sent the events after the gap, then those whose users have been in the room, then
    /// those of which another server said that they are in it.
    pub(super) async fn candidates(&self, room_sn: RoomSn, gap: &Gap) -> Result<Vec<OwnedServerName>, RoomError> {
        let frontier: Vec<i64> = gap.frontier.iter().map(|sn| sn.0).collect();
        let mut users: Vec<Box<str>> = Vec::new();
        for event in self.parts.database.events(&frontier).await? {
            users.push((*self.parts.interned.user_id(event.sender_sn).await?).into());
        }
        users.extend(self.parts.database.some_joined_users(room_sn).await?);
        let told = self.parts.database.told_servers(room_sn).await?;
        let told = told.iter().filter_map(|server| ServerName::parse(server.as_str()).ok());
        let users = users.iter().filter_map(|user_id| UserId::parse(&**user_id).ok());
        let mut candidates: Vec<OwnedServerName> = Vec::new();
        for server in users.map(|user_id| user_id.server_name().to_owned()).chain(told) {
            let is_new = server != self.parts.identity.server_name && !candidates.contains(&server);
            if is_new && candidates.len() < MAX_CANDIDATES {
                candidates.push(server);
            }
        }
        Ok(candidates)
    }
}
