//! Member events that take two servers: proposed here for another one to sign, or signed here and by another one.

use accounts::rate_limits::{Key, LimitedAction};
use accounts::sessions::Requester;
use homeserver_core::RoomSn;
use room_engine::{CanonicalObject, EventTemplate, Membership, Pdu};
use ruma::{RoomId, UserId};

use super::{Draft, Memberships, OpenRoom, RoomError};
use crate::member_content::{AUTHORISED_VIA, ContentMap, canonical, fill_profile};
use crate::restricted_join::RestrictedJoin;
use crate::wire;

/// An invitation of a user of another server, which that server signs too before it is sent into the room.
#[derive(Debug)]
pub struct ProposedInvite {
    /// The event, signed by this server.
    pub event: Pdu,
    /// The state that introduces the room.
    pub introduction: Vec<Pdu>,
}

impl Memberships {
    /// The event by which a user of another server joins, leaves or knocks, for that server to sign.
    ///
    /// # Errors
    /// What the rules of the room refuse; [`RoomError::UnableToAuthoriseJoin`] and [`RoomError::UnableToGrantJoin`] if another server
    /// must vouch for the user.
    #[tracing::instrument(name = "propose_membership", level = "debug", skip_all)]
    pub async fn propose(&self, room_sn: RoomSn, user_id: &UserId, membership: Membership) -> Result<Pdu, RoomError> {
        self.know_membership(room_sn, user_id).await?;
        let mut room = self.timeline.open(room_sn).await?;
        let mut content = ContentMap::from_iter([("membership".to_owned(), membership.as_str().into())]);
        if membership == Membership::Join {
            self.vouch(&mut room, room_sn, user_id, &mut content).await?;
        }
        room.propose(user_id, &Draft::state("m.room.member", user_id.as_str(), canonical(&content)?)).await
    }

    /// Checks that this server may vouch for the join of a user of another server, as far as the user needs that.
    ///
    /// # Errors
    /// [`RoomError::Forbidden`] if the user may not join, and as [`Memberships::propose`].
    pub async fn check_vouching(&self, room_sn: RoomSn, user_id: &UserId) -> Result<(), RoomError> {
        self.know_membership(room_sn, user_id).await?;
        let mut room = self.timeline.open(room_sn).await?;
        self.vouch(&mut room, room_sn, user_id, &mut ContentMap::new()).await
    }

    /// The content of a user's own member event that another server proposes: what must be in it, what the user wants, and the profile.
    ///
    /// # Errors
    /// [`RoomError::Event`] if events cannot hold it.
    pub async fn content_of(
        &self,
        requester: &Requester,
        template: &EventTemplate,
        wanted: &ContentMap,
    ) -> Result<CanonicalObject, RoomError> {
        let mut content = wanted.clone();
        content.remove(AUTHORISED_VIA);
        let proposed = wire::values(template.content.as_bytes());
        let needed = ["membership", AUTHORISED_VIA];
        content.extend(proposed.into_iter().filter(|(key, _)| needed.contains(&key.as_str())));
        if content.get("membership").and_then(|word| word.as_str()) != Some(Membership::Leave.as_str()) {
            fill_profile(&mut content, &self.profiles.member_profile(requester.user_sn).await?);
        }
        canonical(&content)
    }

    /// Builds the invitation of a user of another server, and spends the rates of one.
    ///
    /// # Errors
    /// What the rules of the room refuse.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn propose_invite(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        target: &UserId,
        mut content: ContentMap,
    ) -> Result<ProposedInvite, RoomError> {
        let room_sn = self.timeline.find(room_id).await?;
        self.know_membership(room_sn, target).await?;
        content.remove(AUTHORISED_VIA);
        content.insert("membership".to_owned(), Membership::Invite.as_str().into());
        if let Some(user_sn) = self.interned.find_user(target.as_str()).await? {
            fill_profile(&mut content, &self.profiles.member_profile(user_sn).await?);
        }
        let draft = Draft::state("m.room.member", target.as_str(), canonical(&content)?);
        let mut room = self.timeline.open(room_sn).await?;
        let event = room.propose(&requester.user_id, &draft).await?;
        self.spend_invite(requester, room_sn, target)?;
        let introduction = room.introduction(Some(&requester.user_id)).await?;
        Ok(ProposedInvite { event, introduction })
    }

    /// Builds the invitation of the user to whom an invited address turned out to belong, as the user who invited the address.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#third-party-invites>
    ///
    /// # Errors
    /// What the rules of the room refuse, also if nobody has invited the address.
    pub async fn propose_third_party_invite(
        &self,
        room_id: &RoomId,
        sender: &UserId,
        target: &UserId,
        content: &ContentMap,
    ) -> Result<ProposedInvite, RoomError> {
        let room_sn = self.timeline.find(room_id).await?;
        self.know_membership(room_sn, target).await?;
        let draft = Draft::state("m.room.member", target.as_str(), canonical(content)?);
        let mut room = self.timeline.open(room_sn).await?;
        let event = room.propose(sender, &draft).await?;
        let introduction = room.introduction(Some(sender)).await?;
        Ok(ProposedInvite { event, introduction })
    }

    /// The other server was asked then, whether it signs or not, so nothing is given back.
    fn spend_invite(&self, requester: &Requester, room_sn: RoomSn, target: &UserId) -> Result<(), RoomError> {
        let target = self.rate_limits.account(target.as_str());
        for (kind, key) in [
            (LimitedAction::Message, Key::user(requester.user_sn)),
            (LimitedAction::InvitesPerRoom, Key::room(room_sn)),
            (LimitedAction::InvitesPerUser, target),
            (LimitedAction::InvitesPerIssuer, Key::user(requester.user_sn)),
        ] {
            self.rate_limits.spend(kind, key, Some(requester))?.keep();
        }
        Ok(())
    }

    /// Waits until a user's membership is known, without which the rules would judge wrongly.
    async fn know_membership(&self, room_sn: RoomSn, user_id: &UserId) -> Result<(), RoomError> {
        if !self.timeline.states().of(room_sn).covers("m.room.member", user_id.as_str()) {
            self.timeline.states().full(room_sn).await?;
        }
        Ok(())
    }

    /// Names a member of this server who vouches for a user, if the user needs that to join.
    async fn vouch(
        &self,
        room: &mut OpenRoom,
        room_sn: RoomSn,
        user_id: &UserId,
        content: &mut ContentMap,
    ) -> Result<(), RoomError> {
        let current = room.membership(user_id).await?;
        if matches!(current, Some(Membership::Join | Membership::Invite | Membership::Ban)) {
            return Ok(());
        }
        let Self { database, interned, identity, .. } = self;
        let join = RestrictedJoin { database, interned, identity, room_sn };
        let joining = interned.find_user(user_id.as_str()).await?;
        if let Some(vouching) = join.authorising_user(room, joining).await? {
            content.insert(AUTHORISED_VIA.to_owned(), vouching.as_str().into());
        }
        Ok(())
    }
}
