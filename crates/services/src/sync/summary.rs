//! Room summaries: how many members a room has, and, for rooms without a name, who they are.

use std::sync::Arc;

use homeserver_core::{TypeSn, UserSn};
use room_engine::string_value;
use storage::{MemberCounts, RoomHead, StoredEvent};

use super::changes::RoomUpdate;
use super::joined::TimelinePart;
use super::{Pass, Sync};
use crate::rooms::RoomError;
use crate::wire;

/// Members that stand for a room without a name.
const HEROES: usize = 5;

/// The `summary` of a room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>
pub(super) struct Summary {
    pub(super) heroes: Option<Vec<Hero>>,
    /// `None` while not all members are known.
    pub(super) members: Option<MemberCounts>,
}

/// A member who stands for a room without a name.
pub(super) struct Hero {
    pub(super) user_sn: UserSn,
    pub(super) user_id: Arc<str>,
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
        let redaction_type = self.interned.event_type("m.room.redaction").await?;
        let types = [member_type, name_type, alias_type];
        // A name that is redacted is none any more.
        let may_change = |event: &Arc<StoredEvent>| {
            event.type_sn == redaction_type || (event.state_key_sn.is_some() && types.contains(&event.type_sn))
        };
        let may_have_changed = match &timeline.gap {
            _ if pass.request.full_state || update.is_completed => true,
            Some(gap) => timeline.events.iter().chain(gap).any(may_change),
            None if timeline.events.iter().any(may_change) => true,
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
        let [name_type, alias_type] = self.naming_types().await?;
        let is_named = known.iter().any(|event| match event.type_sn {
            type_sn if type_sn == name_type => has_text(event, "name"),
            type_sn if type_sn == alias_type => has_text(event, "alias"),
            _ => false,
        });
        let heroes = if is_named { None } else { Some(self.heroes(pass, update).await?) };
        Ok(Summary { heroes, members: update.state.full().map(|full| head.members(full)) })
    }

    async fn naming_types(&self) -> Result<[TypeSn; 2], RoomError> {
        let name = self.interned.event_type("m.room.name").await?;
        Ok([name, self.interned.event_type("m.room.canonical_alias").await?])
    }

    /// Those who are here or may come, the first by the order of the log; only if there are none, those who have gone.
    async fn heroes(&self, pass: &Pass<'_>, update: &RoomUpdate) -> Result<Vec<Hero>, RoomError> {
        let first = self.database.first_members(&update.state, pass.requester.user_sn, HEROES).await?;
        let is_gone = first.first().is_none_or(|member| member.is_gone);
        let same = first.into_iter().take_while(|member| member.is_gone == is_gone);
        Ok(same.map(|member| Hero { user_sn: member.user_sn, user_id: member.user_id.into() }).collect())
    }
}

/// Whether the content of the event has a text under `key` that is not empty.
fn has_text(event: &StoredEvent, key: &str) -> bool {
    let content = wire::member(&event.client_json, "content").unwrap_or_default();
    wire::member(content, key).and_then(string_value).is_some_and(|text| !text.is_empty())
}
