//! Lazy-loaded members: which member events a client needs to show a timeline.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use homeserver_core::{Cache, DeviceSn, EventSn, MemoryBudget, Position, RoomSn, UserSn};
use parking_lot::Mutex;
use storage::StoredEvent;

use super::changes::RoomUpdate;
use super::joined::TimelinePart;
use super::{Pass, Sync};
use crate::reading::{Visibility, concerns_erased_member, redact_erased_members};
use crate::rooms::RoomError;

/// Members remembered for one room of a device.
const REMEMBERED_MEMBERS: usize = 1_000;

type Sent = Arc<Mutex<HashMap<UserSn, (EventSn, Position)>>>;

/// Which member events each device was sent, and in the answer up to which position: a client that asks from there on has
/// received them.
pub(super) struct SentMembers {
    rooms: Cache<(DeviceSn, RoomSn), Sent>,
}

impl SentMembers {
    pub(super) fn new(memory: &MemoryBudget) -> Self {
        Self { rooms: Cache::new(memory, "sent_members") }
    }

    /// Whether the device has this member event for certain; if not, it is sent now.
    fn was_sent(&self, pass: &Pass<'_>, room_sn: RoomSn, user_sn: UserSn, event_sn: EventSn) -> bool {
        let Some(device_sn) = pass.requester.device_sn else { return false };
        let of_room = self.rooms.get_or_insert_with(&(device_sn, room_sn), Sent::default);
        let mut sent = of_room.lock();
        if let Some((sent_sn, until)) = sent.get(&user_sn)
            && *sent_sn == event_sn
            && pass.from.is_some_and(|from| *until <= from)
        {
            return true;
        }
        if sent.len() >= REMEMBERED_MEMBERS {
            sent.clear();
        }
        let capacity = sent.capacity();
        sent.insert(user_sn, (event_sn, pass.to));
        let has_grown = sent.capacity() > capacity;
        // The cache asks for the size under its own lock.
        drop(sent);
        if has_grown {
            self.rooms.reweigh(&(device_sn, room_sn));
        }
        false
    }
}

impl Sync {
    /// What of `state` the client wants. With lazy loading that is, of the members, those who sent what is in the timeline.
    pub(super) async fn choose_state(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &TimelinePart,
        state: Vec<Arc<StoredEvent>>,
        is_fresh: bool,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        let filter = &pass.request.filter.room.0.state.0;
        let mut state = self.filtered(filter, state, &update.room_id).await?;
        if pass.lazy_loads_members() {
            let member_type = self.interned.event_type("m.room.member").await?;
            state.retain(|event| event.type_sn != member_type);
            let mut wanted: HashSet<UserSn> = timeline.events.iter().map(|event| event.sender_sn).collect();
            if is_fresh {
                wanted.insert(pass.requester.user_sn);
            }
            state.extend(self.member_events(pass, update, timeline, wanted, is_fresh).await?);
        }
        state.sort_by_key(|event| event.sn);
        if state.iter().any(|event| concerns_erased_member(event)) {
            let (room, user_sn) = (&update.state, pass.requester.user_sn);
            let visibility = Visibility::load(&self.database, &self.interned, room, user_sn, Position::START).await?;
            redact_erased_members(&self.database, &visibility, &mut state).await?;
        }
        Ok(state)
    }

    async fn member_events(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &TimelinePart,
        wanted: HashSet<UserSn>,
        is_fresh: bool,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        let member_type = self.interned.event_type("m.room.member").await?;
        let mut keys = Vec::with_capacity(wanted.len());
        let mut users = HashMap::with_capacity(wanted.len());
        for user_sn in wanted {
            let user_id = self.interned.user_id(user_sn).await?;
            if let Some(key_sn) = self.interned.find_key(&user_id).await? {
                keys.push(key_sn.0);
                users.insert(key_sn, user_sn);
            }
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let current = self.database.state_of_keys(&update.state, member_type, &keys).await?;
        let current = current.into_iter().map(Arc::new).collect();
        let mut members = self.state_before(pass, timeline, current).await?;
        let wants_all = is_fresh || pass.request.filter.room.0.state.0.include_redundant_members;
        members.retain(|event| {
            let Some(user_sn) = event.state_key_sn.and_then(|key_sn| users.get(&key_sn)) else { return false };
            let was_sent = self.sent_members.was_sent(pass, update.room_sn, *user_sn, event.sn);
            wants_all || !was_sent
        });
        Ok(members)
    }
}
