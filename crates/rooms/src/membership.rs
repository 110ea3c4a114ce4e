//! Joining, inviting, leaving, and what else changes who is in a room.

use std::sync::Arc;

use accounts::profiles::Profiles;
use accounts::rate_limits::{Key, Kind, RateLimits, SpentOnce};
use accounts::sessions::Requester;
use futures::{StreamExt, stream};
use homeserver_core::{Identity, RoomSn, UserSn};
use room_engine::{Membership, Pdu};
use ruma::{OwnedEventId, OwnedRoomId, RoomId, RoomOrAliasId, UserId};
use storage::{Database, Interned};

use super::aliases::Aliases;
use super::guests::admits_guests;
use super::inheritance::{inherit, predecessor_of, replaces};
use super::member_content::{Content, VOUCHER, canonical, fill_profile, replace_profile, says_the_same};
use super::restricted_join::Voucher;
use super::{Changed, Draft, OpenRoom, RoomChange, RoomError, Timeline};
use crate::wire;

/// Rooms in which the member event of a user is changed at the same time.
const ROOM_CONCURRENCY: usize = 8;
/// After so many members it is told how far something is.
const PROGRESS_EVERY: usize = 100;

/// What users do to the membership of others, or their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    /// What the membership says, and no more than the rules of the room ask for.
    Plain,
    Kick,
    Unban,
}

/// Changes who is in a room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#room-membership>
pub struct Memberships {
    pub(super) database: Database,
    pub(super) interned: Arc<Interned>,
    identity: Arc<Identity>,
    pub(super) timeline: Arc<Timeline>,
    aliases: Arc<Aliases>,
    profiles: Arc<Profiles>,
    rate_limits: Arc<RateLimits>,
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
        mut content: Content,
    ) -> Result<OwnedRoomId, RoomError> {
        content.remove("third_party_signed");
        self.enter(requester, room, Membership::Join, content).await
    }

    /// Asks to be let into a room, and returns its ID.
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
        content: Content,
    ) -> Result<OwnedRoomId, RoomError> {
        let room_id = self.aliases.room_of(room).await?;
        let change = Change { target: &requester.user_id, membership, action: Action::Plain, content };
        match self.apply(requester, &room_id, change).await {
            Ok(_) => Ok(room_id),
            Err(RoomError::NoSuchRoom) => {
                if membership == Membership::Join {
                    self.rate_limits.spend_by_user(Kind::JoinsRemote, requester)?.keep();
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
        self.plain(requester, room_id, target, Membership::Invite, reason).await
    }

    /// Leaves a room, declines an invitation, or takes a knock back.
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
        self.plain(requester, room_id, &requester.user_id, Membership::Leave, reason).await
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
        self.plain(requester, room_id, target, Membership::Ban, reason).await
    }

    async fn plain(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        target: &UserId,
        membership: Membership,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        let change = Change { target, membership, action: Action::Plain, content: with_reason(reason) };
        self.apply(requester, room_id, change).await.map(drop)
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
        let content = with_reason(reason);
        let change = Change { target, membership: Membership::Leave, action: Action::Kick, content };
        self.apply(requester, room_id, change).await.map(drop)
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
        let content = with_reason(reason);
        let change = Change { target, membership: Membership::Leave, action: Action::Unban, content };
        self.apply(requester, room_id, change).await.map(drop)
    }

    /// Sets a member event with the given content, and returns the ID of the event that is there afterwards.
    ///
    /// # Errors
    /// [`RoomError::Malformed`] if it is no content of a member event, and what the rules of the room refuse.
    #[tracing::instrument(name = "put_membership", level = "debug", skip_all)]
    pub async fn put(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        target: &UserId,
        content: Content,
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

    /// Has the member events of a user say what the profile says, or one `field` of it, in all rooms that the user is in. A room
    /// that refuses keeps the old one. Tells `progress` how many rooms are done, and how many there are.
    ///
    /// # Errors
    /// [`RoomError`] if some rooms are left that may change their minds, or the rooms cannot be listed.
    pub async fn update_member_profile<P: Progress>(
        &self,
        user_sn: UserSn,
        user_id: &UserId,
        field: Option<&str>,
        progress: &P,
    ) -> Result<(), RoomError> {
        let rooms = self.database.rooms_of_user(user_sn, storage::Membership::Join).await?;
        let update = &ProfileUpdate { profiles: &self.profiles, user_sn, user_id, field };
        for_each_room(rooms, user_id, progress, |room_sn| self.timeline.change(room_sn, update)).await
    }

    /// Leaves all rooms, declines all invitations and takes all knocks back. A room that refuses is left out. Tells `progress`
    /// how many rooms are done, and how many there are.
    ///
    /// # Errors
    /// [`RoomError`] if some rooms are left that may change their minds, or the rooms cannot be listed.
    pub async fn leave_all<P: Progress>(
        &self,
        user_sn: UserSn,
        user_id: &UserId,
        progress: &P,
    ) -> Result<(), RoomError> {
        let requester = &Requester::on_behalf_of(user_sn, user_id.to_owned());
        let memberships = self.database.memberships_of_user(user_sn).await?;
        let is_in = |membership| !matches!(membership, storage::Membership::Leave | storage::Membership::Ban);
        let rooms = memberships.into_iter().filter(|room| is_in(room.membership)).map(|room| room.room_sn).collect();
        for_each_room(rooms, user_id, progress, |room_sn| self.leave_by_number(requester, room_sn)).await
    }

    async fn leave_by_number(&self, requester: &Requester, room_sn: RoomSn) -> Result<(), RoomError> {
        let room_id = self.interned.room_id(room_sn).await?;
        let room_id = RoomId::parse(&*room_id).map_err(|error| RoomError::Invalid(error.to_string()))?;
        self.leave(requester, &room_id, None).await
    }

    /// Makes a change, unless the room says the same already, and returns the ID of the event that is there afterwards.
    async fn apply(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        mut change: Change<'_>,
    ) -> Result<OwnedEventId, RoomError> {
        // The server of the user who is named there has to sign the event, so this server names one of its own, or nobody.
        change.content.remove(VOUCHER);
        let room_sn = self.timeline.find(room_id).await?;
        let spent = SpentOnce::new(&self.rate_limits);
        spent.check(Kind::Message, requester)?;
        if change.membership == Membership::Invite && !self.identity.is_local(change.target) {
            return Err(no_other_servers(change.target));
        }
        if !self.timeline.states().of(room_sn).covers("m.room.member", change.target.as_str()) {
            // The rules ask what the user is to the room now.
            self.timeline.states().full(room_sn).await?;
        }
        self.complete(requester, &mut change).await?;
        let put = Put { memberships: self, requester, room_sn, change: &change, spent: &spent };
        let changed = self.timeline.change(room_sn, &put).await;
        let (event_id, predecessor) = spent.settle(changed)?;
        if let Some(predecessor) = predecessor
            && let Err(error) = self.inherit(requester.user_sn, &predecessor, room_id).await
        {
            tracing::warn!(%error, %predecessor, %room_id, user_id = %requester.user_id, "settings were not taken over");
        }
        Ok(event_id)
    }

    async fn inherit(
        &self,
        user_sn: UserSn,
        old_room_id: &RoomId,
        new_room_id: &RoomId,
    ) -> Result<(), storage::StorageError> {
        inherit(&self.database, &self.interned, self.timeline.states(), user_sn, old_room_id, new_room_id).await
    }

    /// Gives those who are in a room already what they have set for the room that it has replaced just now.
    ///
    /// # Errors
    /// [`RoomError::Storage`] if something cannot be read or written. To do it again is harmless.
    pub async fn inherit_all(
        &self,
        old_room_id: &RoomId,
        new_room_id: &RoomId,
        progress: &impl Progress,
    ) -> Result<(), RoomError> {
        let Some(new_sn) = self.interned.find_room(new_room_id.as_str()).await? else { return Ok(()) };
        // Otherwise whoever may replace some room could have its settings put on any other, and all of its members looked at.
        let state = self.timeline.states().of(new_sn);
        if !replaces(&self.database, &self.interned, &state, old_room_id).await? {
            return Ok(());
        }
        let members = self.database.local_members(new_sn).await?;
        for (done, user_sn) in members.iter().enumerate() {
            if done % PROGRESS_EVERY == 0 {
                progress.done(done, members.len()).await;
            }
            self.inherit(*user_sn, old_room_id, new_room_id).await?;
        }
        Ok(())
    }

    /// Adds to the content the membership, and the profile of a user of this server.
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

    /// Checks what the rules of the room leave to the server when somebody joins.
    async fn check_entry(
        &self,
        room: &mut OpenRoom,
        room_sn: RoomSn,
        requester: &Requester,
        current: Option<Membership>,
        content: &mut Content,
    ) -> Result<(), RoomError> {
        if requester.is_guest && !admits_guests(room).await? {
            return Err(RoomError::GuestsForbidden);
        }
        if !matches!(current, Some(Membership::Join | Membership::Invite | Membership::Ban)) {
            let voucher =
                Voucher { database: &self.database, interned: &self.interned, identity: &self.identity, room_sn };
            if let Some(user_id) = voucher.find(room, requester).await? {
                content.insert(VOUCHER.to_owned(), user_id.as_str().into());
            }
        }
        Ok(())
    }
}

/// A change of one user's membership.
struct Change<'a> {
    target: &'a UserId,
    membership: Membership,
    action: Action,
    content: Content,
}

impl Change<'_> {
    /// Refuses what makes no sense, though the rules of rooms would let it through.
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

/// Puts a member event into the state, unless the one that is there says the same.
struct Put<'a> {
    memberships: &'a Memberships,
    requester: &'a Requester,
    room_sn: RoomSn,
    change: &'a Change<'a>,
    spent: &'a SpentOnce<'a>,
}

impl Put<'_> {
    /// Spends for a change from the membership that the user has now.
    fn spend(&self, current: Option<Membership>) -> Result<(), RoomError> {
        let Self { requester, room_sn, change, spent, .. } = *self;
        match change.membership {
            // Whoever is in the room only changes name or picture.
            Membership::Join if current != Some(Membership::Join) => {
                spent.spend(Kind::JoinsLocal, requester)?;
                spent.spend_of(Kind::JoinsPerRoom, Key::room(room_sn), requester)?;
            }
            Membership::Invite => {
                spent.spend_of(Kind::InvitesPerRoom, Key::room(room_sn), requester)?;
                spent.spend_of(
                    Kind::InvitesPerUser,
                    self.memberships.rate_limits.account(change.target.as_str()),
                    requester,
                )?;
                spent.spend(Kind::InvitesPerIssuer, requester)?;
            }
            _ => {}
        }
        Ok(spent.spend(Kind::Message, requester)?)
    }
}

impl RoomChange for Put<'_> {
    /// The event that is there afterwards, and for those who come in the room that this one replaces.
    type Answer = (OwnedEventId, Option<OwnedRoomId>);

    async fn stage(&self, room: &mut OpenRoom) -> Result<Changed<Self::Answer>, RoomError> {
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
        self.spend(current.as_ref().and_then(Pdu::membership))?;
        let mut content = change.content.clone();
        let mut predecessor = None;
        if change.membership == Membership::Join && change.target == requester.user_id {
            let current = current.as_ref().and_then(Pdu::membership);
            memberships.check_entry(room, room_sn, requester, current, &mut content).await?;
            if current != Some(Membership::Join) {
                predecessor = room.state("m.room.create", "").await?.and_then(|create| predecessor_of(&create));
            }
        }
        let draft = Draft::state("m.room.member", change.target.as_str(), canonical(&content)?);
        let staged = room.stage(requester.user_sn, &requester.user_id, &draft).await?;
        Ok(((staged.event_id().to_owned(), predecessor), None))
    }
}

/// Is told how far something is that takes many steps.
pub trait Progress: Sync {
    /// So many of so many rooms, or members, are done.
    fn done(&self, done: usize, total: usize) -> impl Future<Output = ()> + Send;
}

/// Does something in all rooms, in some at the same time. What a room refuses is left out.
async fn for_each_room<P: Progress, F: Future<Output = Result<(), RoomError>>>(
    rooms: Vec<RoomSn>,
    user_id: &UserId,
    progress: &P,
    change: impl Fn(RoomSn) -> F,
) -> Result<(), RoomError> {
    let total = rooms.len();
    let change = &change;
    let changes = rooms.into_iter().map(|room_sn| async move { (room_sn, change(room_sn).await) });
    let mut changed = stream::iter(changes).buffer_unordered(ROOM_CONCURRENCY);
    let (mut done, mut left) = (0, None);
    while let Some((room_sn, outcome)) = changed.next().await {
        match outcome {
            Ok(()) => {}
            // It would be the same in all rooms.
            Err(error @ RoomError::Storage(_)) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, %room_sn, %user_id, "a member event was not changed");
                left = left.or(Some(error).filter(RoomError::is_passing));
            }
        }
        done += 1;
        progress.done(done, total).await;
    }
    left.map_or(Ok(()), Err)
}

/// Puts a user's new profile into the user's member event.
struct ProfileUpdate<'a> {
    profiles: &'a Profiles,
    user_sn: UserSn,
    user_id: &'a UserId,
    /// The only field that is changed.
    field: Option<&'a str>,
}

impl RoomChange for ProfileUpdate<'_> {
    type Answer = ();

    async fn stage(&self, room: &mut OpenRoom) -> Result<Changed<()>, RoomError> {
        let current = room.state("m.room.member", self.user_id.as_str()).await?;
        let Some(current) = current.filter(|event| event.membership() == Some(Membership::Join)) else {
            return Ok(((), None));
        };
        let old = wire::values(current.content().as_bytes());
        let mut new = old.clone();
        // Read while the room is locked, and built anew if another node was faster: an older profile never comes last.
        replace_profile(&mut new, &self.profiles.member_profile(self.user_sn).await?, self.field);
        if new != old {
            // What explained the joining, and who vouched for it, does not explain this.
            new.remove("reason");
            new.remove(VOUCHER);
            let draft = Draft::state("m.room.member", self.user_id.as_str(), canonical(&new)?);
            room.stage(self.user_sn, self.user_id, &draft).await?;
        }
        Ok(((), None))
    }
}

fn with_reason(reason: Option<String>) -> Content {
    reason.map(|reason| ("reason".to_owned(), reason.into())).into_iter().collect()
}

/// Why a user of another server cannot be invited.
pub(super) fn no_other_servers(user_id: &UserId) -> RoomError {
    RoomError::Forbidden(format!("{user_id} cannot be invited: this server does not reach other servers."))
}
