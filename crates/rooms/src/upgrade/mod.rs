//! Replacing a room by one of another version.
//!
//! 1. The new room is created with state from the old one ([`blueprint`], [`levels`]): one transaction.
//! 2. The old room gets its tombstone ([`retirement`]), and its aliases and its entry in the directory move to the new one:
//!    another transaction. The old room stays locked until it is stored.
//! 3. Spaces that name the old room get the new one ([`spaces`]), and the upgrader's settings are copied
//!    ([`inheritance`](super::inheritance)).
//!
//! If the upgrade is interrupted before the second transaction, the old room is unchanged, and the upgrader may be alone in a
//! new room that no tombstone names. After it, a repeated request has the same answer and completes the third step.

mod blueprint;
mod levels;
mod retirement;
mod spaces;

use accounts::sessions::Requester;
use homeserver_core::RoomSn;
use room_engine::auth::PowerLevel;
use room_engine::{Membership, Pdu, RoomVersion};
use ruma::{EventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::{Value, json};
use storage::FullState;

use self::blueprint::Blueprint;
use self::retirement::Retirement;
use self::spaces::Relinking;
use super::create::RoomCreation;
use super::inheritance::inherit;
use super::{Draft, OpenRoom, RoomChange, RoomError};
use crate::wire;

/// A request to replace a room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade>
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// The version of the new room.
    pub new_version: String,
    /// The user IDs of its creators besides the upgrader; ignored if the version has none.
    pub additional_creators: Vec<String>,
}

/// A room that is being replaced.
struct Replacing<'a> {
    requester: &'a Requester,
    room_id: &'a RoomId,
    room_sn: RoomSn,
    version: RoomVersion,
    /// Proof that the room's full state is known.
    state: FullState,
    /// Sorted, without duplicates and without the upgrader.
    additional_creators: Vec<OwnedUserId>,
}

impl RoomCreation {
    /// Replaces a room by a new one, and returns the ID of the new room.
    ///
    /// # Errors
    /// [`RoomError::UnsupportedVersion`], [`RoomError::NotInRoom`], [`RoomError::Forbidden`] if the user may not send
    /// `m.room.tombstone`, [`RoomError::StillPartial`], and others.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn upgrade(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        upgrade: &Upgrade,
    ) -> Result<OwnedRoomId, RoomError> {
        let version: RoomVersion = upgrade.new_version.parse()?;
        let additional_creators = additional_creators(version, &requester.user_id, &upgrade.additional_creators)?;
        let room_sn = self.timeline.find(room_id).await?;
        let state = self.timeline.states().full(room_sn).await?;
        let spent = self.spend(requester)?;
        let replacing = Replacing { requester, room_id, room_sn, version, state, additional_creators };
        let upgraded = Box::pin(self.upgrade_within_limits(replacing)).await;
        spent.settle(upgraded)
    }

    async fn upgrade_within_limits(&self, replacing: Replacing<'_>) -> Result<OwnedRoomId, RoomError> {
        let _permit = self.limit.enter().await?;
        let Replacing { requester, room_sn, .. } = replacing;
        let tombstone_before = self.stored_state(room_sn, "m.room.tombstone").await?;
        let mut old = self.timeline.open_settled(room_sn).await?;
        check_may_replace(&mut old, requester).await?;
        let earlier = match old.state("m.room.tombstone", "").await? {
            None => None,
            Some(tombstone) => {
                let earlier = self.earlier_replacement(&replacing, &tombstone).await?;
                let is_new = tombstone_before.is_none_or(|before| *before.event_id != *tombstone.event_id().as_str());
                if earlier.is_none() && is_new {
                    return Err(RoomError::Forbidden("Somebody else has replaced this room just now.".to_owned()));
                }
                earlier
            }
        };
        let new_room_id = match earlier {
            Some(new_room_id) => {
                // The third step locks other rooms, one at a time.
                drop(old);
                new_room_id
            }
            None => Box::pin(self.replace(&replacing, old)).await?,
        };
        self.follow_up(&replacing, &new_room_id).await?;
        Ok(new_room_id)
    }

    /// The new room of an earlier equal request, if the upgrader is still in it.
    async fn earlier_replacement(
        &self,
        replacing: &Replacing<'_>,
        tombstone: &Pdu,
    ) -> Result<Option<OwnedRoomId>, RoomError> {
        let requester = replacing.requester;
        let named = tombstone.content().string("replacement_room").and_then(|id| RoomId::parse(&*id).ok());
        let Some(new_room_id) = named.filter(|_| tombstone.sender() == requester.user_id) else { return Ok(None) };
        let Some(new_sn) = self.interned.find_room(new_room_id.as_str()).await? else { return Ok(None) };
        let member = self.database.membership(new_sn, requester.user_sn).await?;
        let Some(create) = self.stored_state(new_sn, "m.room.create").await? else { return Ok(None) };
        let content = wire::member(&create.client_json, "content").unwrap_or_default();
        let content = wire::values(content);
        let creators = content.get("additional_creators").cloned().unwrap_or_else(|| json!([]));
        let is_it = member.is_some_and(|member| member.membership == Membership::Join)
            && create.sender_sn == requester.user_sn
            && content.get("room_version").and_then(Value::as_str) == Some(replacing.version.as_str())
            && content.get("predecessor").and_then(|it| it.get("room_id")?.as_str())
                == Some(replacing.room_id.as_str())
            && creators == json!(replacing.additional_creators);
        Ok(is_it.then_some(new_room_id))
    }

    /// Creates the new room, and the tombstone of the old one.
    async fn replace(&self, replacing: &Replacing<'_>, mut old: OpenRoom) -> Result<OwnedRoomId, RoomError> {
        let Replacing { requester, room_sn, version, .. } = *replacing;
        let blueprint = self.blueprint(&mut old, replacing).await?;
        let aliases = self.local_aliases(room_sn).await?;
        let is_published = self.database.is_room_published(room_sn).await?;
        let retirement = |new_room_id: OwnedRoomId, new_sn| Retirement {
            requester,
            new_room_id,
            new_sn,
            aliases: &aliases,
            is_published,
        };

        let given_id = (!version.room_id_is_create_hash()).then(|| RoomId::new_v1(&self.identity.server_name));
        let mut new = self.timeline.open_new(given_id.clone(), version).await;
        // The create event names the tombstone, and the tombstone names the new room. If the new room's ID is a hash of its
        // create event, the create event must come first and cannot name the tombstone.
        let (retirement, also) = if let Some(new_room_id) = given_id {
            let new_sn = self.interned.room(new_room_id.as_str()).await?;
            let retirement = retirement(new_room_id, new_sn);
            let (tombstone, also) = retirement.stage(&mut old).await?;
            stage_create(&mut new, replacing, &blueprint, Some(&tombstone)).await?;
            (retirement, also)
        } else {
            stage_create(&mut new, replacing, &blueprint, None).await?;
            let new_room_id = new.room_id().ok_or(RoomError::NoSuchRoom)?.to_owned();
            let new_sn = self.interned.room(new_room_id.as_str()).await?;
            let retirement = retirement(new_room_id, new_sn);
            let (_, also) = retirement.stage(&mut old).await?;
            (retirement, also)
        };
        for draft in blueprint.state {
            new.stage(requester.user_sn, &requester.user_id, &draft).await?;
        }

        let submitted = new.submit(None).await?;
        self.timeline.adopt(retirement.new_sn, &submitted);
        submitted.stored().await?;
        match old.submit(also).await?.stored().await {
            Ok(_) => {}
            // Another node was faster. The new room exists, so the tombstone is built again for it.
            Err(RoomError::Contended) => self.timeline.change(room_sn, &retirement).await.map(drop)?,
            Err(error) => return Err(error),
        }
        Ok(retirement.new_room_id)
    }

    /// The third step, which can be repeated.
    async fn follow_up(&self, replacing: &Replacing<'_>, new_room_id: &RoomId) -> Result<(), RoomError> {
        let Replacing { requester, room_id, room_sn, .. } = *replacing;
        let new_sn = self.timeline.find(new_room_id).await?;
        if self.database.is_room_published(room_sn).await? {
            self.database.set_room_published(new_sn, true).await?;
            self.database.set_room_published(room_sn, false).await?;
        }
        let relinking = Relinking {
            database: &self.database,
            interned: &self.interned,
            timeline: &self.timeline,
            server_name: &self.identity.server_name,
            requester,
            old_room_id: room_id,
            new_room_id,
        };
        relinking.run().await?;
        Ok(inherit(&self.database, &self.interned, self.timeline.states(), requester.user_sn, room_id, new_room_id)
            .await?)
    }

    /// The stored event of a type, with an empty state key, in a room's state.
    async fn stored_state(&self, room_sn: RoomSn, event_type: &str) -> Result<Option<storage::StoredEvent>, RoomError> {
        let Some(type_sn) = self.interned.find_type(event_type).await? else { return Ok(None) };
        let Some(key_sn) = self.interned.find_key("").await? else { return Ok(None) };
        Ok(self.database.state_event(&self.timeline.states().of(room_sn), type_sn, key_sn).await?)
    }
}

/// The creators of the new room besides the upgrader.
fn additional_creators(
    version: RoomVersion,
    upgrader: &UserId,
    named: &[String],
) -> Result<Vec<OwnedUserId>, RoomError> {
    if !version.rules().authorization.additional_room_creators {
        return Ok(Vec::new());
    }
    let parse = |text: &String| {
        UserId::parse(text)
            .map_err(|_| RoomError::Malformed(format!("additional_creators: {text:?} is not a user ID.")))
    };
    let mut creators = named.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    creators.retain(|user_id| user_id != upgrader);
    creators.sort_unstable();
    creators.dedup();
    Ok(creators)
}

async fn check_may_replace(old: &mut OpenRoom, requester: &Requester) -> Result<(), RoomError> {
    if old.membership(&requester.user_id).await? != Some(Membership::Join) {
        return Err(RoomError::NotInRoom);
    }
    let levels = old.power_levels().await?;
    let (have, needed) = (levels.user_level(&requester.user_id), levels.required_to_send("m.room.tombstone", true));
    if have < PowerLevel::Finite(needed) {
        return Err(RoomError::Forbidden(format!(
            "You need the power level {needed} to upgrade this room; yours is {have}."
        )));
    }
    Ok(())
}

/// Stages the create event and the upgrader's joining.
async fn stage_create(
    new: &mut OpenRoom,
    replacing: &Replacing<'_>,
    blueprint: &Blueprint,
    tombstone: Option<&EventId>,
) -> Result<(), RoomError> {
    let requester = replacing.requester;
    let content = blueprint.create_content(replacing, tombstone)?;
    for draft in [&Draft::state("m.room.create", "", content), &blueprint.upgrader] {
        new.stage(requester.user_sn, &requester.user_id, draft).await?;
    }
    Ok(())
}
