//! Joining a restricted room as a member of another room.

use std::sync::Arc;

use homeserver_core::{Identity, RoomSn, UserSn};
use room_engine::auth::{PowerLevel, PowerLevels};
use room_engine::{JoinRule, Membership, Pdu, elements, string_value};
use ruma::{OwnedUserId, RoomId, UserId};
use storage::{Database, Interned};

use super::{OpenRoom, RoomError};
use crate::wire;

/// The most conditions of `allow` that are looked at.
const MAX_CONDITIONS: usize = 100;
/// If no user with a level of their own may invite, so many other members are looked at.
const MAX_ORDINARY_MEMBERS: i64 = 10;

/// Finds the user who authorises the join of another user.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms>
pub(super) struct RestrictedJoin<'a> {
    pub(super) database: &'a Database,
    pub(super) interned: &'a Arc<Interned>,
    pub(super) identity: &'a Arc<Identity>,
    pub(super) room_sn: RoomSn,
}

impl RestrictedJoin<'_> {
    /// The user for `join_authorised_via_users_server`; `None` if the room is not restricted. The user who joins has no number if this
    /// server has never heard of the user.
    pub(super) async fn authorising_user(
        &self,
        room: &mut OpenRoom,
        joining: Option<UserSn>,
    ) -> Result<Option<OwnedUserId>, RoomError> {
        let Some(join_rules) = room.state("m.room.join_rules", "").await? else { return Ok(None) };
        let rules = &room.room_version()?.rules().authorization;
        let is_restricted = match JoinRule::of_content(Some(join_rules.content())) {
            JoinRule::Restricted => rules.restricted_join_rule,
            JoinRule::KnockRestricted => rules.knock_restricted_join_rule,
            _ => false,
        };
        if !is_restricted {
            return Ok(None);
        }
        self.check_conditions(&join_rules, joining).await?;
        self.member_who_may_invite(room).await?.map(Some).ok_or(RoomError::UnableToGrantJoin)
    }

    /// Checks that the user is in one of the rooms whose members may join, as far as this server is in these rooms.
    async fn check_conditions(&self, join_rules: &Pdu, joining: Option<UserSn>) -> Result<(), RoomError> {
        let mut knows_all = true;
        let conditions = join_rules.content().value("allow").unwrap_or_default();
        for condition in elements(conditions).take(MAX_CONDITIONS) {
            let text = |key| wire::member(condition, key).and_then(string_value);
            let (Some(kind), Some(room_id)) = (text("type"), text("room_id")) else { continue };
            if kind != "m.room_membership" || <&RoomId>::try_from(&*room_id).is_err() {
                continue;
            }
            let other_sn = match self.interned.find_room(&room_id).await? {
                Some(other_sn) if self.database.is_in_room(other_sn).await? => other_sn,
                _ => {
                    knows_all = false;
                    continue;
                }
            };
            let Some(user_sn) = joining else { continue };
            let in_other = self.database.membership(other_sn, user_sn).await?;
            if in_other.is_some_and(|it| it.membership == Membership::Join) {
                return Ok(());
            }
        }
        if !knows_all {
            return Err(RoomError::UnableToAuthoriseJoin);
        }
        let sentence = "You are not invited to this room, and not in a room whose members may join it.";
        Err(RoomError::Forbidden(sentence.to_owned()))
    }

    /// Looks at users with a level of their own first, so that the members need not be listed.
    async fn member_who_may_invite(&self, room: &mut OpenRoom) -> Result<Option<OwnedUserId>, RoomError> {
        let levels = room.power_levels().await?;
        for user_id in self.privileged(room, &levels).await? {
            if room.membership(&user_id).await? == Some(Membership::Join) {
                return Ok(Some(user_id));
            }
        }
        for user_sn in self.database.some_local_members(self.room_sn, MAX_ORDINARY_MEMBERS).await? {
            let user_id = self.interned.user_id(user_sn).await?;
            let Ok(user_id) = UserId::parse(&*user_id) else { continue };
            if may_invite(&levels, &user_id) && room.membership(&user_id).await? == Some(Membership::Join) {
                return Ok(Some(user_id));
            }
        }
        Ok(None)
    }

    /// The users of this server who may invite by a level of their own, or because they created the room; highest first.
    async fn privileged(&self, room: &mut OpenRoom, levels: &PowerLevels) -> Result<Vec<OwnedUserId>, RoomError> {
        let mut users = Vec::new();
        if let Some(create) = room.state("m.room.create", "").await? {
            users.push(create.sender().to_owned());
            users.extend(create.create()?.additional_creators.iter().flatten().cloned());
        }
        if let Some(event) = room.state("m.room.power_levels", "").await? {
            users.extend(event.power_levels()?.users.keys().cloned());
        }
        users.retain(|user_id| self.identity.is_local(user_id) && may_invite(levels, user_id));
        users.sort_by_key(|user_id| std::cmp::Reverse(levels.user_level(user_id)));
        users.dedup();
        Ok(users)
    }
}

fn may_invite(levels: &PowerLevels, user_id: &UserId) -> bool {
    levels.user_level(user_id) >= PowerLevel::Finite(levels.invite())
}
