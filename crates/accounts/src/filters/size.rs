//! What filters take in memory.

use std::collections::BTreeMap;

use homeserver_core::{HeapSize, allocation_bytes};

use super::definition::{EventFilter, FilterDefinition, RoomEventFilter, RoomFilter};

impl HeapSize for FilterDefinition {
    fn heap_bytes(&self) -> usize {
        self.event_fields.heap_bytes()
            + self.presence.0.heap_bytes()
            + self.account_data.0.heap_bytes()
            + self.room.0.heap_bytes()
    }
}

impl HeapSize for EventFilter {
    fn heap_bytes(&self) -> usize {
        self.senders.heap_bytes()
            + self.not_senders.heap_bytes()
            + self.types.heap_bytes()
            + self.not_types.heap_bytes()
    }
}

impl HeapSize for RoomFilter {
    fn heap_bytes(&self) -> usize {
        let of_events = [&self.state, &self.timeline, &self.ephemeral, &self.account_data];
        self.rooms.heap_bytes()
            + self.not_rooms.heap_bytes()
            + of_events.iter().map(|filter| filter.0.heap_bytes()).sum::<usize>()
    }
}

impl HeapSize for RoomEventFilter {
    fn heap_bytes(&self) -> usize {
        self.events.heap_bytes()
            + self.rooms.heap_bytes()
            + self.not_rooms.heap_bytes()
            + self.related_by_senders.heap_bytes()
            + self.related_by_rel_types.heap_bytes()
    }
}

/// What the nodes of a map take, beside what its keys and values take on the heap.
pub(super) fn tree_bytes<K, V>(map: &BTreeMap<K, V>) -> usize {
    /// Most entries of a node; at least half of it is full.
    const ENTRIES: usize = 11;
    let node_bytes = allocation_bytes(ENTRIES * (size_of::<K>() + size_of::<V>()) + 2 * size_of::<usize>());
    map.len().div_ceil(ENTRIES * 2 / 3) * node_bytes
}

#[cfg(test)]
mod tests {
    use homeserver_core::HeapSize as _;

    use super::super::parse;

    #[test]
    fn what_is_counted_is_about_what_is_allocated() {
        let senders: Vec<String> = (0..50).map(|number| format!("@user{number}:example.org")).collect();
        let fields: Vec<String> = (0..40).map(|number| format!("content.key{number}.inner")).collect();
        let filter = serde_json::json!({
            "event_fields": fields,
            "room": { "timeline": { "senders": senders, "types": ["m.room.message", "m.*"] }, "rooms": ["!a:b"] },
        });
        let json = filter.to_string();
        let mut parsed = None;
        let taken = allocation_counter::measure(|| parsed = Some(parse(&json).unwrap())).bytes_current;
        let (taken, counted) = (usize::try_from(taken).unwrap(), parsed.unwrap().heap_bytes());
        assert!((taken..taken * 3 / 2).contains(&counted), "{counted} counted, {taken} taken");
    }
}
