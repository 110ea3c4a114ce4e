//! The presence of users who share a room with the user.

use std::collections::HashMap;
use std::sync::Arc;

use homeserver_core::UserSn;
use rooms::RoomError;
use rooms::wire::push_string;
use storage::Presence;

use super::changes::Changes;
use super::{Pass, Providers};

/// Most users in one answer; the newest changes come first. A client that sees rooms for the first time does not need the presence of
/// all members.
const MAX_USERS: i64 = 1_000;

impl Providers {
    /// The events, as JSON, that tell of presence that has changed in the pass, or that the user has come to see in it.
    pub(crate) async fn presence_events(
        &self,
        pass: &Pass<'_>,
        changes: &mut Changes,
    ) -> Result<Vec<Vec<u8>>, RoomError> {
        if !self.presences.is_enabled() || !pass.wants.presence() {
            return Ok(Vec::new());
        }
        let mut told: HashMap<UserSn, Arc<Presence>> = HashMap::new();
        let mut tell = |found: Vec<Presence>| {
            for presence in found {
                told.entry(presence.user_sn).or_insert_with(|| Arc::new(presence));
            }
        };
        let joined = || pass.rooms.joined().into_iter().map(|room_sn| room_sn.0).collect::<Vec<_>>();
        match (pass.from, &changes.presence) {
            (None, _) => tell(self.database.presence_in_rooms(&joined(), MAX_USERS).await?),
            (Some(from), None) => tell(self.database.presence_changes(&joined(), from, pass.to, MAX_USERS).await?),
            (Some(_), Some(_)) => {}
        }
        let fresh: Vec<i64> =
            changes.rooms.iter().filter(|update| update.is_fresh(pass)).map(|it| it.room_sn.0).collect();
        if pass.from.is_some() && !fresh.is_empty() {
            tell(self.database.presence_in_rooms(&fresh, MAX_USERS).await?);
        }
        let mut changed = changes.presence.take().unwrap_or_default();
        // They may have joined rooms that the user has left or is only invited to: this is checked below.
        for newcomer in changes.newcomers.iter().filter_map(|user_sn| self.presences.present(*user_sn)) {
            changed.entry(newcomer.user_sn).or_insert(newcomer);
        }
        if !changed.is_empty() {
            let own = pass.rooms.joined();
            for (user_sn, presence) in changed {
                let is_own = user_sn == pass.requester.user_sn;
                if is_own || self.user_rooms.of_other(user_sn).await?.is_in_any_of(&own) {
                    told.insert(user_sn, presence);
                }
            }
        }
        // A user who is in no room has a presence, too.
        if pass.from.is_none()
            && let Some(own) = self.presences.present(pass.requester.user_sn)
        {
            told.insert(own.user_sn, own);
        }
        self.write_presence(pass, told.into_values().collect()).await
    }

    async fn write_presence(&self, pass: &Pass<'_>, mut told: Vec<Arc<Presence>>) -> Result<Vec<Vec<u8>>, RoomError> {
        let filter = pass.wants.presence_filter();
        let limit = filter.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        told.sort_unstable_by_key(|presence| presence.position);
        let mut events = Vec::new();
        // Where they are too many for the filter, the newest ones.
        for presence in told.into_iter().rev() {
            if events.len() == limit {
                break;
            }
            let sender = self.interned.user_id(presence.user_sn).await?;
            if filter.includes_sender(&sender) {
                let mut event = br#"{"type":"m.presence","sender":"#.to_vec();
                push_string(&mut event, &sender);
                event.extend_from_slice(br#","content":"#);
                self.presences.write_content(&mut event, &presence);
                event.push(b'}');
                events.push(event);
            }
        }
        Ok(events)
    }
}
