//! What a start does and what it leaves for later.
//!
//! * The first reads of several requests at once: connections that the start has opened, beside ones that the requests have
//!   to wait for.
//! * The start itself: rooms and users are read when somebody asks for them, beside reading all of them first.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use storage::{Database, DatabaseOptions, params};
use testing::TestDatabase;
use tokio::runtime::Runtime;

/// Requests that arrive together.
const REQUESTS: u32 = 8;
const ROOMS: i64 = 20_000;

/// How long the first reads take, all at once, on a database that was just opened.
async fn first_reads(url: &str, min_connections: u32) -> Duration {
    let options = DatabaseOptions { min_connections, max_connections: REQUESTS, ..DatabaseOptions::new(url) };
    let database = Database::open(&options).await.unwrap();
    let started = Instant::now();
    futures::future::join_all((0..REQUESTS).map(|_| database.ping())).await.into_iter().for_each(|ping| {
        ping.unwrap();
    });
    let waited = started.elapsed();
    database.close().await;
    waited
}

fn pool(criterion: &mut Criterion, runtime: &Runtime, engine: &str, db: &TestDatabase) {
    let mut group = criterion.benchmark_group(format!("first {REQUESTS} reads at once, {engine}"));
    group.sample_size(10);
    for (name, min_connections) in [("connections opened before", REQUESTS), ("baseline: one opened before", 1)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                (0..times).map(|_| runtime.block_on(first_reads(db.url(), min_connections))).sum()
            });
        });
    }
    group.finish();
}

async fn fill(database: &Database) {
    let insert = async |tx: &mut storage::Tx| {
        for room in 1..=ROOMS {
            let room_id = format!("!room{room}:example.org");
            tx.execute("INSERT INTO rooms (room_sn, room_id) VALUES ($1, $2)", params![room, &room_id]).await?;
            let sql = "INSERT INTO room_heads (room_sn, room_version, head_version, depth, last_event_sn, extremities, \
                       countable_total, joined_count, invited_count, state_root) \
                       VALUES ($1, '12', 1, 1, 1, '1', 0, 1, 0, $2)";
            tx.execute(sql, params![room, &[7_u8; 20][..]]).await?;
        }
        Ok(())
    };
    database.write(insert).await.unwrap();
}

/// What a server reads that wants to have everything at hand.
async fn read_everything(database: &Database) -> (HashMap<i64, String>, HashMap<i64, (String, i64)>) {
    let read = |row: &storage::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let rooms = database.query("SELECT room_sn, room_id FROM rooms", &[], read).await.unwrap();
    let sql = "SELECT room_sn, room_version, depth, extremities, joined_count FROM room_heads";
    let heads = database.query(sql, &[], |row| Ok((row.get(0)?, (row.get(3)?, row.get(4)?)))).await.unwrap();
    (rooms.into_iter().collect(), heads.into_iter().collect())
}

fn opening(criterion: &mut Criterion, runtime: &Runtime) {
    let db = TestDatabase::sqlite();
    let options = DatabaseOptions::new(db.url());
    runtime.block_on(async {
        let database = Database::open(&options).await.unwrap();
        fill(&database).await;
        database.close().await;
    });
    let mut group = criterion.benchmark_group(format!("start on {ROOMS} rooms, SQLite"));
    group.sample_size(10);
    for (name, is_eager) in [("rooms read when asked for", false), ("baseline: all rooms read", true)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let once = async || {
                    let started = Instant::now();
                    let database = Database::open(&options).await.unwrap();
                    if is_eager {
                        assert_eq!(read_everything(&database).await.1.len(), usize::try_from(ROOMS).unwrap());
                    }
                    let took = started.elapsed();
                    database.close().await;
                    took
                };
                (0..times).map(|_| runtime.block_on(once())).sum()
            });
        });
    }
    group.finish();
}

fn starting(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    opening(criterion, &runtime);
    pool(criterion, &runtime, "SQLite", &TestDatabase::sqlite());
    let postgres = runtime.block_on(TestDatabase::postgres());
    pool(criterion, &runtime, "PostgreSQL", &postgres);
}

criterion_group!(benches, starting);
criterion_main!(benches);
