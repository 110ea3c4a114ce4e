//! Getting into rooms and out of them, whichever servers they are on.
//!
//! What can be done in a room that this server is in is done by [`rooms::Memberships`]. Everything else takes another server: it proposes
//! an event, this one signs it, and the other one sends it into the room ([`entering`], [`leaving`]); or both sign an invitation
//! ([`inviting`], [`invited`]). People of whom only an address is known are invited with
//! the help of an identity server ([`by_address`]).
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#joining-rooms>

mod by_address;
mod candidates;
mod entering;
mod error;
mod invited;
mod inviting;
mod leaving;
mod third_party;

use std::sync::Arc;

use accounts::asking::{Asker, Shares};
use accounts::rate_limits::{LimitedAction, RateLimits};
use accounts::sessions::Requester;
use federation::{IdentityServers, ServerKeys};
use homeserver_core::{Clock, Identity};
use room_engine::{EventTemplate, Pdu};
use rooms::remote::RemoteQueries;
use rooms::{Aliases, ContentMap, Memberships, RoomError, Timeline};
use ruma::{OwnedRoomId, OwnedServerName, RoomId, RoomOrAliasId};
use storage::{Database, Interned, Membership, RemoteMembership};

pub use self::by_address::{BoundInvite, InvitedAddress};
pub use self::error::MembershipError;
pub use self::invited::ReceivedInvite;
pub use self::third_party::ThirdPartyInvite;
use crate::requests::{Handshake, RoomRequests};
use crate::room_locks::RoomLocks;

/// What [`SharedMemberships`] are made of.
pub struct SharedMembershipsParts {
    /// The database.
    pub database: Database,
    /// The numbers of identifiers.
    pub interned: Arc<Interned>,
    /// Who this server is.
    pub identity: Arc<Identity>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The rooms.
    pub timeline: Arc<Timeline>,
    /// Memberships of rooms that this server is in.
    pub memberships: Arc<Memberships>,
    /// Aliases of this server.
    pub aliases: Arc<Aliases>,
    /// Aliases of other servers.
    pub remote: Arc<RemoteQueries>,
    /// Requests to other servers.
    pub requests: Arc<RoomRequests>,
    /// Requests to identity servers.
    pub identity_servers: IdentityServers,
    /// The keys of other servers.
    pub keys: Arc<ServerKeys>,
    /// The shares of users in requests that other servers are asked for their sake.
    pub shares: Shares,
    /// Rate limits of users.
    pub rate_limits: Arc<RateLimits>,
}

/// Memberships of rooms, wherever they are.
pub struct SharedMemberships {
    parts: SharedMembershipsParts,
    entering: RoomLocks,
}

impl SharedMemberships {
    /// Changes memberships with what is in `parts`.
    #[must_use]
    pub fn new(parts: SharedMembershipsParts) -> Self {
        Self { parts, entering: RoomLocks::default() }
    }

    /// Waits until no user is on the way into a room.
    pub(crate) async fn entered(&self, room_id: &RoomId) {
        drop(self.entering.lock(room_id).await);
    }

    /// Joins a room, by way of one of the servers in `via` if this server is not in it, and returns its ID. `content` goes into the
    /// member event.
    ///
    /// # Errors
    /// [`MembershipError`].
    #[tracing::instrument(name = "join_room", level = "debug", skip_all)]
    pub async fn join(
        &self,
        requester: &Requester,
        room: &RoomOrAliasId,
        via: Vec<OwnedServerName>,
        mut content: ContentMap,
    ) -> Result<OwnedRoomId, MembershipError> {
        content.remove("third_party_signed");
        let (room_id, via) = self.resolve(requester, room, via).await?;
        if self.is_resident(&room_id, requester).await? {
            let joined = self.parts.memberships.join(requester, (&*room_id).into(), content.clone()).await;
            if !self.may_others_help(&room_id, RefusedHere::of(&joined)).await? {
                return Ok(joined?);
            }
        }
        Box::pin(self.enter(requester, &room_id, via, (Handshake::Join, content))).await?;
        Ok(room_id)
    }

    /// Knocks on a room, by way of one of the servers in `via` if this server is not in it, and returns its ID.
    ///
    /// # Errors
    /// [`MembershipError`].
    #[tracing::instrument(name = "knock_on_room", level = "debug", skip_all)]
    pub async fn knock(
        &self,
        requester: &Requester,
        room: &RoomOrAliasId,
        via: Vec<OwnedServerName>,
        reason: Option<String>,
    ) -> Result<OwnedRoomId, MembershipError> {
        let (room_id, via) = self.resolve(requester, room, via).await?;
        if self.is_resident(&room_id, requester).await? {
            return Ok(self.parts.memberships.knock(requester, (&*room_id).into(), reason).await?);
        }
        let content = reason.map(|reason| ("reason".to_owned(), reason.into())).into_iter().collect();
        Box::pin(self.enter(requester, &room_id, via, (Handshake::Knock, content))).await?;
        Ok(room_id)
    }

    /// The room of an ID or alias, and the servers to ask for it.
    async fn resolve(
        &self,
        requester: &Requester,
        room: &RoomOrAliasId,
        mut via: Vec<OwnedServerName>,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), MembershipError> {
        match <&RoomId>::try_from(room) {
            Ok(room_id) => Ok((room_id.to_owned(), via)),
            Err(alias) if alias.server_name() == self.parts.identity.server_name => {
                Ok((self.parts.aliases.resolve(alias).await?.0, via))
            }
            Err(alias) => {
                let found = self.parts.remote.alias(Asker::User(requester), alias).await?;
                via.push(alias.server_name().to_owned());
                via.extend(found.servers);
                Ok((found.room_id, via))
            }
        }
    }

    /// Whether this server decides by itself who gets into the room: a user of it is in the room, or nobody is who could be asked.
    async fn is_resident(&self, room_id: &RoomId, requester: &Requester) -> Result<bool, MembershipError> {
        let SharedMembershipsParts { database, interned, .. } = &self.parts;
        let Some(room_sn) = interned.find_room(room_id.as_str()).await? else { return Ok(false) };
        if database.is_in_room(room_sn).await? {
            return Ok(true);
        }
        let Some(head) = database.room_head(room_sn).await? else { return Ok(false) };
        let is_invited_elsewhere = database.remote_membership(room_sn, requester.user_sn).await?.is_some();
        // Of a room that is known in part there are members who could be asked, though they are not known.
        Ok(head.state_whole_since.is_some() && head.known_members().joined == 0 && !is_invited_elsewhere)
    }

    /// Whether another server in the room may let a user in whom this one has refused.
    async fn may_others_help(&self, room_id: &RoomId, refused: RefusedHere) -> Result<bool, MembershipError> {
        match refused {
            RefusedHere::Unable => Ok(true),
            RefusedHere::ByState => {
                let room = self.parts.timeline.identity_of(room_id).await?;
                Ok(self.parts.timeline.is_partial(&room).await?)
            }
            RefusedHere::No => Ok(false),
        }
    }

    /// What the user is to a room, as another server told it.
    async fn remote_membership(
        &self,
        requester: &Requester,
        room_id: &RoomId,
    ) -> Result<Option<RemoteMembership>, MembershipError> {
        let Some(room_sn) = self.parts.interned.find_room(room_id.as_str()).await? else { return Ok(None) };
        let found = self.parts.database.remote_membership(room_sn, requester.user_sn).await?;
        let is_open = |membership| matches!(membership, Membership::Invite | Membership::Knock);
        Ok(found.map(|(_, remote)| remote).filter(|remote| is_open(remote.membership)))
    }

    /// Signs a template, with the content that the user wants beside what the template must have.
    async fn sign(
        &self,
        requester: &Requester,
        template: &EventTemplate,
        content: &ContentMap,
    ) -> Result<Pdu, MembershipError> {
        let content = self.parts.memberships.content_of(requester, template, content).await?;
        let SharedMembershipsParts { identity, clock, .. } = &self.parts;
        let built = template.build(content, clock.now().0, &identity.server_name, &identity.key_pair)?;
        Ok(built.pdu)
    }

    /// Counts the attempt to get into a room of other servers.
    fn spend(&self, requester: &Requester) -> Result<(), MembershipError> {
        self.parts.rate_limits.spend_by_user(LimitedAction::JoinsRemote, requester)?.keep();
        Ok(())
    }
}

/// Whether this server has refused to let a user into a room that it is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RefusedHere {
    /// It has not, or not for a reason that another server could change.
    No,
    /// Another server may be able to vouch for the user.
    Unable,
    /// The state does not let the user in. Another server may know more of it.
    ByState,
}

impl RefusedHere {
    fn of<T>(joined: &Result<T, RoomError>) -> Self {
        match joined {
            Err(RoomError::UnableToAuthoriseJoin | RoomError::UnableToGrantJoin) => Self::Unable,
            Err(RoomError::Refused(_) | RoomError::StillPartial(_)) => Self::ByState,
            _ => Self::No,
        }
    }
}
