//! Aliases of rooms.

use std::sync::Arc;

use accounts::sessions::Requester;
use homeserver_core::{Clock, Identity};
use room_engine::{CanonicalObject, Membership, Numbers};
use ruma::{OwnedRoomId, RoomAliasId, RoomId, RoomOrAliasId};
use serde_json::Value;
use storage::{Database, Interned, RoomAlias, Step, Tx};

use super::{Draft, OpenRoom, RoomChange, RoomError, StagedChange, Timeline};
use crate::wire;

/// The most bytes of an alias, as of every identifier.
const MAX_ALIAS_BYTES: usize = 255;
/// The most servers that are named of a room.
const MAX_SERVERS_OF_ROOM: usize = 20;
/// The most aliases of this server that point to one room.
const MAX_ALIASES_OF_ROOM: i64 = 1_000;

/// The aliases of this server.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#room-aliases>
pub struct Aliases {
    database: Database,
    interned: Arc<Interned>,
    identity: Arc<Identity>,
    timeline: Arc<Timeline>,
    clock: Arc<dyn Clock>,
}

impl Aliases {
    /// The aliases in `database`.
    #[must_use]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        identity: Arc<Identity>,
        timeline: Arc<Timeline>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { database, interned, identity, timeline, clock }
    }

    /// The room that an alias points to, and the names of servers by which the room can be joined: this one, and some that are in it as far
    /// as that is known.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if there is no such alias.
    pub async fn resolve(&self, alias: &RoomAliasId) -> Result<(OwnedRoomId, Vec<String>), RoomError> {
        let room_sn = self.find(alias).await?.room_sn;
        let room_id = self.interned.room_id(room_sn).await?;
        let room_id = RoomId::parse(&*room_id).map_err(|error| RoomError::Invalid(error.to_string()))?;
        let users = self.database.some_joined_users(room_sn).await?;
        let of_users = users.iter().filter_map(|user_id| Some(user_id.split_once(':')?.1.to_owned()));
        let told = self.database.told_servers(room_sn).await?;
        let mut servers = vec![self.identity.server_name.to_string()];
        for server in of_users.chain(told) {
            if servers.len() < MAX_SERVERS_OF_ROOM && !servers.contains(&server) {
                servers.push(server);
            }
        }
        Ok((room_id, servers))
    }

    /// The ID of a room that is named by its ID or an alias.
    ///
    /// # Errors
    /// As [`Aliases::resolve`].
    pub async fn room_of(&self, room: &RoomOrAliasId) -> Result<OwnedRoomId, RoomError> {
        match <&RoomId>::try_from(room) {
            Ok(room_id) => Ok(room_id.to_owned()),
            Err(alias) => Ok(self.resolve(alias).await?.0),
        }
    }

    async fn find(&self, alias: &RoomAliasId) -> Result<RoomAlias, RoomError> {
        if alias.server_name() != self.identity.server_name {
            let sentence = format!("The alias {alias} is of another server, which this server does not reach.");
            return Err(RoomError::NotFound(sentence));
        }
        let found = self.database.room_alias(alias.as_str()).await?;
        found.ok_or_else(|| RoomError::NotFound(format!("There is no alias {alias}.")))
    }

    /// Points a new alias to a room.
    ///
    /// # Errors
    /// [`RoomError::AliasInUse`] if it exists, [`RoomError::NotInRoom`] if the user is not in the room.
    pub async fn create(&self, requester: &Requester, alias: &RoomAliasId, room_id: &RoomId) -> Result<(), RoomError> {
        self.check_own(alias)?;
        let no_room = || RoomError::NotFound(format!("There is no room {room_id}."));
        let room_sn = self.interned.find_room(room_id.as_str()).await?.ok_or_else(no_room)?;
        let member = self.database.membership(room_sn, requester.user_sn).await?;
        if !requester.is_admin && member.is_none_or(|member| member.membership != Membership::Join) {
            return Err(RoomError::NotInRoom);
        }
        if self.database.count_aliases_of_room(room_sn).await? >= MAX_ALIASES_OF_ROOM {
            return Err(RoomError::Forbidden(format!("A room has at most {MAX_ALIASES_OF_ROOM} aliases.")));
        }
        let added =
            self.database.add_room_alias(alias.to_string(), room_sn, requester.user_sn, self.clock.now()).await?;
        if added { Ok(()) } else { Err(RoomError::AliasInUse(alias.to_string())) }
    }

    /// Refuses an alias that this server cannot have.
    fn check_own(&self, alias: &RoomAliasId) -> Result<(), RoomError> {
        if alias.server_name() != self.identity.server_name {
            return Err(RoomError::Invalid(format!("Aliases made here end in :{}.", self.identity.server_name)));
        }
        check_localpart(alias.alias())?;
        check_length(alias.as_str())
    }

    /// The alias with this localpart, for a room that is being created.
    pub(super) fn of_new_room(&self, localpart: &str) -> Result<String, RoomError> {
        check_localpart(localpart)?;
        let alias = format!("#{localpart}:{}", self.identity.server_name);
        check_length(&alias)?;
        <&RoomAliasId>::try_from(alias.as_str()).map_err(|error| RoomError::Invalid(error.to_string()))?;
        Ok(alias)
    }

    /// Removes an alias, also from the room's `m.room.canonical_alias` if the user may change that.
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if there is no such alias, [`RoomError::Forbidden`] if the user may not remove it.
    pub async fn delete(&self, requester: &Requester, alias: &RoomAliasId) -> Result<(), RoomError> {
        self.check_own(alias)?;
        let found = self.find(alias).await?;
        let room_id = self.interned.room_id(found.room_sn).await?;
        let mut room = self.timeline.open(found.room_sn).await?;
        let may_change_state = may_set_canonical_alias(&mut room, requester).await?;
        drop(room);
        if found.creator_sn != requester.user_sn && !requester.is_admin && !may_change_state {
            return Err(RoomError::Forbidden(format!(
                "Only its creator, and users who may change the aliases of {room_id}, can remove {alias}."
            )));
        }
        if may_change_state && self.timeline.change(found.room_sn, &RemoveAlias { requester, alias }).await? {
            return Ok(());
        }
        self.database.remove_room_alias(alias.to_string()).await?;
        Ok(())
    }

    /// The aliases of this server that point to a room.
    ///
    /// # Errors
    /// [`RoomError::NotInRoom`] if the user is not joined and the room is not world-readable.
    pub async fn of_room(&self, requester: &Requester, room_id: &RoomId) -> Result<Vec<String>, RoomError> {
        let room_sn = self.timeline.find(room_id).await?;
        let member = self.database.membership(room_sn, requester.user_sn).await?;
        if member.is_none_or(|member| member.membership != Membership::Join) {
            let visibility = self.timeline.open(room_sn).await?.state("m.room.history_visibility", "").await?;
            let is_open =
                |content: &CanonicalObject| content.string("history_visibility").as_deref() == Some("world_readable");
            if !visibility.is_some_and(|event| is_open(event.content())) {
                return Err(RoomError::NotInRoom);
            }
        }
        Ok(self.database.aliases_of_room(room_sn).await?)
    }

    /// Refuses a new content of `m.room.canonical_alias` that adds an alias which does not point to the room.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias>
    ///
    /// # Errors
    /// [`RoomError::Invalid`] if it is not an alias, [`RoomError::BadAlias`] if it does not point to the room.
    pub(super) async fn check_canonical(
        &self,
        room_id: &RoomId,
        current: Option<&CanonicalObject>,
        new: &CanonicalObject,
    ) -> Result<(), RoomError> {
        let known = current.map(aliases_of).transpose().ok().flatten().unwrap_or_default();
        for alias in aliases_of(new)? {
            let parsed = <&RoomAliasId>::try_from(alias.as_str());
            let parsed = parsed.map_err(|_| RoomError::Invalid(format!("{alias:?} is not a room alias.")))?;
            if known.contains(&alias) {
                continue;
            }
            let points_to = match self.resolve(parsed).await {
                Ok((points_to, _)) => points_to,
                Err(RoomError::NotFound(sentence)) => return Err(RoomError::BadAlias(sentence)),
                Err(error) => return Err(error),
            };
            if points_to != room_id {
                return Err(RoomError::BadAlias(format!("The alias {alias} points to another room.")));
            }
        }
        Ok(())
    }
}

/// Removes an alias together with its entry in `m.room.canonical_alias`. Answers whether there was such an entry; without
/// one nothing is removed.
struct RemoveAlias<'a> {
    requester: &'a Requester,
    alias: &'a RoomAliasId,
}

impl RoomChange for RemoveAlias<'_> {
    type Answer = bool;

    async fn stage(&self, room: &mut OpenRoom) -> Result<StagedChange<bool>, RoomError> {
        let current = room.state("m.room.canonical_alias", "").await?;
        let Some(content) = current.and_then(|event| without_aliases(event.content(), |it| it == self.alias)) else {
            return Ok((false, None));
        };
        let draft = Draft::state("m.room.canonical_alias", "", content);
        room.stage(self.requester.user_sn, &self.requester.user_id, &draft).await?;
        let alias = self.alias.to_string();
        let also = async move |tx: &mut Tx| tx.remove_room_alias(&alias).await.map(drop);
        Ok((true, Some(Box::new(also) as Box<dyn Step>)))
    }
}

fn check_localpart(localpart: &str) -> Result<(), RoomError> {
    let is_bad =
        |character: char| character == ':' || character == '\0' || character.is_whitespace() || character.is_control();
    if localpart.is_empty() || localpart.contains(is_bad) {
        let sentence = "The name of an alias is not empty, and has no colons, spaces or control characters.";
        return Err(RoomError::Invalid(sentence.to_owned()));
    }
    Ok(())
}

fn check_length(alias: &str) -> Result<(), RoomError> {
    if alias.len() <= MAX_ALIAS_BYTES {
        return Ok(());
    }
    Err(RoomError::Invalid(format!("The alias is {} bytes long; the limit is {MAX_ALIAS_BYTES}.", alias.len())))
}

/// Whether the user is in the room, with the level for `m.room.canonical_alias`.
pub(super) async fn may_set_canonical_alias(room: &mut OpenRoom, requester: &Requester) -> Result<bool, RoomError> {
    if room.membership(&requester.user_id).await? != Some(Membership::Join) {
        return Ok(false);
    }
    let levels = room.power_levels().await?;
    let needed = levels.required_to_send("m.room.canonical_alias", true);
    Ok(levels.user_level(&requester.user_id) >= room_engine::auth::PowerLevel::Finite(needed))
}

/// The aliases that a content of `m.room.canonical_alias` names.
fn aliases_of(content: &CanonicalObject) -> Result<Vec<String>, RoomError> {
    let wrong = |key| {
        RoomError::Invalid(format!(
            "`{key}` of m.room.canonical_alias must be text, or a list of texts for `alt_aliases`."
        ))
    };
    let content = wire::values(content.as_bytes());
    let mut aliases = match content.get("alias") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(alias)) if alias.is_empty() => Vec::new(),
        Some(Value::String(alias)) => vec![alias.clone()],
        Some(_) => return Err(wrong("alias")),
    };
    match content.get("alt_aliases") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            for alias in list {
                aliases.push(alias.as_str().ok_or_else(|| wrong("alt_aliases"))?.to_owned());
            }
        }
        Some(_) => return Err(wrong("alt_aliases")),
    }
    Ok(aliases)
}

/// The content without the aliases that are `is_gone`; `None` if it has none of them.
pub(super) fn without_aliases(content: &CanonicalObject, is_gone: impl Fn(&str) -> bool) -> Option<CanonicalObject> {
    let old = wire::values(content.as_bytes());
    let mut new = old.clone();
    let is_it = |value: &Value| value.as_str().is_some_and(&is_gone);
    if new.get("alias").is_some_and(is_it) {
        new.remove("alias");
    }
    if let Some(Value::Array(list)) = new.get_mut("alt_aliases") {
        list.retain(|value| !is_it(value));
        if list.is_empty() {
            new.remove("alt_aliases");
        }
    }
    if new == old { None } else { CanonicalObject::from_serialize(&new, Numbers::Strict).ok() }
}
