//! Creating rooms.

use std::collections::HashSet;
use std::sync::Arc;

use accounts::profiles::Profiles;
use accounts::rate_limits::{Key, LimitedAction, RateLimits, SpentOnce};
use accounts::sessions::Requester;
use homeserver_core::{Identity, Live, Timestamp};
use room_engine::{Membership, RoomVersion};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId};
use storage::{Database, Interned, Step, StorageError, Tx};
use tasks::limits::Limit;

use super::aliases::Aliases;
use super::initial_state;
use super::member_content::{ContentMap, canonical, fill_profile};
use super::{AuthError, Draft, OpenRoom, RoomError, Timeline};

/// The most users invited while a room is created.
const MAX_INVITES: usize = 200;
/// The most state events in `initial_state`.
const MAX_INITIAL_STATE: usize = 500;

/// The versions that rooms here can have.
#[must_use]
pub fn supported_versions() -> Vec<RoomVersionId> {
    RoomVersion::ALL.into_iter().map(RoomVersionId::from).collect()
}

/// The preset of a new room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#creation>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preset {
    /// Users join by invitation.
    PrivateChat,
    /// Users join by invitation, and have the rights of the creator.
    TrustedPrivateChat,
    /// Everybody may join.
    PublicChat,
}

/// A state event that a client gives a new room.
#[derive(Clone, Debug)]
pub struct InitialState {
    /// Its type.
    pub event_type: String,
    /// Its state key.
    pub state_key: String,
    /// Its content.
    pub content: ContentMap,
}

/// A request for a new room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>
#[derive(Clone, Default, Debug)]
pub struct NewRoom {
    /// Whether it is listed in the directory.
    pub is_published: bool,
    /// The localpart of its alias.
    pub alias_localpart: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// The users to invite.
    pub invite: Vec<OwnedUserId>,
    /// Its version; the default of the server if `None`.
    pub room_version: Option<String>,
    /// The keys of the create event that the server does not set.
    pub creation_content: ContentMap,
    /// State that replaces or completes the state of the preset.
    pub initial_state: Vec<InitialState>,
    /// Its preset; if `None`, it follows from `is_published`.
    pub preset: Option<Preset>,
    /// Whether the invitations say that it is a direct chat.
    pub is_direct: bool,
    /// Replaces top-level keys of the power levels.
    pub power_level_content_override: ContentMap,
}

/// Creates rooms, also as replacements of others.
pub struct RoomCreation {
    pub(super) database: Database,
    pub(super) interned: Arc<Interned>,
    pub(super) identity: Arc<Identity>,
    pub(super) timeline: Arc<Timeline>,
    aliases: Arc<Aliases>,
    profiles: Arc<Profiles>,
    default_version: Live<RoomVersionId>,
    pub(super) rate_limits: Arc<RateLimits>,
    pub(super) limit: Arc<Limit>,
}

impl RoomCreation {
    /// Creates rooms in `database`, of `default_version` unless the request names another one. `limit` bounds how many are
    /// created at once.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "a room is made of people, names and limits that are kept apart")]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        identity: Arc<Identity>,
        timeline: Arc<Timeline>,
        aliases: Arc<Aliases>,
        profiles: Arc<Profiles>,
        default_version: RoomVersionId,
        rate_limits: Arc<RateLimits>,
        limit: Arc<Limit>,
    ) -> Self {
        let default_version = Live::new(default_version);
        Self { database, interned, identity, timeline, aliases, profiles, default_version, rate_limits, limit }
    }

    /// Replaces the default version.
    pub fn reconfigure(&self, default_version: RoomVersionId) {
        self.default_version.replace(default_version);
    }

    /// Creates a room with all its first events, its alias and its entry in the directory, or nothing at all. Users of other servers are
    /// not invited yet: their servers must sign the invitations, and need a room for that.
    ///
    /// # Errors
    /// [`RoomError::InvalidState`] if the room's own rules refuse an event of its state, and others.
    #[tracing::instrument(name = "create_room", level = "debug", skip_all)]
    pub async fn create(&self, requester: &Requester, new_room: &NewRoom) -> Result<OwnedRoomId, RoomError> {
        self.check(requester, new_room)?;
        let spent = self.spend(requester)?;
        let mut created = Box::pin(self.create_within_limits(requester, new_room)).await;
        if matches!(created, Err(RoomError::Contended)) {
            // Another node created an equal room in the same millisecond, which has the same ID.
            created = Box::pin(self.create_within_limits(requester, new_room)).await;
        }
        spent.settle(created)
    }

    /// Spends the rates of a new room.
    pub(super) fn spend(&self, requester: &Requester) -> Result<SpentOnce<'_>, RoomError> {
        let spent = SpentOnce::new(&self.rate_limits);
        spent.check(LimitedAction::RoomCreation, requester)?;
        spent.spend(LimitedAction::Message, requester)?;
        spent.spend(LimitedAction::RoomCreation, requester)?;
        Ok(spent)
    }

    async fn create_within_limits(&self, requester: &Requester, new_room: &NewRoom) -> Result<OwnedRoomId, RoomError> {
        let _permit = self.limit.enter().await?;
        let version = self.version(new_room)?;
        let alias = match &new_room.alias_localpart {
            Some(localpart) => Some(self.free_alias(localpart).await?),
            None => None,
        };
        let drafts = self.drafts(requester, new_room, version, alias.as_deref()).await?;
        let room_id = (!version.room_id_is_create_hash()).then(|| RoomId::new_v1(&self.identity.server_name));
        let mut room = self.timeline.open_new(room_id, version).await;
        let mut created_at = Timestamp(0);
        for draft in &drafts {
            let staged = room.stage(requester.user_sn, &requester.user_id, draft).await;
            created_at = Timestamp(staged.map_err(|error| refusal(draft, error))?.origin_server_ts());
        }
        self.submit(requester, new_room, room, alias, created_at).await
    }

    async fn submit(
        &self,
        requester: &Requester,
        new_room: &NewRoom,
        room: OpenRoom,
        alias: Option<String>,
        created_at: Timestamp,
    ) -> Result<OwnedRoomId, RoomError> {
        let room_id = room.room_id().ok_or(RoomError::NoSuchRoom)?.to_owned();
        let room_sn = self.interned.room(room_id.as_str()).await?;
        let (taken, is_published, creator_sn) = (alias.clone(), new_room.is_published, requester.user_sn);
        let also = async move |tx: &mut Tx| {
            if let Some(alias) = &alias {
                tx.add_room_alias(alias, room_sn, creator_sn, created_at).await?;
            }
            if is_published {
                tx.publish_room(room_sn).await?;
            }
            Ok(())
        };
        let also = (taken.is_some() || is_published).then(|| Box::new(also) as Box<dyn Step>);
        let submitted = room.submit(also).await?;
        self.rate_limits.record(
            LimitedAction::InvitesPerRoom,
            Key::room(room_sn),
            Some(requester),
            new_room.invite.len(),
        );
        self.timeline.adopt(room_sn, &submitted);
        match (submitted.stored().await, taken) {
            // Another request took the alias first.
            (Err(RoomError::Storage(StorageError::Constraint(_))), Some(alias)) => Err(RoomError::AliasInUse(alias)),
            (Err(error), _) => Err(error),
            (Ok(_), _) => Ok(room_id),
        }
    }

    fn check(&self, requester: &Requester, new_room: &NewRoom) -> Result<(), RoomError> {
        // The rate limit would never admit more than a burst, however long the client waits.
        let burst = self.rate_limits.burst(LimitedAction::InvitesPerRoom, Some(requester));
        let burst = burst.and_then(|burst| usize::try_from(burst).ok()).unwrap_or(MAX_INVITES);
        for (what, count, limit) in [
            ("invite", new_room.invite.len(), MAX_INVITES.min(burst)),
            ("initial_state", new_room.initial_state.len(), MAX_INITIAL_STATE),
        ] {
            if count > limit {
                return Err(RoomError::Invalid(format!("`{what}` has {count} entries; the limit is {limit}.")));
            }
        }
        if new_room.initial_state.iter().any(|event| event.event_type == "m.room.create") {
            return Err(RoomError::InvalidState(
                "`initial_state` cannot have a m.room.create: see `creation_content`.".to_owned(),
            ));
        }
        Ok(())
    }

    fn version(&self, new_room: &NewRoom) -> Result<RoomVersion, RoomError> {
        match new_room.room_version.as_deref() {
            Some(version) => Ok(version.parse()?),
            None => Ok(self.default_version.read().as_str().parse()?),
        }
    }

    async fn free_alias(&self, localpart: &str) -> Result<String, RoomError> {
        let alias = self.aliases.of_new_room(localpart)?;
        match self.database.room_alias(&alias).await? {
            Some(_) => Err(RoomError::AliasInUse(alias)),
            None => Ok(alias),
        }
    }

    /// The events of the room, in their order.
    async fn drafts(
        &self,
        requester: &Requester,
        new_room: &NewRoom,
        version: RoomVersion,
        alias: Option<&str>,
    ) -> Result<Vec<Draft>, RoomError> {
        let creator = &requester.user_id;
        let mut drafts = vec![
            Draft::state("m.room.create", "", initial_state::create_content(creator, version, new_room)?),
            self.member(requester, creator, Membership::Join, ContentMap::new()).await?,
        ];
        initial_state::push_state(&mut drafts, creator, version, new_room, alias)?;
        let mut details = ContentMap::new();
        if new_room.is_direct {
            details.insert("is_direct".to_owned(), true.into());
        }
        let mut seen = HashSet::new();
        let here = new_room.invite.iter().filter(|user_id| self.identity.is_local(user_id));
        for invited in here.filter(|user_id| seen.insert(user_id.as_str())) {
            drafts.push(self.member(requester, invited, Membership::Invite, details.clone()).await?);
        }
        Ok(drafts)
    }

    pub(super) async fn member(
        &self,
        requester: &Requester,
        user_id: &UserId,
        membership: Membership,
        mut content: ContentMap,
    ) -> Result<Draft, RoomError> {
        content.insert("membership".to_owned(), membership.as_str().into());
        let user_sn = if user_id == requester.user_id {
            Some(requester.user_sn)
        } else {
            self.interned.find_user(user_id.as_str()).await?
        };
        if let Some(user_sn) = user_sn {
            fill_profile(&mut content, &self.profiles.member_profile(user_sn).await?);
        }
        Ok(Draft::state("m.room.member", user_id.as_str(), canonical(&content)?))
    }
}

/// If the rules of the room refuse its state, the request was wrong; a refused invitation keeps its error.
fn refusal(draft: &Draft, error: RoomError) -> RoomError {
    match error {
        RoomError::Refused(error)
            if draft.event_type != "m.room.member" && !matches!(error, AuthError::MalformedPowerLevels { .. }) =>
        {
            RoomError::InvalidState(format!("The room cannot start with this {}: {error}", draft.event_type))
        }
        error => error,
    }
}
