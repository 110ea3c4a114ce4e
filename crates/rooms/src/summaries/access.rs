//! Who may know of a room that they are not in.

use std::collections::{HashMap, HashSet};

use homeserver_core::{RoomSn, UserSn};
use room_engine::RoomVersion;
use ruma::{OwnedRoomId, RoomId, ServerName, UserId};
use storage::Membership;

use super::{RoomSummary, Summaries};
use crate::RoomError;

/// So many of the users who are invited to a room are looked at for those of a server.
const MAX_INVITED: i64 = 1_000;

/// Who asks for summaries.
#[derive(Clone, Copy, Debug)]
pub enum Viewer<'a> {
    /// A user of this server.
    User(UserSn),
    /// Another server, for any of its users.
    Server(&'a ServerName),
    /// Somebody who is not logged in.
    Anybody,
}

impl RoomSummary {
    /// Whether everybody may read the room, join it, or knock.
    fn is_open(&self) -> bool {
        let is_open_by_rule = match self.room.join_rule.as_deref() {
            // Another server that tells no rule means this one.
            None | Some("public") => true,
            Some("knock") => self.is_of(|version| version.rules().authorization.knocking),
            Some("knock_restricted") => self.is_of(|version| version.rules().authorization.knock_restricted_join_rule),
            _ => false,
        };
        self.room.world_readable || is_open_by_rule
    }

    /// Whether members of other rooms may join.
    fn is_restricted(&self) -> bool {
        match self.room.join_rule.as_deref() {
            Some("restricted") => self.is_of(|version| version.rules().authorization.restricted_join_rule),
            Some("knock_restricted") => self.is_of(|version| version.rules().authorization.knock_restricted_join_rule),
            _ => false,
        }
    }

    /// Whether the version of the room, as far as it is known, is one of these.
    fn is_of(&self, versions: fn(RoomVersion) -> bool) -> bool {
        let version = self.room_version.as_ref().and_then(|version| version.parse::<RoomVersion>().ok());
        version.is_none_or(versions)
    }

    /// The rooms whose members may join.
    fn allowed(&self) -> &[OwnedRoomId] {
        let allowed = self.allowed_room_ids.as_deref().unwrap_or_default();
        if self.is_restricted() { allowed } else { &[] }
    }
}

impl Summaries {
    /// Whether a user, or somebody who is not logged in, may know of a room that only others are in, by what they tell of it.
    ///
    /// # Errors
    /// [`RoomError::Storage`].
    pub async fn may_know(&self, viewer: Viewer<'_>, summary: &RoomSummary) -> Result<bool, RoomError> {
        let Viewer::User(user_sn) = viewer else { return Ok(summary.is_open()) };
        let places = self.places_of(user_sn, std::iter::once(summary)).await?;
        Ok(may_user_know(summary, &places))
    }

    /// Those of some rooms that who asks may know of.
    pub(super) async fn accessible(
        &self,
        rooms: &[(RoomSn, RoomSummary)],
        viewer: Viewer<'_>,
    ) -> Result<HashSet<RoomSn>, RoomError> {
        let mut accessible = HashSet::with_capacity(rooms.len());
        match viewer {
            Viewer::Anybody => {
                accessible.extend(rooms.iter().filter(|(_, room)| room.is_open()).map(|(room_sn, _)| *room_sn));
            }
            Viewer::User(user_sn) => {
                let places = self.places_of(user_sn, rooms.iter().map(|(_, room)| room)).await?;
                let known = rooms.iter().filter(|(_, room)| may_user_know(room, &places));
                accessible.extend(known.map(|(room_sn, _)| *room_sn));
            }
            Viewer::Server(server) => {
                for (room_sn, room) in rooms {
                    if self.may_server_know(server, *room_sn, room).await? {
                        accessible.insert(*room_sn);
                    }
                }
            }
        }
        Ok(accessible)
    }

    /// What a user is to some rooms, and to those whose members may join them.
    async fn places_of(
        &self,
        user_sn: UserSn,
        rooms: impl Iterator<Item = &RoomSummary>,
    ) -> Result<HashMap<OwnedRoomId, Membership>, RoomError> {
        let mut looked_at: HashSet<&RoomId> = HashSet::new();
        for room in rooms {
            looked_at.insert(&room.room.room_id);
            looked_at.extend(room.allowed().iter().map(|room_id| &**room_id));
        }
        let room_ids: Vec<String> = looked_at.into_iter().map(ToString::to_string).collect();
        let places = self.database.memberships_of_rooms(user_sn, &room_ids).await?;
        Ok(places.into_iter().filter_map(|(room_id, place)| Some((RoomId::parse(&*room_id).ok()?, place))).collect())
    }

    async fn may_server_know(
        &self,
        server: &ServerName,
        room_sn: RoomSn,
        room: &RoomSummary,
    ) -> Result<bool, RoomError> {
        if room.is_open() || self.room_servers.is_in(room_sn, server.as_str()).await? {
            return Ok(true);
        }
        for allowed in room.allowed() {
            if let Some(allowed_sn) = self.interned.find_room(allowed.as_str()).await?
                && self.room_servers.is_in(allowed_sn, server.as_str()).await?
            {
                return Ok(true);
            }
        }
        let invited = self.database.invited_users(room_sn, MAX_INVITED).await?;
        let mut invited = invited.iter().filter_map(|user_id| UserId::parse(&**user_id).ok());
        Ok(invited.any(|user_id| user_id.server_name() == server))
    }
}

fn may_user_know(room: &RoomSummary, places: &HashMap<OwnedRoomId, Membership>) -> bool {
    let is_member_of = |room_id: &OwnedRoomId| places.get(room_id) == Some(&Membership::Join);
    match places.get(&room.room.room_id) {
        Some(Membership::Join | Membership::Invite) => true,
        // Who is banned may not join, whatever the rule.
        Some(Membership::Ban) => room.room.world_readable,
        _ => room.is_open() || room.allowed().iter().any(is_member_of),
    }
}
