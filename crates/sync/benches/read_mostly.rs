//! Data that is read all the time and changed rarely, read by several threads at once, beside the same behind a mutex.
//!
//! Each thread reads as often as Criterion asks, so a time is that of one read of every thread: with as many cores as threads
//! it would stay the same.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use accounts::registration::RegistrationOptions;
use arc_swap::ArcSwap;
use criterion::{Criterion, criterion_group, criterion_main};
use event_log::{LogFollower, LogTail, UserRoomsCache, Wakeups};
use homeserver_core::{Position, RoomSn};
use parking_lot::{Mutex, RwLock};
use storage::{Database, DatabaseOptions, RoomStates};
use testing::TestDatabase;
use tokio_util::sync::CancellationToken;

const THREADS: [usize; 3] = [1, 2, 8];
const ROOMS: i64 = 200;
/// Entries of the log that a read visits: what a client that is nearly up to date has not seen.
const NEW_ENTRIES: i64 = 20;

/// How long `threads` threads take that each call `read` this often.
fn together(threads: usize, times: u64, read: impl Fn() + Sync) -> Duration {
    let start = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    (0..times).for_each(|_| read());
                })
            })
            .collect();
        start.wait();
        let started = Instant::now();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        started.elapsed()
    })
}

fn compare(criterion: &mut Criterion, name: &str, ways: &[(&str, &(dyn Fn() + Sync))]) {
    for threads in THREADS {
        let mut group = criterion.benchmark_group(format!("{name}, {threads} threads"));
        for (way, read) in ways {
            group.bench_function(*way, |bencher| bencher.iter_custom(|times| together(threads, times, read)));
        }
        group.finish();
    }
}

fn read_mostly(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let db = TestDatabase::sqlite();
    let (states, tail) = runtime.block_on(async {
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        let stopping = CancellationToken::new();
        let states = RoomStates::follow(&database, "example.org", Duration::from_secs(1), stopping).await.unwrap();
        let tail = Arc::new(LogTail::new(Position::START));
        let user_rooms = Arc::new(UserRoomsCache::new(database.clone()));
        LogFollower::start(&database, tail.clone(), user_rooms, Arc::new(Wakeups::default()));
        for room in 1..=ROOMS {
            database.write(async move |tx| tx.mark_state_partial(RoomSn(room)).await).await.unwrap();
        }
        (states, tail)
    });

    let locked_states = Mutex::new(states.clone());
    compare(
        criterion,
        "what is known of a room's state",
        &[
            ("arc-swap", &|| drop(black_box(states.of(RoomSn(ROOMS + 7))))),
            ("baseline: the same behind a mutex", &|| drop(black_box(locked_states.lock().of(RoomSn(ROOMS + 7))))),
        ],
    );

    let end = tail.end();
    let visit = |tail: &LogTail| {
        let mut entries = 0;
        assert!(tail.visit(Position(end.0 - NEW_ENTRIES), end, |_| entries += 1));
        assert_eq!(black_box(entries), NEW_ENTRIES);
    };
    let locked_tail = Mutex::new(tail.clone());
    compare(
        criterion,
        "the newest entries of the log",
        &[("RwLock", &|| visit(&tail)), ("baseline: the same behind a mutex", &|| visit(&locked_tail.lock()))],
    );

    let swapped = ArcSwap::from_pointee(RegistrationOptions::default());
    let (locked, guarded) = (Mutex::new(RegistrationOptions::default()), RwLock::new(RegistrationOptions::default()));
    compare(
        criterion,
        "reloadable configuration",
        &[
            ("arc-swap", &|| assert!(!black_box(swapped.load().enabled))),
            ("RwLock", &|| assert!(!black_box(guarded.read().enabled))),
            ("baseline: mutex", &|| assert!(!black_box(locked.lock().enabled))),
        ],
    );
}

criterion_group!(benches, read_mostly);
criterion_main!(benches);
