//! Joining, inviting, leaving, and the other changes of memberships.

mod all_rooms;
mod change;

use std::sync::Arc;

use accounts::profiles::Profiles;
use accounts::rate_limits::{LimitedAction, RateLimits};
use accounts::sessions::Requester;
use homeserver_core::Identity;
use room_engine::Membership;
use ruma::{OwnedEventId, OwnedRoomId, RoomId, RoomOrAliasId, UserId};
use storage::{Database, Interned};

pub use self::all_rooms::ReportProgress;
use self::change::{Action, Change};
use super::aliases::Aliases;
use super::member_content::ContentMap;
use super::{RoomError, Timeline};

/// Changes memberships of rooms.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#room-membership>
pub struct Memberships {
    pub(super) database: Database,
    pub(super) interned: Arc<Interned>,
    pub(super) identity: Arc<Identity>,
    pub(super) timeline: Arc<Timeline>,
    aliases: Arc<Aliases>,
    pub(super) profiles: Arc<Profiles>,
    pub(super) rate_limits: Arc<RateLimits>,
}

impl Memberships {
    /// Memberships of the rooms in `database`.
    #[must_use]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        identity: Arc<Identity>,
        timeline: Arc<Timeline>,
        aliases: Arc<Aliases>,
        profiles: Arc<Profiles>,
        rate_limits: Arc<RateLimits>,
    ) -> Self {
        Self { database, interned, identity, timeline, aliases, profiles, rate_limits }
    }

    /// Joins a room, and returns its ID. `content` goes into the member event.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if there is no such room or alias, and what the rules of the room refuse.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn join(
        &self,
        requester: &Requester,
        room: &RoomOrAliasId,
        mut content: ContentMap,
    ) -> Result<OwnedRoomId, RoomError> {
        content.remove("third_party_signed");
        self.enter(requester, room, Membership::Join, content).await
    }

    /// Knocks on a room, and returns its ID.
    ///
    /// # Errors
    /// As [`Memberships::join`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn knock(
        &self,
        requester: &Requester,
        room: &RoomOrAliasId,
        reason: Option<String>,
    ) -> Result<OwnedRoomId, RoomError> {
        self.enter(requester, room, Membership::Knock, with_reason(reason)).await
    }

    async fn enter(
        &self,
        requester: &Requester,
        room: &RoomOrAliasId,
        membership: Membership,
        content: ContentMap,
    ) -> Result<OwnedRoomId, RoomError> {
        let room_id = self.aliases.room_of(room).await?;
        let change = Change { target: &requester.user_id, membership, action: Action::Plain, content };
        match self.apply(requester, &room_id, change).await {
            Ok(_) => Ok(room_id),
            Err(RoomError::NoSuchRoom) => {
                if membership == Membership::Join {
                    self.rate_limits.spend_by_user(LimitedAction::JoinsRemote, requester)?.keep();
                }
                Err(RoomError::NotFound(format!(
                    "The room {room} is not known here, and no other server can be asked for it."
                )))
            }
            Err(error) => Err(error),
        }
    }

    /// Invites a user.
    ///
    /// # Errors
    /// What the rules of the room refuse.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn invite(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        self.change(requester, room_id, target, (Action::Plain, Membership::Invite), reason).await
    }

    /// Leaves a room, declines an invitation, or withdraws a knock.
    ///
    /// # Errors
    /// What the rules of the room refuse.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn leave(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        self.change(requester, room_id, &requester.user_id, (Action::Plain, Membership::Leave), reason).await
    }

    /// Bans a user.
    ///
    /// # Errors
    /// What the rules of the room refuse.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn ban(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        self.change(requester, room_id, target, (Action::Plain, Membership::Ban), reason).await
    }

    /// Removes a user from the room, or withdraws an invitation.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] if the user is not in the room, and what its rules refuse.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn kick(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        self.change(requester, room_id, target, (Action::Kick, Membership::Leave), reason).await
    }

    /// Lifts a ban.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] if the user is not banned, and what the room's rules refuse.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn unban(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        self.change(requester, room_id, target, (Action::Unban, Membership::Leave), reason).await
    }

    async fn change(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        target: &UserId,
        (action, membership): (Action, Membership),
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        let change = Change { target, membership, action, content: with_reason(reason) };
        self.apply(requester, room_id, change).await.map(drop)
    }

    /// Sets a member event with the given content, and returns its ID; that of the present one if it says the same.
    ///
    /// # Errors
    /// [`RoomError::Malformed`] if the content has no valid `membership`, and what the rules of the room refuse.
    #[tracing::instrument(name = "set_membership", level = "debug", skip_all)]
    pub async fn set(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        target: &UserId,
        content: ContentMap,
    ) -> Result<OwnedEventId, RoomError> {
        let membership = content.get("membership").and_then(|word| Membership::parse(word.as_str()?));
        let membership = membership.ok_or_else(|| {
            RoomError::Malformed("`membership` must be one of join, invite, leave, ban and knock.".to_owned())
        })?;
        self.apply(requester, room_id, Change { target, membership, action: Action::Plain, content }).await
    }

    /// Forgets a room that the user has left.
    ///
    /// # Errors
    /// [`RoomError::StillInRoom`] if the user has not left.
    pub async fn forget(&self, requester: &Requester, room_id: &RoomId) -> Result<(), RoomError> {
        let room_sn = self.timeline.find(room_id).await?;
        let membership = self.database.membership(room_sn, requester.user_sn).await?;
        if membership.is_none() {
            return Err(RoomError::NotInRoom);
        }
        if !self.database.forget_room(room_sn, requester.user_sn).await? {
            return Err(RoomError::StillInRoom);
        }
        Ok(())
    }
}

fn with_reason(reason: Option<String>) -> ContentMap {
    reason.map(|reason| ("reason".to_owned(), reason.into())).into_iter().collect()
}

/// Why a user of another server cannot be invited.
pub(super) fn no_other_servers(user_id: &UserId) -> RoomError {
    RoomError::Forbidden(format!("{user_id} cannot be invited: this server does not reach other servers."))
}
