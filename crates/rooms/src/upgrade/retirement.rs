//! The last events of a room that is replaced.

use std::collections::HashSet;

use accounts::sessions::Requester;
use homeserver_core::{RoomSn, Timestamp, UserSn};
use room_engine::CanonicalObject;
use ruma::{OwnedEventId, OwnedRoomId};
use storage::{Step, Tx};

use super::levels;
use crate::aliases::without_aliases;
use crate::create::RoomCreation;
use crate::member_content::{ContentMap, canonical};
use crate::{Draft, OpenRoom, RoomChange, RoomError, StagedChange};

/// Adds a tombstone to a room. The same transaction moves its aliases and its entry in the directory to the new room.
pub(super) struct Retirement<'a> {
    pub(super) requester: &'a Requester,
    pub(super) new_room_id: OwnedRoomId,
    pub(super) new_sn: RoomSn,
    /// The aliases of the room, with their creators.
    pub(super) aliases: &'a [(String, UserSn)],
    /// Whether the room is in the directory.
    pub(super) is_published: bool,
}

impl RoomChange for Retirement<'_> {
    /// The ID of the tombstone.
    type Answer = OwnedEventId;

    async fn stage(&self, room: &mut OpenRoom) -> Result<StagedChange<OwnedEventId>, RoomError> {
        let canonical_alias = room.state("m.room.canonical_alias", "").await?;
        let create = room.state("m.room.create", "").await?.ok_or(RoomError::NoSuchRoom)?;
        let levels = levels::in_force(&create, room.state("m.room.power_levels", "").await?.as_ref())?;

        let draft = Draft::state("m.room.tombstone", "", self.tombstone()?);
        let tombstone = room.stage(self.requester.user_sn, &self.requester.user_id, &draft).await?;
        let moved: HashSet<&str> = self.aliases.iter().map(|(alias, _)| alias.as_str()).collect();
        let without = canonical_alias.and_then(|event| without_aliases(event.content(), |it| moved.contains(it)));
        if let Some(content) = without {
            self.stage_if_allowed(room, &Draft::state("m.room.canonical_alias", "", content)).await?;
        }
        if let Some(levels) = levels::closed(levels) {
            self.stage_if_allowed(room, &Draft::state("m.room.power_levels", "", canonical(&levels)?)).await?;
        }
        let also = self.moving(Timestamp(tombstone.origin_server_ts()));
        Ok((tombstone.event_id().to_owned(), Some(also)))
    }
}

impl Retirement<'_> {
    fn tombstone(&self) -> Result<CanonicalObject, RoomError> {
        let mut content = ContentMap::new();
        content.insert("body".to_owned(), "This room has been replaced".into());
        content.insert("replacement_room".to_owned(), self.new_room_id.as_str().into());
        canonical(&content)
    }

    /// Stages an event, unless the rules refuse it: a user may send the tombstone, and not the other events.
    async fn stage_if_allowed(&self, room: &mut OpenRoom, draft: &Draft) -> Result<(), RoomError> {
        match room.stage(self.requester.user_sn, &self.requester.user_id, draft).await {
            Err(RoomError::Refused(reason)) => {
                tracing::debug!(%reason, event_type = draft.event_type, "the rules refuse an event in a room that is replaced");
                Ok(())
            }
            result => result.map(drop),
        }
    }

    fn moving(&self, now: Timestamp) -> Box<dyn Step> {
        let (aliases, new_sn, is_published) = (self.aliases.to_vec(), self.new_sn, self.is_published);
        Box::new(async move |tx: &mut Tx| {
            for (alias, creator_sn) in &aliases {
                // Another request may have removed the alias, which must not bring it back.
                if tx.remove_room_alias(alias).await? {
                    tx.add_room_alias(alias, new_sn, *creator_sn, now).await?;
                }
            }
            if is_published {
                tx.publish_room(new_sn).await?;
            }
            Ok(())
        })
    }
}

impl RoomCreation {
    /// The aliases that point to a room, with their creators.
    pub(super) async fn local_aliases(&self, room_sn: RoomSn) -> Result<Vec<(String, UserSn)>, RoomError> {
        let mut aliases = Vec::new();
        for alias in self.database.aliases_of_room(room_sn).await? {
            if let Some(found) = self.database.room_alias(&alias).await?.filter(|found| found.room_sn == room_sn) {
                aliases.push((alias, found.creator_sn));
            }
        }
        Ok(aliases)
    }
}
