//! What holds of a state map whatever is done to it. The fuzz target and the ordinary tests share this file.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use bytes::Bytes;
use homeserver_core::{EventSn, KeySn, TypeSn};
use room_engine::state_map::{
    Applied, Chunk, ChunkId, Chunks, Difference, MemoryChunks, Place, PlaceConflict, StateMap, StateMapError,
};

use crate::choices::Choices;

const MAX_STEPS: usize = 16;
/// 256 children with four numbers and an ID each, should every number take its 64 bits.
const MAX_CHUNK_BYTES: usize = 256 * (4 * 8 + ChunkId::BYTES) + 64;
/// The most rounds of loading of an operation: a few for each of at most eight levels.
const MAX_ROUNDS: usize = 40;

type Model = BTreeMap<Place, EventSn>;
type Changes = BTreeMap<Place, Option<EventSn>>;

/// Some places that begin a chunk, so that few entries make several levels, and some that do not.
static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let with_zero_bits = |bits: std::ops::Range<u32>, count| {
        (1..).map(member).filter(move |place| bits.contains(&zero_bits(*place))).take(count)
    };
    let mut places: BTreeSet<Place> = with_zero_bits(0..7, 500).collect();
    places.extend(with_zero_bits(7..64, 500));
    places.extend(with_zero_bits(12..64, 500));
    places.extend((0..100).map(|number| Place::new(TypeSn(number % 40 - 3), KeySn(number * 7919 % 64 - 9))));
    let extremes = [i64::MIN, -1, 0, i64::MAX];
    places.extend(extremes.iter().flat_map(|first| extremes.map(|second| Place::new(TypeSn(*first), KeySn(second)))));
    places.into_iter().collect()
});

fn member(key: i64) -> Place {
    Place::new(TypeSn(5), KeySn(key))
}

/// How rarely a place begins a chunk: two rounds of SplitMix64, as the map has them.
fn zero_bits(place: Place) -> u32 {
    let mix = |number: u64| {
        let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ (number >> 31)
    };
    mix(mix(place.event_type.0.cast_unsigned()) ^ place.state_key.0.cast_unsigned()).leading_zeros()
}

/// Makes the changes that `input` says, and compares with a sorted map after each.
pub(crate) fn check(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut versions = vec![Version { map: StateMap::EMPTY, model: Model::new() }];
    let mut store = MemoryChunks::default();
    for _ in 0..MAX_STEPS {
        if choices.is_empty() {
            break;
        }
        let question = choices.byte();
        let from = &versions[usize::from(question >> 4) % versions.len()];
        if question % 16 == 15 {
            check_damage(from, &store, &mut choices);
            continue;
        }
        let changes = changes(question % 16, &from.model, &mut choices);
        let version = from.changed(&changes, &mut store);
        version.check_reading(&store, &mut choices);
        versions.push(version);
    }
    if let Some(last) = versions.last() {
        last.check_whole(&store);
    }
    check_conflicts(&versions, &store, &mut choices);
}

/// A few changes, or many in neighbouring places.
fn changes(question: u8, model: &Model, choices: &mut Choices<'_>) -> Changes {
    let mut changes = Changes::new();
    let start = choices.below(PLACES.len());
    match question {
        0..=5 => {
            for _ in 0..=question {
                changes.insert(PLACES[choices.below(PLACES.len())], any_event(choices));
            }
        }
        6..=9 => {
            let (count, step) = (choices.below(600), choices.pick(&[1, 1, 2, 3]));
            let event = any_event(choices);
            for (place, number) in PLACES.iter().cycle().skip(start).step_by(step).take(count / step).zip(0..) {
                changes.insert(*place, event.map(|first| EventSn(first.0.wrapping_add(number))));
            }
        }
        10 | 11 => changes.extend(model.keys().skip(start).take(choices.below(600)).map(|place| (*place, None))),
        // Nothing is changed where an event is set to itself, or nothing is taken away.
        12 => changes.extend(model.iter().skip(start % 64).take(20).map(|(place, event)| (*place, Some(*event)))),
        13 => changes.extend(PLACES.iter().filter(|place| !model.contains_key(place)).map(|place| (*place, None))),
        _ => changes.extend((0..200).map(|number| (member(1_000_000 + number), any_event(choices)))),
    }
    changes
}

fn any_event(choices: &mut Choices<'_>) -> Option<EventSn> {
    match choices.byte() {
        byte @ 0..=200 => Some(EventSn(i64::from(byte) * 1_009)),
        byte @ 201..=210 => Some(EventSn(i64::MIN + i64::from(byte))),
        byte @ 211..=220 => Some(EventSn(i64::MAX - i64::from(byte))),
        _ => None,
    }
}

/// A map, and what is in it.
struct Version {
    map: StateMap,
    model: Model,
}

impl Version {
    fn changed(&self, changes: &Changes, store: &mut MemoryChunks) -> Self {
        let mut model = self.model.clone();
        for (place, event) in changes {
            match event {
                Some(event) => model.insert(*place, *event),
                None => model.remove(place),
            };
        }
        let list: Vec<_> = changes.iter().map(|(place, event)| (*place, *event)).collect();
        let Applied { map, new_chunks } = Cold::new(store).run(|chunks| self.map.apply(chunks, &list));
        for chunk in new_chunks {
            let stored = Chunk::parse(chunk.id(), chunk.bytes().clone()).expect("what was made can be read");
            assert_eq!((stored.entries(), stored.level()), (chunk.entries(), chunk.level()));
            assert!(chunk.bytes().len() <= MAX_CHUNK_BYTES, "{} bytes", chunk.bytes().len());
            store.insert(stored);
        }
        let version = Self { map, model };
        self.check_difference(&version, changes, store);
        version
    }

    /// What differs is what was changed, and changing it back leads to the same chunks.
    fn check_difference(&self, after: &Self, changes: &Changes, store: &MemoryChunks) {
        let expected = changes.keys().map(|place| Difference {
            place: *place,
            before: self.model.get(place).copied(),
            after: after.model.get(place).copied(),
        });
        let expected: Vec<Difference> = expected.filter(|place| place.before != place.after).collect();
        let found = Cold::new(store).run(|chunks| self.map.diff(after.map, chunks));
        assert_eq!(found, expected);
        assert_eq!(expected.is_empty(), self.map == after.map, "maps are the same when their entries are");

        let back: Vec<_> = expected.iter().map(|difference| (difference.place, difference.before)).collect();
        let undone = after.map.apply(store, &back).expect("everything is in the store");
        assert_eq!(undone.map, self.map, "the way back leads elsewhere");
        for chunk in undone.new_chunks {
            assert!(store.chunk(&chunk.id()).is_some(), "a chunk was never there before");
        }
    }

    fn check_reading(&self, store: &MemoryChunks, choices: &mut Choices<'_>) {
        assert_eq!(self.map.len(store), Ok(self.model.len() as u64));
        assert_eq!(self.map.is_empty(), self.model.is_empty());
        let places: Vec<Place> = (0..4).map(|_| PLACES[choices.below(PLACES.len())]).collect();
        let expected: Vec<_> = places.iter().map(|place| self.model.get(place).copied()).collect();
        assert_eq!(Cold::new(store).run(|chunks| self.map.get_many(chunks, &places)), expected);
        for (place, event) in places.iter().zip(expected) {
            assert_eq!(self.map.get(store, *place), Ok(event));
        }
        let event_type = places[0].event_type;
        let found: Vec<_> = Cold::new(store).run(|chunks| self.map.range(chunks, event_type)).collect();
        let expected = self.model.iter().filter(|(place, _)| place.event_type == event_type);
        assert!(found.into_iter().eq(expected.map(|(place, event)| (*place, *event))), "a range has other entries");
    }

    /// The map is the one that is made of its entries at once.
    fn check_whole(&self, store: &MemoryChunks) {
        let entries: Vec<_> = self.model.iter().map(|(place, event)| (*place, Some(*event))).collect();
        let at_once = StateMap::EMPTY.apply(&MemoryChunks::default(), &entries).expect("nothing has to be loaded");
        assert_eq!(at_once.map, self.map, "the way to a map shows in it");
        let found: Vec<_> = Cold::new(store).run(|chunks| self.map.iter(chunks)).collect();
        assert!(found.into_iter().eq(self.model.iter().map(|(place, event)| (*place, *event))));
    }
}

/// Conflicts are where not all of some versions agree.
fn check_conflicts(versions: &[Version], store: &MemoryChunks, choices: &mut Choices<'_>) {
    let chosen: Vec<&Version> = (0..1 + choices.below(4)).map(|_| &versions[choices.below(versions.len())]).collect();
    let maps: Vec<StateMap> = chosen.iter().map(|version| version.map).collect();
    let places: BTreeSet<Place> = chosen.iter().flat_map(|version| version.model.keys()).copied().collect();
    let conflict = |place: Place| PlaceConflict {
        place,
        events: chosen.iter().map(|version| version.model.get(&place).copied()).collect(),
    };
    let expected = places.into_iter().map(conflict);
    let expected: Vec<PlaceConflict> =
        expected.filter(|conflict| conflict.events.iter().any(|event| *event != conflict.events[0])).collect();
    assert_eq!(Cold::new(store).run(|chunks| StateMap::conflicts(&maps, chunks)), expected);
}

/// Changed bytes are no chunk of the old ID, and under their own they are a chunk that does no harm, or none.
fn check_damage(version: &Version, store: &MemoryChunks, choices: &mut Choices<'_>) {
    let mut original = version.map.root();
    for _ in 0..choices.below(3) {
        let children: Vec<ChunkId> = store.chunk(&original).iter().flat_map(Chunk::children).collect();
        if !children.is_empty() {
            original = children[choices.below(children.len())];
        }
    }
    let Some(chunk) = store.chunk(&original) else { return };
    let mut bytes = chunk.bytes().to_vec();
    for _ in 0..=choices.below(4) {
        // The beginning is where a change does most.
        let at = choices.byte() as usize % bytes.len();
        match choices.below(4) {
            0 => bytes.truncate(at + 1),
            1 => bytes.insert(at, choices.byte()),
            _ => bytes[at] = choices.byte(),
        }
    }
    let bytes = Bytes::from(bytes);
    assert_eq!(Chunk::parse(original, bytes.clone()).is_ok(), bytes == *chunk.bytes(), "damage is not noticed");
    if let Ok(damaged) = Chunk::parse(ChunkId::of(&bytes), bytes) {
        use_damaged(damaged, version, store, choices);
    }
}

/// Runs every operation on a map with any root. Every outcome but a panic is good.
fn use_damaged(root: Chunk, version: &Version, store: &MemoryChunks, choices: &mut Choices<'_>) {
    let map = StateMap::from_root(root.id());
    let mut chunks = store.clone();
    chunks.insert(root);
    let place = PLACES[choices.below(PLACES.len())];
    let _ = map.len(&chunks);
    let _ = map.get(&chunks, place);
    let _ = map.get_many(&chunks, &PLACES);
    let _ = map.range(&chunks, place.event_type).map(Iterator::count);
    let _ = map.iter(&chunks).map(Iterator::count);
    let _ = map.diff(version.map, &chunks);
    let _ = version.map.diff(map, &chunks);
    let _ = StateMap::conflicts(&[map, version.map, StateMap::EMPTY], &chunks);
    for change in [None, Some(EventSn(1))] {
        let _ = map.apply(&chunks, &[(place, change)]);
    }
}

/// A store that has nothing in memory but what was asked for.
struct Cold<'s> {
    store: &'s MemoryChunks,
    loaded: MemoryChunks,
    rounds: usize,
}

impl<'s> Cold<'s> {
    fn new(store: &'s MemoryChunks) -> Self {
        Self { store, loaded: MemoryChunks::default(), rounds: 0 }
    }

    fn run<T>(mut self, operation: impl Fn(&Self) -> Result<T, StateMapError>) -> T {
        loop {
            match operation(&self) {
                Ok(value) => return value,
                Err(StateMapError::Missing(ids)) => {
                    self.rounds += 1;
                    assert!(self.rounds <= MAX_ROUNDS, "loading does not end");
                    for id in ids {
                        let chunk = self.store.chunk(&id).expect("only chunks of the map are asked for");
                        assert!(self.loaded.insert(chunk), "a chunk is asked for once");
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Chunks for Cold<'_> {
    fn chunk(&self, id: &ChunkId) -> Option<Chunk> {
        self.loaded.chunk(id)
    }
}
