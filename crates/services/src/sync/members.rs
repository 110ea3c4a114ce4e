//! Lazy-loaded members: which member events a client needs to show a timeline.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use homeserver_core::{DeviceSn, EventSn, Position, RoomSn, UserSn};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use storage::StoredEvent;

use super::changes::RoomUpdate;
use super::joined::TimelinePart;
use super::{Pass, Sync};
use crate::rooms::RoomError;

/// Rooms of devices for which it is remembered which members were sent.
const REMEMBERED_ROOMS: usize = 20_000;
/// Members remembered for one room of a device.
const REMEMBERED_MEMBERS: usize = 1_000;

type Sent = Arc<Mutex<HashMap<UserSn, (EventSn, Position)>>>;

/// Which member events each device was sent, and in the answer up to which position: a client that asks from there on has
/// received them.
pub(super) struct SentMembers {
    rooms: Cache<(DeviceSn, RoomSn), Sent>,
}

impl Default for SentMembers {
    fn default() -> Self {
        Self { rooms: Cache::new(REMEMBERED_ROOMS) }
    }
}

impl SentMembers {
    /// Whether the device has this member event for certain; if not, it is sent now.
    fn was_sent(&self, pass: &Pass<'_>, room_sn: RoomSn, user_sn: UserSn, event_sn: EventSn) -> bool {
        let Some(device_sn) = pass.requester.device_sn else { return false };
        let created = || Ok::<_, std::convert::Infallible>(Sent::default());
        let sent = self.rooms.get_or_insert_with(&(device_sn, room_sn), created).unwrap_or_default();
        let mut sent = sent.lock();
        if let Some((sent_sn, until)) = sent.get(&user_sn)
            && *sent_sn == event_sn
            && pass.from.is_some_and(|from| *until <= from)
        {
            return true;
        }
        if sent.len() >= REMEMBERED_MEMBERS {
            sent.clear();
        }
        sent.insert(user_sn, (event_sn, pass.to));
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
