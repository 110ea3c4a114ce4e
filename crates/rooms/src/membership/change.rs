//! One change of one user's membership.

use accounts::rate_limits::{Key, LimitedAction, SpentOnce};
use accounts::sessions::Requester;
use homeserver_core::RoomSn;
use room_engine::{Membership, Pdu};
use ruma::{OwnedEventId, OwnedRoomId, RoomId, UserId};

use super::{Memberships, no_other_servers};
use crate::guests::admits_guests;
use crate::inheritance::predecessor_of;
use crate::member_content::{AUTHORISED_VIA, ContentMap, canonical, fill_profile, says_the_same};
use crate::restricted_join::RestrictedJoin;
use crate::{Draft, OpenRoom, RoomChange, RoomError, StagedChange};

/// How a user changes a membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Within the rules of the room.
    Plain,
    /// Also refused for a user who is not in the room.
    Kick,
    /// Also refused for a user who is not banned.
    Unban,
}

/// A change of one user's membership.
pub(super) struct Change<'a> {
    pub(super) target: &'a UserId,
    pub(super) membership: Membership,
    pub(super) action: Action,
    pub(super) content: ContentMap,
}

impl Change<'_> {
    /// Refuses a kick or an unban that makes no sense, which the rules of the room would allow.
    fn check(&self, current: Option<&Pdu>) -> Result<(), RoomError> {
        let membership = current.and_then(Pdu::membership).unwrap_or(Membership::Leave);
        let target = self.target;
        match (self.action, membership) {
            (Action::Kick, Membership::Leave | Membership::Ban) => {
                Err(RoomError::Forbidden(format!("{target} is not in this room.")))
            }
            (Action::Unban, Membership::Ban) => Ok(()),
            (Action::Unban, _) => Err(RoomError::Forbidden(format!("{target} is not banned from this room."))),
            _ => Ok(()),
        }
    }
}

impl Memberships {
    /// Makes a change, unless the member event says the same already, and returns the ID of the member event.
    pub(super) async fn apply(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        mut change: Change<'_>,
    ) -> Result<OwnedEventId, RoomError> {
        // The server of the user named there has to sign the event, so this server chooses the user itself.
        change.content.remove(AUTHORISED_VIA);
        let room_sn = self.timeline.find(room_id).await?;
        let spent = SpentOnce::new(&self.rate_limits);
        spent.check(LimitedAction::Message, requester)?;
        if change.membership == Membership::Invite && !self.identity.is_local(change.target) {
            return Err(no_other_servers(change.target));
        }
        if !self.timeline.states().of(room_sn).covers("m.room.member", change.target.as_str()) {
            // The rules need the present membership.
            self.timeline.states().full(room_sn).await?;
        }
        self.complete(requester, &mut change).await?;
        let set = SetMembership { memberships: self, requester, room_sn, change: &change, spent: &spent };
        let changed = self.timeline.change(room_sn, &set).await;
        let (event_id, predecessor) = spent.settle(changed)?;
        if let Some(predecessor) = predecessor
            && let Err(error) = self.inherit(requester.user_sn, &predecessor, room_id).await
        {
            tracing::warn!(%error, %predecessor, %room_id, user_id = %requester.user_id, "room settings were not copied");
        }
        Ok(event_id)
    }

    /// Adds the membership to the content, and the profile of a user of this server.
    async fn complete(&self, requester: &Requester, change: &mut Change<'_>) -> Result<(), RoomError> {
        change.content.insert("membership".to_owned(), change.membership.as_str().into());
        if matches!(change.membership, Membership::Join | Membership::Invite | Membership::Knock) {
            let user_sn = if change.target == requester.user_id {
                Some(requester.user_sn)
            } else {
                self.interned.find_user(change.target.as_str()).await?
            };
            if let Some(user_sn) = user_sn {
                fill_profile(&mut change.content, &self.profiles.member_profile(user_sn).await?);
            }
        }
        Ok(())
    }

    /// Checks what the rules of the room leave to the server when a user joins.
    async fn check_join(
        &self,
        room: &mut OpenRoom,
        room_sn: RoomSn,
        requester: &Requester,
        current: Option<Membership>,
        content: &mut ContentMap,
    ) -> Result<(), RoomError> {
        if requester.is_guest && !admits_guests(room).await? {
            return Err(RoomError::GuestsForbidden);
        }
        if !matches!(current, Some(Membership::Join | Membership::Invite | Membership::Ban)) {
            let Self { database, interned, identity, .. } = self;
            let join = RestrictedJoin { database, interned, identity, room_sn };
            if let Some(user_id) = join.authorising_user(room, Some(requester.user_sn)).await? {
                content.insert(AUTHORISED_VIA.to_owned(), user_id.as_str().into());
            }
        }
        Ok(())
    }
}

/// Sets a member event, unless the present one says the same.
struct SetMembership<'a> {
    memberships: &'a Memberships,
    requester: &'a Requester,
    room_sn: RoomSn,
    change: &'a Change<'a>,
    spent: &'a SpentOnce<'a>,
}

impl SetMembership<'_> {
    /// Spends the rates of a change from the present membership.
    fn spend(&self, current: Option<Membership>) -> Result<(), RoomError> {
        let Self { requester, room_sn, change, spent, .. } = *self;
        match change.membership {
            // A member who joins again only changes the profile.
            Membership::Join if current != Some(Membership::Join) => {
                spent.spend(LimitedAction::JoinsLocal, requester)?;
                spent.spend_of(LimitedAction::JoinsPerRoom, Key::room(room_sn), requester)?;
            }
            Membership::Invite => {
                let target = self.memberships.rate_limits.account(change.target.as_str());
                spent.spend_of(LimitedAction::InvitesPerRoom, Key::room(room_sn), requester)?;
                spent.spend_of(LimitedAction::InvitesPerUser, target, requester)?;
                spent.spend(LimitedAction::InvitesPerIssuer, requester)?;
            }
            _ => {}
        }
        Ok(spent.spend(LimitedAction::Message, requester)?)
    }
}

impl RoomChange for SetMembership<'_> {
    /// The ID of the member event, and after a join the room that this one replaces.
    type Answer = (OwnedEventId, Option<OwnedRoomId>);

    async fn stage(&self, room: &mut OpenRoom) -> Result<StagedChange<Self::Answer>, RoomError> {
        let Self { memberships, requester, room_sn, change, .. } = *self;
        let current = room.state("m.room.member", change.target.as_str()).await?;
        change.check(current.as_ref())?;
        let is_repetition = |current: &&Pdu| {
            current.membership() == Some(change.membership)
                && current.sender() == requester.user_id
                && says_the_same(current, change.membership, &change.content)
        };
        if let Some(current) = current.as_ref().filter(is_repetition) {
            return Ok(((current.event_id().to_owned(), None), None));
        }
        let current = current.as_ref().and_then(Pdu::membership);
        self.spend(current)?;
        let mut content = change.content.clone();
        let mut predecessor = None;
        if change.membership == Membership::Join && change.target == requester.user_id {
            memberships.check_join(room, room_sn, requester, current, &mut content).await?;
            if current != Some(Membership::Join) {
                predecessor = room.state("m.room.create", "").await?.and_then(|create| predecessor_of(&create));
            }
        }
        let draft = Draft::state("m.room.member", change.target.as_str(), canonical(&content)?);
        let staged = room.stage(requester.user_sn, &requester.user_id, &draft).await?;
        Ok(((staged.event_id().to_owned(), predecessor), None))
    }
}
