//! Power events and their order.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, hash_map::Entry},
};

use homeserver_core::EventSn;
use ruma::EventId;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{ResolutionEvent, records::Records};
use crate::{
    Membership, Pdu,
    auth::{PowerLevel, PowerLevels},
};

/// What decides between two events that may both come next.
type Rank<'a> = (Reverse<PowerLevel>, i64, &'a EventId, EventSn);

/// The [power events](https://spec.matrix.org/v1.19/rooms/v2/#definitions) of `members` with those of their auth chains
/// that are among `members`, in reverse topological power ordering. Also whether each member is one of them.
pub(super) fn power_events_in_order(
    records: &Records,
    create: &Pdu,
    members: &FxHashSet<EventSn>,
) -> (Vec<EventSn>, FxHashSet<EventSn>) {
    let chosen = with_auth_chains(records, members);
    let mut levels = SenderLevels { create, by_event: FxHashMap::default() };
    // How many auth events of an event are still to come, and which events wait for one.
    let mut missing = FxHashMap::<EventSn, usize>::default();
    let mut waiting = FxHashMap::<EventSn, Vec<EventSn>>::default();
    let mut ready = BinaryHeap::new();
    for event in chosen.iter().filter_map(|sn| records.event(*sn)) {
        let mut auth_events = event.auth_events.clone();
        auth_events.retain(|sn| chosen.contains(sn));
        auth_events.sort_unstable();
        auth_events.dedup();
        if auth_events.is_empty() {
            ready.push(Reverse(levels.rank(records, event)));
        } else {
            missing.insert(event.sn, auth_events.len());
        }
        for auth_event in auth_events {
            waiting.entry(auth_event).or_default().push(event.sn);
        }
    }
    let mut order = Vec::with_capacity(chosen.len());
    while let Some(Reverse((.., sn))) = ready.pop() {
        order.push(sn);
        for next in waiting.remove(&sn).unwrap_or_default() {
            let Entry::Occupied(mut count) = missing.entry(next) else { continue };
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
                ready.extend(records.event(next).map(|event| Reverse(levels.rank(records, event))));
            }
        }
    }
    (order, chosen)
}

fn with_auth_chains(records: &Records, members: &FxHashSet<EventSn>) -> FxHashSet<EventSn> {
    let events = members.iter().filter_map(|sn| records.event(*sn));
    let mut queue: Vec<EventSn> = events.filter(|event| is_power_event(&event.pdu)).map(|event| event.sn).collect();
    let mut chosen: FxHashSet<EventSn> = queue.iter().copied().collect();
    while let Some(event) = queue.pop().and_then(|sn| records.event(sn)) {
        for auth_event in event.auth_events.iter().filter(|sn| members.contains(sn)) {
            if chosen.insert(*auth_event) {
                queue.push(*auth_event);
            }
        }
    }
    chosen
}

/// Whether the event may take from someone what they may do. The create event counts too, so that it comes first.
fn is_power_event(pdu: &Pdu) -> bool {
    match (pdu.event_type(), pdu.state_key()) {
        ("m.room.create" | "m.room.power_levels" | "m.room.join_rules", Some("")) => true,
        ("m.room.member", Some(target)) => {
            matches!(pdu.membership(), Some(Membership::Leave | Membership::Ban)) && pdu.sender().as_str() != target
        }
        _ => false,
    }
}

/// The power levels of senders by the power levels event among the auth events.
struct SenderLevels<'a> {
    create: &'a Pdu,
    by_event: FxHashMap<Option<EventSn>, Option<PowerLevels>>,
}

impl SenderLevels<'_> {
    fn rank<'r>(&mut self, records: &Records, event: &'r ResolutionEvent) -> Rank<'r> {
        let power_levels = records.auth_event(event, "m.room.power_levels", "");
        let levels = self.by_event.entry(power_levels.map(|event| event.sn)).or_insert_with(|| {
            // Without a sound event, the room is as one that has none.
            let create = self.create;
            PowerLevels::new(create, power_levels.map(|event| &event.pdu))
                .or_else(|_| PowerLevels::new(create, None))
                .ok()
        });
        let level = levels.as_ref().map_or(PowerLevel::Finite(0), |levels| levels.user_level(event.pdu.sender()));
        (Reverse(level), event.pdu.origin_server_ts(), event.pdu.event_id(), event.sn)
    }
}
