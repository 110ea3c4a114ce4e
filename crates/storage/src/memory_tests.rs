//! The caches of this crate with what they really hold.

use std::sync::Arc;

use homeserver_core::{HeapSize as _, KeySn, MemoryBudget, RoomSn, SystemClock, TypeSn, UserSn};
use room_engine::state_map::{Chunk, MemoryChunks, Place, StateMap};
use testing::TestDatabase;

use crate::state_chunks::{ChunkCache, ChunkView, WrittenState};
use crate::{Database, DatabaseOptions, Interned};

/// The chunks of the state of a room with that many members.
fn state_of(room: i64, members: i64) -> (StateMap, Vec<Chunk>) {
    let changes: Vec<_> = (0..members)
        .map(|member| (Place::new(TypeSn(1), KeySn(member)), Some(homeserver_core::EventSn(room * 10_000 + member))))
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
