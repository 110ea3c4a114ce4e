//! The caches of this crate with what they really hold.

use std::sync::Arc;

use homeserver_core::{
    EventSn, HeapSize as _, KeySn, MemoryBudget, MemoryUser as _, RoomSn, SystemClock, TypeSn, UserSn,
};
use room_engine::auth_chain::{Chain, ChainCover, ChainPosition, LoadedChain, PositionedEvent};
use room_engine::state_map::{Chunk, MemoryChunks, Place, StateMap};
use testing::TestDatabase;

use crate::known_rooms::{KnownRooms, WriterShare};
use crate::state_chunks::{ChunkCache, ChunkView, WrittenState};
use crate::{Database, DatabaseOptions, Interned};

/// The chunks of the state of a room with that many members.
fn state_of(room: i64, members: i64) -> (StateMap, Vec<Chunk>) {
    let changes: Vec<_> = (0..members)
        .map(|member| (Place::new(TypeSn(1), KeySn(member)), Some(EventSn(room * 10_000 + member))))
        .collect();
    let state = StateMap::EMPTY.apply(&MemoryChunks::default(), &changes).unwrap();
    (state.map, state.new_chunks)
}

#[test]
fn what_a_chunk_counts_is_what_it_takes() {
    let mut chunks: Vec<Chunk> = Vec::new();
    let taken = allocation_counter::measure(|| {
        let made: Vec<Chunk> = (0..50).flat_map(|room| state_of(room, 500).1).collect();
        chunks = made;
        chunks.shrink_to_fit();
    });
    let counted: usize = chunks.iter().map(|chunk| chunk.heap_bytes() + size_of::<Chunk>()).sum();
    let taken = usize::try_from(taken.bytes_current).unwrap();
    assert!((taken * 9 / 10..taken * 5 / 4).contains(&counted), "{counted} counted, {taken} taken");
}

#[tokio::test]
async fn a_load_of_ten_times_the_budget_takes_no_more_than_the_budget() {
    const BUDGET: u64 = 16 << 20;
    let db = TestDatabase::sqlite();
    let memory = MemoryBudget::new(BUDGET, Arc::new(SystemClock));
    let options = DatabaseOptions { memory: memory.clone(), ..DatabaseOptions::new(db.url()) };
    let database = Database::open(&options).await.unwrap();
    let interned = Interned::new(database.clone());
    let cache: Arc<ChunkCache> = database.chunk_cache();
    let mut filled = 0;
    let measured = allocation_counter::measure(|| {
        for number in 0.. {
            let name = format!("@somebody{number}:server{}.example.org", number % 1_000);
            interned.remember_user(&name, UserSn(number), Some(KeySn(number)));
            // Two numbers and two texts, each with its place in a table.
            filled += 4 * (name.len() as u64 + 64);
            if number % 20 == 0 {
                let mut view = ChunkView::new(cache.clone());
                let (state, chunks) = state_of(number, 60);
                filled += chunks.iter().map(|chunk| chunk.heap_bytes() as u64).sum::<u64>();
                view.extend(chunks);
                view.remember_written(RoomSn(number), WrittenState { head_version: 1, state });
            }
            if filled > 10 * BUDGET {
                break;
            }
        }
    });
    assert!(measured.bytes_max <= BUDGET / 10 * 11, "{} bytes of {BUDGET}: {:#?}", measured.bytes_max, memory.usage());
    assert!(measured.bytes_max > BUDGET / 2, "{} bytes of {BUDGET}: {:#?}", measured.bytes_max, memory.usage());
    database.close().await;
}

/// Chains of `length` events. Each event has a link to the chain before.
fn add_chains(cover: &mut ChainCover, first: i64, chains: i64, length: u32) {
    for number in first..first + chains {
        let chain = Chain(EventSn(number));
        let at = |seq| ChainPosition { chain, seq };
        for seq in 1..=length {
            let event_sn = EventSn(number * i64::from(length) + i64::from(seq));
            cover.add_position(PositionedEvent { event_sn, position: at(seq) });
        }
        let links = (1..=length).map(|seq| (seq, ChainPosition { chain: Chain(EventSn(number - 1)), seq })).collect();
        cover.add_chain(LoadedChain { chain, length, parent: None, links });
    }
}

#[test]
fn what_auth_chains_count_is_what_they_take() {
    for length in [1, 10] {
        let mut cover = ChainCover::new();
        let taken = allocation_counter::measure(|| add_chains(&mut cover, 1, 3_000, length));
        let (taken, counted) = (usize::try_from(taken.bytes_current).unwrap(), cover.heap_bytes());
        assert!((taken..taken * 5 / 4).contains(&counted), "{counted} counted, {taken} taken");
    }
}

#[test]
fn what_the_writer_remembers_stays_within_its_share() {
    const BUDGET: u64 = 1 << 20;
    let memory = MemoryBudget::new(BUDGET, Arc::new(SystemClock));
    let share = WriterShare::of(&memory);
    let mut known = KnownRooms::new(share.clone());
    let mut most = 0;
    for number in 1..2_000 {
        add_chains(known.auth_chains(), number * 10, 10, 2);
        known.has_taken_positions(20);
        known.keep_to_share();
        let usage = share.usage();
        assert!(usage.entry_bytes <= usage.capacity_bytes, "{usage:?}");
        most = most.max(usage.entry_bytes);
    }
    let usage = share.usage();
    assert!(usage.evictions > 10_000, "{usage:?}");
    assert!((BUDGET / 4..=BUDGET).contains(&most), "{most} bytes at most: {usage:?}");
    memory.set_bytes(BUDGET / 100);
    known.keep_to_share();
    assert!(share.usage().entry_bytes <= BUDGET / 100, "{:?}", share.usage());
}
