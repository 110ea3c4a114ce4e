//! The state of a large room.

use std::hint::black_box;

use homeserver_core::{EventSn, KeySn, TypeSn};
use room_engine::state_map::{MemoryChunks, Place, StateMap};

const MEMBERS: i64 = 50_000;
const MEMBER: TypeSn = TypeSn(3);

fn large_room() -> (StateMap, MemoryChunks) {
    let settings = (1..12).filter(|number| *number != MEMBER.0).map(|number| Place::new(TypeSn(number), KeySn(1)));
    let mut places: Vec<Place> = settings.collect();
    // Keys with gaps, as those of one room among others have.
    places.extend((0..MEMBERS).map(member));
    places.sort_unstable();
    let state: Vec<_> = (1_000_000..).zip(places).map(|(sn, place)| (place, Some(EventSn(sn)))).collect();
    let mut chunks = MemoryChunks::default();
    let applied = StateMap::EMPTY.apply(&chunks, &state).unwrap();
    chunks.extend(applied.new_chunks);
    (applied.map, chunks)
}

fn member(number: i64) -> Place {
    Place::new(MEMBER, KeySn(1 + number * 17 + number % 13))
}

/// Numbers without an order.
fn scattered(step: i64) -> i64 {
    (step * 7_919) % MEMBERS
}

pub(super) fn change() -> Box<dyn FnMut()> {
    let (map, chunks) = large_room();
    let mut step = 0;
    Box::new(move || {
        step += 1;
        let change = [(member(scattered(step)), Some(EventSn(2_000_000 + step)))];
        drop(black_box(map.apply(&chunks, black_box(&change)).unwrap()));
    })
}

pub(super) fn look_up() -> Box<dyn FnMut()> {
    let (map, chunks) = large_room();
    let mut step = 0;
    Box::new(move || {
        step += 1;
        assert!(black_box(map.get(&chunks, member(scattered(step))).unwrap()).is_some());
    })
}
