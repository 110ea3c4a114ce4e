//! The order in which a batch of events can be judged.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use ruma::EventId;

use crate::Pdu;

/// A batch of events in an order in which they can be judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ordered {
    /// The events, each after those of the batch that it names in `auth_events` and `prev_events`.
    pub events: Vec<Pdu>,
    /// Events that name each other in a circle, and those that name one of these. They cannot be judged and are dropped;
    /// only versions 1 and 2, where IDs are not hashes, have them.
    pub circular: Vec<Pdu>,
}

/// Arranges a batch so that each event comes after those it names, otherwise as given. Of events with the same ID the
/// first one counts.
pub fn in_order(batch: Vec<Pdu>) -> Ordered {
    let mut positions: HashMap<&EventId, usize> = HashMap::with_capacity(batch.len());
    for (position, event) in batch.iter().enumerate() {
        positions.entry(event.event_id()).or_insert(position);
    }
    let is_first = |position: usize, event: &Pdu| positions.get(event.event_id()) == Some(&position);
    // For each event the later ones that name it, and how many it waits for.
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); batch.len()];
    let mut waits_for = vec![0_usize; batch.len()];
    for (position, event) in batch.iter().enumerate().filter(|(position, event)| is_first(*position, event)) {
        for named in event.auth_events().iter().chain(event.prev_events()) {
            if let Some(of_named) = positions.get(&**named).and_then(|named| followers.get_mut(*named))
                && let Some(waits) = waits_for.get_mut(position)
            {
                of_named.push(position);
                *waits += 1;
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = batch
        .iter()
        .enumerate()
        .filter(|(position, event)| is_first(*position, event) && waits_for.get(*position) == Some(&0))
        .map(|(position, _)| Reverse(position))
        .collect();
    let mut order = Vec::with_capacity(batch.len());
    while let Some(Reverse(position)) = ready.pop() {
        order.push(position);
        for follower in followers.get(position).into_iter().flatten() {
            if let Some(waits) = waits_for.get_mut(*follower) {
                *waits -= 1;
                if *waits == 0 {
                    ready.push(Reverse(*follower));
                }
            }
        }
    }
    let circular = batch
        .iter()
        .enumerate()
        .filter(|(position, event)| is_first(*position, event) && waits_for.get(*position) != Some(&0))
        .map(|(_, event)| event.clone())
        .collect();
    Ordered { events: order.into_iter().filter_map(|position| batch.get(position).cloned()).collect(), circular }
}
