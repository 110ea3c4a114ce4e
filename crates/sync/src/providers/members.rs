//! Lazy-loaded members: which member events a client needs to show a timeline.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use homeserver_core::{KeySn, Position, RoomSn, TypeSn};
use rooms::RoomError;
use rooms::reading::{Visibility, concerns_erased_member, redact_erased_members};
use storage::{KnownState, StoredEvent};

use super::changes::RoomUpdate;
use super::summary::Hero;
use super::timelines::TimelinePart;
use super::{Pass, Providers};

impl Providers {
    /// The members of each room whom the client may need to know before its timeline, if it loads them lazily or they are
    /// read in pages.
    pub(crate) async fn load_members(
        &self,
        pass: &Pass<'_>,
        rooms: &[(&RoomUpdate, &TimelinePart, &[Hero])],
        is_fresh: bool,
    ) -> Result<HashMap<RoomSn, Vec<Arc<StoredEvent>>>, RoomError> {
        let member_type = self.interned.event_type("m.room.member").await?;
        let mut wanted = Vec::with_capacity(rooms.len());
        for (update, timeline, heroes) in rooms {
            if pass.wants.lazy_members() || update.is_large {
                let keys = self.wanted_members(pass, timeline, heroes, is_fresh, member_type).await?;
                wanted.push((&update.state, keys.into_iter().map(|key_sn| key_sn.0).collect()));
            }
        }
        let mut current: HashMap<RoomSn, Vec<Arc<StoredEvent>>> = HashMap::with_capacity(wanted.len());
        for event in self.database.state_of_keys(&wanted, member_type).await? {
            current.entry(event.room_sn).or_default().push(Arc::new(event));
        }
        for (update, timeline, _) in rooms {
            if let Some(members) = current.get_mut(&update.room_sn) {
                *members = self.state_before(pass, timeline, std::mem::take(members)).await?;
            }
        }
        Ok(current)
    }

    /// The state keys of the members that the client needs.
    async fn wanted_members(
        &self,
        pass: &Pass<'_>,
        timeline: &TimelinePart,
        heroes: &[Hero],
        is_fresh: bool,
        member_type: TypeSn,
    ) -> Result<HashSet<KeySn>, RoomError> {
        let mut users: HashSet<_> = timeline.events.iter().map(|event| event.sender_sn).collect();
        users.extend(heroes.iter().map(|hero| hero.user_sn));
        if is_fresh {
            users.insert(pass.requester.user_sn);
        }
        let mut wanted = HashSet::with_capacity(users.len());
        for user_sn in users {
            let user_id = self.interned.user_id(user_sn).await?;
            wanted.extend(self.interned.find_key(&user_id).await?);
        }
        if timeline.is_sieved {
            // What became of them may be hidden.
            let shown = timeline.events.iter().filter(|event| event.type_sn == member_type);
            wanted.extend(shown.filter_map(|event| event.state_key_sn));
        }
        Ok(wanted)
    }

    /// Puts redacted copies in place of the members who asked for that, if the reader came later.
    pub(crate) async fn redact_erased_state(
        &self,
        pass: &Pass<'_>,
        room: &KnownState,
        state: &mut [Arc<StoredEvent>],
    ) -> Result<(), RoomError> {
        if state.iter().any(|event| concerns_erased_member(event)) {
            let user_sn = pass.requester.user_sn;
            let visibility = Visibility::load(&self.database, &self.interned, room, user_sn, Position::START).await?;
            redact_erased_members(&self.database, &visibility, state).await?;
        }
        Ok(())
    }
}
