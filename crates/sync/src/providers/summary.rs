//! Room summaries: how many members a room has, and, for rooms without a name, who they are.

use std::collections::HashMap;
use std::sync::Arc;

use homeserver_core::{RoomSn, TypeSn, UserSn};
use room_engine::string_value;
use rooms::RoomError;
use rooms::wire;
use storage::{KnownState, MemberCounts, RoomHead, StoredEvent};

use super::changes::RoomUpdate;
use super::timelines::TimelinePart;
use super::{Pass, Providers};

/// Members that a room without a name is called after.
const HEROES: usize = 5;

/// The `summary` of a room.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>
pub(crate) struct Summary {
    pub(crate) heroes: Option<Vec<Hero>>,
    /// `None` while not all members are known.
    pub(crate) members: Option<MemberCounts>,
}

/// A member that a room without a name is called after.
pub(crate) struct Hero {
    pub(crate) user_sn: UserSn,
    pub(crate) user_id: Arc<str>,
}

impl Providers {
    /// The summary of a room that the client knows, if it may have changed.
    pub(crate) async fn changed_summary(
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
            _ if pass.wants.full_state || update.is_completed => true,
            Some(gap) => timeline.events.iter().chain(gap).any(may_change),
            None if timeline.events.iter().any(may_change) => true,
            // Where branches of the room met, older events can come into the state that are not in the timeline.
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
        let heroes = if self.is_named(&naming).await? {
            None
        } else {
            let mut heroes = self.heroes(pass, &[update]).await?;
            Some(heroes.remove(&update.room_sn).unwrap_or_default())
        };
        Ok(Some(Summary::of(update, &head, heroes)))
    }

    /// Whether a room has a name or an alias, of whose state `known` has at least what names it.
    pub(crate) async fn is_named(&self, known: &[Arc<StoredEvent>]) -> Result<bool, RoomError> {
        let [name_type, alias_type] = self.naming_types().await?;
        Ok(known.iter().any(|event| match event.type_sn {
            type_sn if type_sn == name_type => has_text(event, "name"),
            type_sn if type_sn == alias_type => has_text(event, "alias"),
            _ => false,
        }))
    }

    async fn naming_types(&self) -> Result<[TypeSn; 2], RoomError> {
        let name = self.interned.event_type("m.room.name").await?;
        Ok([name, self.interned.event_type("m.room.canonical_alias").await?])
    }

    /// The heroes of rooms: the first joined and invited members in the order of the log, or the first who have left if there are
    /// no others.
    pub(crate) async fn heroes(
        &self,
        pass: &Pass<'_>,
        updates: &[&RoomUpdate],
    ) -> Result<HashMap<RoomSn, Vec<Hero>>, RoomError> {
        let states: Vec<&KnownState> = updates.iter().map(|update| &update.state).collect();
        let first = self.database.first_members(&states, pass.requester.user_sn, HEROES).await?;
        for member in &first {
            self.interned.remember_user(&member.user_id, member.user_sn, None);
        }
        let mut heroes: HashMap<RoomSn, Vec<Hero>> = HashMap::with_capacity(updates.len());
        for of_room in first.chunk_by(|a, b| a.room_sn == b.room_sn) {
            let Some(first) = of_room.first() else { continue };
            let same = of_room.iter().take_while(|member| member.is_gone == first.is_gone);
            let same = same.map(|member| Hero { user_sn: member.user_sn, user_id: member.user_id.as_ref().into() });
            heroes.insert(first.room_sn, same.collect());
        }
        Ok(heroes)
    }
}

impl Summary {
    pub(crate) fn of(update: &RoomUpdate, head: &RoomHead, heroes: Option<Vec<Hero>>) -> Self {
        Self { heroes, members: update.state.full().map(|full| head.members(full)) }
    }
}

/// Whether the content of the event has a text under `key` that is not empty.
fn has_text(event: &StoredEvent, key: &str) -> bool {
    let content = wire::member(&event.client_json, "content").unwrap_or_default();
    wire::member(content, key).and_then(string_value).is_some_and(|text| !text.is_empty())
}
