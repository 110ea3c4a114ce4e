//! Room summaries: how many members a room has, and, for rooms without a name, who they are.

use std::sync::Arc;

use homeserver_core::TypeSn;
use room_engine::string_value;
use storage::{MemberCounts, Membership, RoomHead, StoredEvent};

use super::changes::RoomUpdate;
use super::joined::TimelinePart;
use super::{Pass, Sync};
use crate::rooms::RoomError;
use crate::wire;

/// Members that stand for a room without a name.
const HEROES: i64 = 5;

/// The `summary` of a room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>
pub(super) struct Summary {
    pub(super) heroes: Option<Vec<Arc<str>>>,
    /// `None` while not all members are known.
    pub(super) members: Option<MemberCounts>,
}

impl Sync {
    /// The summary of a room that the client knows, if it may have changed.
    pub(super) async fn changed_summary(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &TimelinePart,
    ) -> Result<Option<Summary>, RoomError> {
        let member_type = self.interned.event_type("m.room.member").await?;
        let [name_type, alias_type] = self.naming_types().await?;
        let types = [member_type, name_type, alias_type];
        let may_have_changed = match &timeline.gap {
            _ if pass.request.full_state || update.is_completed => true,
            Some(gap) => (timeline.events.iter().chain(gap))
                .any(|event| event.state_key_sn.is_some() && types.contains(&event.type_sn)),
            // Also what no event of the timeline stands for: older events come (back) where branches of the room met.
            None => {
                let changes = self.database.state_changes(&[update.room_sn.0], pass.after(), pass.to).await?;
                changes.iter().any(|change| types.contains(&change.entry.type_sn))
            }
        };
        if !may_have_changed {
            return Ok(None);
        }
        let Some(head) = self.database.room_head(update.room_sn).await? else { return Ok(None) };
        let empty_key = self.interned.state_key("").await?;
        let mut naming = Vec::new();
        for type_sn in [name_type, alias_type] {
            naming.extend(self.database.state_event(&update.state, type_sn, empty_key).await?.map(Arc::new));
        }
        self.summary(pass, update, &head, &naming).await.map(Some)
    }

    /// The summary of a room, of whose state `known` has at least what names it.
    pub(super) async fn summary(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        head: &RoomHead,
        known: &[Arc<StoredEvent>],
    ) -> Result<Summary, RoomError> {
        let naming = self.naming_types().await?;
        let is_named = known.iter().any(|event| naming.contains(&event.type_sn) && names_room(&event.client_json));
        let heroes = if is_named { None } else { Some(self.heroes(pass, update).await?) };
        Ok(Summary { heroes, members: update.state.full().map(|full| head.members(full)) })
    }

    async fn naming_types(&self) -> Result<[TypeSn; 2], RoomError> {
        let name = self.interned.event_type("m.room.name").await?;
        Ok([name, self.interned.event_type("m.room.canonical_alias").await?])
    }

    async fn heroes(&self, pass: &Pass<'_>, update: &RoomUpdate) -> Result<Vec<Arc<str>>, RoomError> {
        let mut heroes = Vec::new();
        // Those who are here or may come; only if there are none, those who have gone.
        let groups: [&[Membership]; 2] =
            [&[Membership::Join, Membership::Invite], &[Membership::Leave, Membership::Ban]];
        for group in groups {
            for membership in group {
                let left = HEROES - i64::try_from(heroes.len()).unwrap_or(HEROES);
                let me = pass.requester.user_sn;
                for user_sn in self.database.first_members(&update.state, *membership, me, left).await? {
                    heroes.push(self.interned.user_id(user_sn).await?);
                }
            }
            if !heroes.is_empty() {
                break;
            }
        }
        Ok(heroes)
    }
}

/// Whether a name or a main alias is one: it may be empty, or redacted.
fn names_room(client_json: &[u8]) -> bool {
    let content = wire::member(client_json, "content").unwrap_or_default();
    let text = |key| wire::member(content, key).and_then(string_value).is_some_and(|text| !text.is_empty());
    text("name") || text("alias")
}
