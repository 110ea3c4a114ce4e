//! The algorithm of [room version 1](https://spec.matrix.org/v1.19/rooms/v1/#state-resolution).

use std::cmp::Reverse;

use homeserver_core::EventSn;
use sha1::{Digest as _, Sha1};

use super::{
    Change, Conflict, Need, ResolutionEvent,
    auth_checks::auth_types,
    records::{Records, StateBefore},
    table::StateTable,
};
use crate::auth::check;

/// The types that bear on what is allowed, in the order in which they are resolved.
const AUTH_TYPES: [&str; 3] = ["m.room.power_levels", "m.room.join_rules", "m.room.member"];

/// Decides what becomes of the conflicts.
///
/// The places of one type do not bear on each other, so their order does not matter.
pub(super) fn resolve(records: &Records, conflicts: &[Conflict]) -> Result<Vec<Change>, Box<Need>> {
    let need = need(records, conflicts);
    if !need.is_empty() {
        return Err(Box::new(need));
    }
    let mut resolved = StateTable::new();
    let mut open = Vec::new();
    for conflict in conflicts {
        let candidates = candidates(records, conflict);
        // Only different events are a conflict here; an absent one is none.
        match candidates.as_slice() {
            [only] => resolved.insert(&conflict.key.event_type, &conflict.key.state_key, only.sn),
            _ => open.push((conflict, candidates)),
        }
    }
    for event_type in AUTH_TYPES {
        let of_type = open.iter().filter(|(conflict, _)| &*conflict.key.event_type == event_type);
        let winners: Vec<_> =
            of_type.map(|(conflict, list)| (conflict, last_allowed(records, &resolved, list))).collect();
        insert_all(&mut resolved, winners);
    }
    let rest = open.iter().filter(|(conflict, _)| !AUTH_TYPES.contains(&&*conflict.key.event_type));
    let winners: Vec<_> = rest.map(|(conflict, list)| (conflict, best_allowed(records, &resolved, list))).collect();
    insert_all(&mut resolved, winners);

    let winner = |conflict: &Conflict| resolved.get(&conflict.key.event_type, &conflict.key.state_key).copied();
    let mut changes: Vec<Change> =
        conflicts.iter().map(|conflict| Change { key: conflict.key.clone(), event: winner(conflict) }).collect();
    changes.sort_unstable();
    Ok(changes)
}

fn insert_all(resolved: &mut StateTable<EventSn>, winners: Vec<(&&Conflict, Option<EventSn>)>) {
    for (conflict, winner) in winners {
        if let Some(sn) = winner {
            resolved.insert(&conflict.key.event_type, &conflict.key.state_key, sn);
        }
    }
}

/// The events of a conflict by ascending depth, then descending hash.
fn candidates<'a>(records: &'a Records, conflict: &Conflict) -> Vec<&'a ResolutionEvent> {
    let mut events: Vec<&ResolutionEvent> =
        conflict.events.iter().flatten().filter_map(|sn| records.event(*sn)).collect();
    events.sort_by_cached_key(|event| {
        (event.pdu.depth(), Reverse(Sha1::digest(event.pdu.event_id().as_str())), event.sn)
    });
    events.dedup_by_key(|event| event.sn);
    events
}

/// Begins with the first event and goes on to the next for as long as that is allowed after the one before.
fn last_allowed(records: &Records, resolved: &StateTable<EventSn>, events: &[&ResolutionEvent]) -> Option<EventSn> {
    let (first, rest) = events.split_first()?;
    let mut state = StateTable::new();
    let mut last = first;
    for event in rest {
        state.insert(last.pdu.event_type(), last.pdu.state_key()?, last.sn);
        if !is_allowed(records, &[&state, resolved], event) {
            break;
        }
        last = event;
    }
    Some(last.sn)
}

/// The last event that is allowed. The specification does not say what to do where none is; other servers keep the first.
fn best_allowed(records: &Records, resolved: &StateTable<EventSn>, events: &[&ResolutionEvent]) -> Option<EventSn> {
    let allowed = events.iter().rev().find(|event| is_allowed(records, &[resolved], event));
    allowed.or_else(|| events.first()).map(|event| event.sn)
}

fn is_allowed(records: &Records, resolved: &[&StateTable<EventSn>], event: &ResolutionEvent) -> bool {
    let state =
        StateBefore { records, resolved, with_unconflicted: true, auth_events: &[], create: None, with_rejected: true };
    check(&event.pdu, &state).is_ok()
}

/// The conflicted events, and the state that they are checked against.
fn need(records: &Records, conflicts: &[Conflict]) -> Need {
    let mut need = Need::default();
    let mut conflicted = StateTable::new();
    for Conflict { key, events } in conflicts {
        conflicted.insert(&key.event_type, &key.state_key, ());
        records.need_events(&mut need, events.iter().copied().flatten());
    }
    for event in conflicts.iter().flat_map(|conflict| candidates(records, conflict)) {
        for (event_type, state_key) in auth_types(&event.pdu).unwrap_or_default() {
            if !conflicted.contains(event_type, &state_key) {
                records.need_auth_state(&mut need, event_type, &state_key);
            }
        }
    }
    need
}
