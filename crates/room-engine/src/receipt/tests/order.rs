use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::json;

use super::world::{CREATOR, World, value};
use crate::{Pdu, RoomVersion, receipt::in_order};

/// An event of version 1 with this ID that names these.
fn event(event_id: &str, prev_events: &[String]) -> Pdu {
    let world = World::new(RoomVersion::V1, "public");
    let mut pdu = value(&world.send(CREATOR, "m.room.message", None, &json!({}), &[]));
    pdu["event_id"] = json!(event_id);
    pdu["prev_events"] = prev_events.iter().map(|id| json!([id, {}])).collect();
    pdu["auth_events"] = json!([]);
    Pdu::parse(RoomVersion::V1, pdu.to_string().as_bytes()).unwrap()
}

fn id(number: usize) -> String {
    format!("${number}:one")
}

#[test]
fn events_in_a_circle_are_set_apart_with_those_that_need_them() {
    let batch = vec![
        event("$after:one", &["$b:one".into()]),
        event("$a:one", &["$b:one".into()]),
        event("$b:one", &["$a:one".into()]),
        event("$free:one", &["$unknown:one".into()]),
    ];
    let ordered = in_order(batch.clone());
    assert_eq!(ordered.events, batch[3..]);
    assert_eq!(ordered.circular, batch[..3]);
}

#[test]
fn of_events_with_one_name_the_first_counts() {
    let batch = vec![event("$a:one", &[]), event("$a:one", &["$b:one".into(), "$b:one".into()]), event("$b:one", &[])];
    let ordered = in_order(batch.clone());
    assert_eq!(ordered.events, [batch[0].clone(), batch[2].clone()]);
    assert_eq!(ordered.circular, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_event_comes_after_those_it_names(
        named in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..3), 1..12),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let mut batch: Vec<Pdu> = named.iter().enumerate().map(|(number, named)| {
            let earlier: Vec<_> = named.iter().filter(|_| number > 0).map(|index| id(index.index(number))).collect();
            event(&id(number), &earlier)
        }).collect();
        let count = batch.len();
        batch.rotate_left(shuffle.index(count));
        batch.reverse();
        let ordered = in_order(batch);
        prop_assert_eq!(ordered.circular, vec![]);
        prop_assert_eq!(ordered.events.len(), count);
        let mut seen = HashSet::new();
        for event in &ordered.events {
            prop_assert!(event.prev_events().iter().all(|named| seen.contains(named)));
            seen.insert(event.event_id().to_owned());
        }
    }
}
