//! The state map in a room of 50,000 members and in a small one, each figure beside what a plainer layout costs.
//!
//! Two kinds of figures: times, from Criterion, and counts (bytes written, chunks read), which are printed in front of
//! them and are the same in every run. The baselines are
//!
//! - for one state: the whole state as a sorted array of pairs of 64-bit integers, as some servers keep it; a change copies
//!   it and names the copy by its SHA-256;
//! - for many states: rows of changes with a full snapshot every 100 changes, as Synapse's `state_groups_state` has them.

use std::{collections::HashMap, hint::black_box};

use criterion::{Criterion, criterion_group, criterion_main};
use homeserver_core::{EventSn, KeySn, TypeSn};
use room_engine::state_map::{Chunk, ChunkId, Chunks, MemoryChunks, Place, StateMap, StateMapError};
use sha2::{Digest, Sha256};

const MEMBERS: i64 = 50_000;
const CHANGES: usize = 100_000;
const MEMBER: TypeSn = TypeSn(3);

/// The bytes of a row beside its columns: the header of a tuple of PostgreSQL, padded, and the pointer to it.
const ROW_HEADER_BYTES: usize = 24 + 4;

/// SplitMix64: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((number ^ (number >> 31)) >> 1).cast_signed() % limit
    }
}

type Changes = Vec<(Place, Option<EventSn>)>;

/// A dozen settings and the members of a room on a server that knows a million state keys and ten million events.
fn state(members: i64, numbers: &mut Numbers) -> Changes {
    let settings = (1..=12).filter(|number| *number != MEMBER.0).map(|number| Place::new(TypeSn(number), KeySn(1)));
    let mut places: Vec<Place> = settings.collect();
    places.extend((0..members).map(|_| Place::new(MEMBER, KeySn(1 + numbers.below(1_000_000)))));
    places.sort_unstable();
    places.dedup();
    while places.len() < usize::try_from(members + 11).unwrap_or_default() {
        places.push(Place::new(MEMBER, KeySn(1 + numbers.below(1_000_000))));
        places.sort_unstable();
        places.dedup();
    }
    places.into_iter().map(|place| (place, Some(EventSn(numbers.below(10_000_000))))).collect()
}

fn built(state: &Changes) -> Result<(StateMap, MemoryChunks), StateMapError> {
    let mut chunks = MemoryChunks::default();
    let applied = StateMap::EMPTY.apply(&chunks, state)?;
    chunks.extend(applied.new_chunks);
    Ok((applied.map, chunks))
}

/// The bytes of chunks as rows of a table: the ID, the bytes and the row around them.
fn stored_bytes<'c>(chunks: impl IntoIterator<Item = &'c Chunk>) -> usize {
    chunks.into_iter().map(|chunk| ROW_HEADER_BYTES + 1 + ChunkId::BYTES + 4 + chunk.bytes().len()).sum()
}

/// A store that is read one round trip at a time, and counts.
struct ColdChunks<'s> {
    store: &'s MemoryChunks,
    loaded: MemoryChunks,
    rounds: usize,
}

impl<'s> ColdChunks<'s> {
    fn new(store: &'s MemoryChunks) -> Self {
        Self { store, loaded: MemoryChunks::default(), rounds: 0 }
    }

    fn run<T>(&mut self, operation: impl Fn(&MemoryChunks) -> Result<T, StateMapError>) -> Result<T, StateMapError> {
        loop {
            match operation(&self.loaded) {
                Err(StateMapError::Missing(ids)) => {
                    self.rounds += 1;
                    self.loaded.extend(ids.iter().filter_map(|id| self.store.chunk(id)));
                }
                result => return result,
            }
        }
    }
}

/// The whole state as the bytes of sorted pairs of place and event.
fn flat(state: &Changes) -> Vec<u8> {
    let pairs = state
        .iter()
        .zip(1_u64..)
        .flat_map(|((_, event), place)| [place, event.map_or(0, |event| event.0.cast_unsigned())]);
    pairs.flat_map(u64::to_le_bytes).collect()
}

/// Copies a whole state with one change, and names the copy.
fn change_flat(flat: &[u8], pair: usize, event: i64) -> (Vec<u8>, [u8; 32]) {
    let mut copy = flat.to_vec();
    if let Some(value) = copy.get_mut(pair * 16 + 8..pair * 16 + 16) {
        value.copy_from_slice(&event.to_le_bytes());
    }
    let name = Sha256::digest(&copy).into();
    (copy, name)
}

fn one_change(criterion: &mut Criterion, state: &Changes, map: StateMap, chunks: &MemoryChunks) {
    let mut numbers = Numbers(2);
    let changes: Vec<Changes> = (0..1024)
        .map(|_| {
            let row = usize::try_from(numbers.below(MEMBERS)).unwrap_or_default();
            let place = state.get(row + 11).map_or(Place::new(MEMBER, KeySn(1)), |(place, _)| *place);
            vec![(place, Some(EventSn(10_000_000 + numbers.below(100_000))))]
        })
        .collect();
    let (mut total, mut most) = (0, 0);
    for change in &changes {
        let written = map.apply(chunks, change).map_or(0, |applied| stored_bytes(&applied.new_chunks));
        total += written;
        most = most.max(written);
    }
    let flat = flat(state);
    println!(
        "one change among {MEMBERS} members: {} bytes written on average, {most} at most; the whole state: {} bytes",
        total / changes.len(),
        flat.len(),
    );
    let mut group = criterion.benchmark_group("one change among 50,000 members");
    let mut next = changes.iter().cycle();
    group.bench_function("state map", |bencher| {
        bencher.iter(|| next.next().map(|change| map.apply(chunks, black_box(change))));
    });
    group.bench_function("baseline: copy and hash the whole state", |bencher| {
        bencher.iter(|| change_flat(black_box(&flat), 30_000, 10_000_001));
    });
    let newcomers: Vec<Changes> = (0..1024)
        .map(|number| {
            vec![(Place::new(MEMBER, KeySn(1 + numbers.below(1_000_000))), Some(EventSn(10_000_000 + number)))]
        })
        .collect();
    let mut next = newcomers.iter().cycle();
    group.bench_function("state map, a new member", |bencher| {
        bencher.iter(|| next.next().map(|change| map.apply(chunks, black_box(change))));
    });
    group.finish();
}

/// The bytes of a row of `state_groups_state` for a member: `state_group bigint, room_id text, type text, state_key text,
/// event_id text`. A short text has one byte of length, and the row is padded to 8 bytes; no index is counted.
fn synapse_row_bytes(state_key_bytes: usize) -> usize {
    let columns = 8
        + (1 + "!31hneApxJ_1o63DmFr:example.org".len())
        + (1 + "m.room.member".len())
        + (1 + state_key_bytes)
        + (1 + "$CD66HAED5npg6074c6pDtLKalHjVfYb2q4Q3LZgrW00".len());
    ROW_HEADER_BYTES + columns.next_multiple_of(8)
}

/// What Synapse writes for `changes` changes of a state of `entries`: each its row, a row of `state_groups` and one of
/// `state_group_edges`, and every hundredth the whole state instead.
fn synapse_bytes(entries: usize, changes: usize) -> usize {
    let row = synapse_row_bytes("@firstname.lastname:example.org".len());
    let group = ROW_HEADER_BYTES + (8 + 32 + 45_usize).next_multiple_of(8);
    let edge = ROW_HEADER_BYTES + 16;
    let snapshots = changes / 100;
    (changes - snapshots) * (row + group + edge) + snapshots * (entries * row + group)
}

/// Rejoins, leaves and profile changes of random members, and now and then somebody new.
fn many_changes(state: &Changes, map: StateMap, chunks: &MemoryChunks) -> Result<(), StateMapError> {
    let mut numbers = Numbers(3);
    let mut members: Vec<Place> = state.iter().skip(11).map(|(place, _)| *place).collect();
    let (mut map, mut chunks) = (map, chunks.clone());
    let before = stored_bytes(chunks.iter());
    let (mut newcomers, mut most) = (0, 0);
    for event in (10_000_000..).step_by(7).take(CHANGES) {
        let is_new = numbers.below(50) == 0;
        let place = if is_new {
            newcomers += 1;
            Place::new(MEMBER, KeySn(1_000_000 + newcomers * 5))
        } else {
            let row = usize::try_from(numbers.below(MEMBERS)).unwrap_or_default();
            members.get(row).copied().unwrap_or(Place::new(MEMBER, KeySn(1)))
        };
        let applied = map.apply(&chunks, &[(place, Some(EventSn(event)))])?;
        most = most.max(stored_bytes(&applied.new_chunks));
        chunks.extend(applied.new_chunks);
        map = applied.map;
        members.extend(is_new.then_some(place));
    }
    let grown = stored_bytes(chunks.iter()) - before;
    let synapse = synapse_bytes(state.len(), CHANGES);
    println!(
        "{CHANGES} changes among {MEMBERS} members ({newcomers} new ones): {} MiB in all, {} bytes per change, {most} at \
         most; a delta chain with snapshots: {} MiB, {:.1} times as much",
        grown >> 20,
        grown / CHANGES,
        synapse >> 20,
        synapse as f64 / grown as f64,
    );
    Ok(())
}

fn reading(
    criterion: &mut Criterion,
    state: &Changes,
    map: StateMap,
    chunks: &MemoryChunks,
) -> Result<(), StateMapError> {
    let places: Vec<Place> = state.iter().step_by(41).map(|(place, _)| *place).collect();
    let (mut most_reads, mut most_rounds) = (0, 0);
    for place in &places {
        let mut cold = ColdChunks::new(chunks);
        cold.run(|chunks| map.get(chunks, *place))?;
        most_reads = most_reads.max(cold.loaded.len());
        most_rounds = most_rounds.max(cold.rounds);
    }
    println!("one event of an old state, nothing in memory: {most_reads} chunks read, in {most_rounds} rounds");
    let mut cold = ColdChunks::new(chunks);
    cold.run(|chunks| map.get_many(chunks, &places))?;
    println!("{} events of it: {} chunks read, in {} rounds", places.len(), cold.loaded.len(), cold.rounds);

    let mut group = criterion.benchmark_group("read among 50,000 members");
    let mut next = places.iter().cycle();
    group.bench_function("one event", |bencher| bencher.iter(|| next.next().map(|place| map.get(chunks, *place))));
    group.bench_function("all members", |bencher| {
        bencher.iter(|| map.range(chunks, MEMBER).map(|entries| entries.fold(0, |sum, (_, event)| sum ^ event.0)));
    });
    let leaf = chunks.iter().filter(|chunk| chunk.level() == 0).max_by_key(|chunk| chunk.bytes().len());
    if let Some(leaf) = leaf {
        let name = format!("parse and check a chunk of {} bytes", leaf.bytes().len());
        group.bench_function(name, |bencher| bencher.iter(|| Chunk::parse(leaf.id(), black_box(leaf.bytes().clone()))));
    }
    group.finish();
    Ok(())
}

fn differences(
    criterion: &mut Criterion,
    state: &Changes,
    map: StateMap,
    chunks: &MemoryChunks,
) -> Result<(), StateMapError> {
    let mut other_state = state.clone();
    for (_, event) in other_state.iter_mut().skip(1_000).step_by(4_900).take(10) {
        *event = Some(EventSn(10_000_000));
    }
    let (other, more) = built(&other_state)?;
    let mut all = chunks.clone();
    all.extend(more.iter().cloned());
    let mut cold = ColdChunks::new(&all);
    let found = cold.run(|chunks| map.diff(other, chunks))?.len();
    println!(
        "difference in {found} places: {} of {} chunks read, in {} rounds",
        cold.loaded.len(),
        chunks.len() + more.len(),
        cold.rounds,
    );
    let as_map = |state: &Changes| -> HashMap<Place, Option<EventSn>> { state.iter().copied().collect() };
    let (full, other_full) = (as_map(state), as_map(&other_state));
    let mut group = criterion.benchmark_group("difference in 10 places among 50,000");
    group.bench_function("state map", |bencher| bencher.iter(|| map.diff(black_box(other), &all)));
    group.bench_function("state map, three-way", |bencher| {
        bencher.iter(|| StateMap::conflicts(black_box(&[map, other, map]), &all));
    });
    group.bench_function("baseline: sorted arrays", |bencher| {
        bencher.iter(|| {
            let pairs = black_box(state).iter().zip(&other_state);
            pairs.filter(|(before, after)| before != after).map(|(before, _)| *before).collect::<Vec<_>>()
        });
    });
    group.bench_function("baseline: hash maps", |bencher| {
        bencher.iter(|| {
            let differ = |(place, event): &(&Place, &Option<EventSn>)| other_full.get(place) != Some(event);
            black_box(&full).iter().filter(differ).map(|(place, _)| *place).collect::<Vec<_>>()
        });
    });
    group.finish();
    Ok(())
}

fn small_room(criterion: &mut Criterion) -> Result<(), StateMapError> {
    let state = state(9, &mut Numbers(4));
    let (map, chunks) = built(&state)?;
    let place = state.last().map_or(Place::new(MEMBER, KeySn(1)), |(place, _)| *place);
    println!("a room of {} entries: {} bytes in {} chunk", state.len(), stored_bytes(chunks.iter()), chunks.len());
    let mut group = criterion.benchmark_group("room of 20 entries");
    group.bench_function("one change", |bencher| {
        bencher.iter(|| map.apply(&chunks, black_box(&[(place, Some(EventSn(10_000_001)))])));
    });
    group.bench_function("baseline: copy and hash the whole state", |bencher| {
        let flat = flat(&state);
        bencher.iter(|| change_flat(black_box(&flat), 15, 10_000_001));
    });
    group.bench_function("one event", |bencher| bencher.iter(|| map.get(&chunks, black_box(place))));
    group.finish();
    Ok(())
}

fn run(criterion: &mut Criterion) -> Result<(), StateMapError> {
    let state = state(MEMBERS, &mut Numbers(1));
    let (map, chunks) = built(&state)?;
    let levels = chunks.chunk(&map.root()).map_or(0, |root| root.level() + 1);
    let bytes = stored_bytes(chunks.iter());
    println!("{} entries: {} chunks on {levels} levels, {bytes} bytes", state.len(), chunks.len());
    one_change(criterion, &state, map, &chunks);
    many_changes(&state, map, &chunks)?;
    reading(criterion, &state, map, &chunks)?;
    differences(criterion, &state, map, &chunks)?;
    small_room(criterion)?;
    criterion.bench_function("build a state of 50,000 members", |bencher| {
        bencher.iter(|| StateMap::EMPTY.apply(&chunks, black_box(&state)));
    });
    Ok(())
}

fn state_map(criterion: &mut Criterion) {
    if let Err(error) = run(criterion) {
        println!("the benchmark stopped: {error}");
    }
}

criterion_group!(benches, state_map);
criterion_main!(benches);
