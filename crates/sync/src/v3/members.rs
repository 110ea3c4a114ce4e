//! Lazy-loaded members: which member events a client needs to show a timeline.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use homeserver_core::{Cache, DeviceSn, EventSn, KeySn, MemoryBudget, Position, RoomSn, TypeSn};
use parking_lot::Mutex;
use rooms::RoomError;
use rooms::reading::{Visibility, concerns_erased_member, redact_erased_members};
use storage::{KnownState, StoredEvent};

use super::changes::RoomUpdate;
use super::joined::TimelinePart;
use super::summary::Hero;
use super::{Pass, Sync};

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
    /// The whole state, or what of it has changed. With lazy loading, of the members only those who changed where the client
    /// does not see it.
    pub(super) events: Vec<Arc<StoredEvent>>,
    /// The members of whom the client may need to know, with lazy loading.
    pub(super) members: Vec<Arc<StoredEvent>>,
    /// Whether the client knows nothing of the room yet.
    pub(super) is_fresh: bool,
}

impl Sync {
    /// What of the state the client wants. With lazy loading that is, of the members, those who sent what is in the timeline,
    /// those who stand for the room, and those who changed where the client does not see it.
    pub(super) async fn choose_state(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &mut TimelinePart,
        before: StateBefore,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        let StateBefore { events: mut state, members, is_fresh } = before;
        let member_type = self.interned.event_type("m.room.member").await?;
        let is_member = |event: &Arc<StoredEvent>| event.type_sn == member_type;
        let known: HashSet<_> = state.iter().filter(|it| is_member(it)).filter_map(|it| it.state_key_sn).collect();
        let is_new = |event: &Arc<StoredEvent>| event.state_key_sn.is_some_and(|key_sn| !known.contains(&key_sn));
        let members: Vec<_> = members.into_iter().filter(is_new).collect();
        let loaded: HashSet<_> = members.iter().map(|event| event.sn).collect();
        state.extend(members);
        if !pass.request.use_state_after {
            timeline.begin_after_hidden_state(&mut state);
        }
        let mut state = self.filtered(&pass.request.filter.room.0.state.0, state, &update.room_id).await?;
        if pass.lazy_loads_members() {
            let wants_all = is_fresh || pass.request.filter.room.0.state.0.include_redundant_members;
            state.retain(|event| {
                let Some(key_sn) = event.state_key_sn.filter(|_| event.type_sn == member_type) else { return true };
                let was_sent = self.sent_members.was_sent(pass, update.room_sn, key_sn, event.sn);
                wants_all || !was_sent || !loaded.contains(&event.sn)
            });
        }
        state.sort_by_key(|event| event.sn);
        self.redact_erased_state(pass, &update.state, &mut state).await?;
        Ok(state)
    }

    /// Puts redacted copies in place of the members who asked for that, if the reader came later.
    pub(super) async fn redact_erased_state(
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

    /// The members of each room whom the client may need to know before its timeline, if it loads them lazily or they are
    /// read in pages.
    pub(super) async fn load_members(
        &self,
        pass: &Pass<'_>,
        rooms: &[(&RoomUpdate, &TimelinePart, &[Hero])],
        is_fresh: bool,
    ) -> Result<HashMap<RoomSn, Vec<Arc<StoredEvent>>>, RoomError> {
        let member_type = self.interned.event_type("m.room.member").await?;
        let mut wanted = Vec::with_capacity(rooms.len());
        for (update, timeline, heroes) in rooms {
            if pass.lazy_loads_members() || update.is_large {
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
}
