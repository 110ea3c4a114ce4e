//! Which of the members that a lazily loading client needs it has already.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use homeserver_core::{Cache, DeviceSn, EventSn, KeySn, MemoryBudget, Position, RoomSn};
use parking_lot::Mutex;
use rooms::RoomError;
use storage::StoredEvent;

use super::Sync;
use crate::providers::Pass;
use crate::providers::changes::RoomUpdate;
use crate::providers::timelines::TimelinePart;

/// Members remembered for one room of a device.
const REMEMBERED_MEMBERS: usize = 1_000;

/// By the state keys of their events.
type Sent = Arc<Mutex<HashMap<KeySn, (EventSn, Position)>>>;

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
    fn was_sent(&self, pass: &Pass<'_>, room_sn: RoomSn, key_sn: KeySn, event_sn: EventSn) -> bool {
        let Some(device_sn) = pass.requester.device_sn else { return false };
        let of_room = self.rooms.get_or_insert_with(&(device_sn, room_sn), Sent::default);
        let mut sent = of_room.lock();
        if let Some((sent_sn, until)) = sent.get(&key_sn)
            && *sent_sn == event_sn
            && pass.from.is_some_and(|from| *until <= from)
        {
            return true;
        }
        if sent.len() >= REMEMBERED_MEMBERS {
            sent.clear();
        }
        let capacity = sent.capacity();
        sent.insert(key_sn, (event_sn, pass.to));
        let has_grown = sent.capacity() > capacity;
        // The cache asks for the size under its own lock.
        drop(sent);
        if has_grown {
            self.rooms.reweigh(&(device_sn, room_sn));
        }
        false
    }
}

/// What is known of the state that comes before a timeline.
pub(super) struct StateBefore {
    /// The whole state, or its changes. With lazy loading it has only those members that changed where the client does not see it.
    pub(super) events: Vec<Arc<StoredEvent>>,
    /// With lazy loading, the members that the client may need.
    pub(super) members: Vec<Arc<StoredEvent>>,
    /// Whether the client knows nothing of the room yet.
    pub(super) is_fresh: bool,
}

impl Sync {
    /// The state that the client wants. With lazy loading its members are the senders of the timeline, the heroes, and those that
    /// changed where the client does not see it.
    pub(super) async fn choose_state(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &mut TimelinePart,
        before: StateBefore,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        let StateBefore { events: mut state, members, is_fresh } = before;
        let member_type = self.providers.interned.event_type("m.room.member").await?;
        let is_member = |event: &Arc<StoredEvent>| event.type_sn == member_type;
        let known: HashSet<_> = state.iter().filter(|it| is_member(it)).filter_map(|it| it.state_key_sn).collect();
        let is_new = |event: &Arc<StoredEvent>| event.state_key_sn.is_some_and(|key_sn| !known.contains(&key_sn));
        let members: Vec<_> = members.into_iter().filter(is_new).collect();
        let loaded: HashSet<_> = members.iter().map(|event| event.sn).collect();
        state.extend(members);
        if !pass.wants.state_after {
            timeline.begin_after_hidden_state(&mut state);
        }
        let mut state = self.providers.filtered(pass.wants.state_filter(), state, &update.room_id).await?;
        if pass.wants.lazy_members() {
            let wants_all = is_fresh || pass.wants.redundant_members();
            state.retain(|event| {
                let Some(key_sn) = event.state_key_sn.filter(|_| event.type_sn == member_type) else { return true };
                let was_sent = self.sent_members.was_sent(pass, update.room_sn, key_sn, event.sn);
                wants_all || !was_sent || !loaded.contains(&event.sn)
            });
        }
        state.sort_by_key(|event| event.sn);
        self.providers.redact_erased_state(pass, &update.state, &mut state).await?;
        Ok(state)
    }
}
