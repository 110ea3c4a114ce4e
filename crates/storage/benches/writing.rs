//! 64 writes that share commits, beside the same one after the other, with the real writer on both databases.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::sync::atomic::{AtomicI64, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};
use storage::{Database, DatabaseOptions, params};
use testing::TestDatabase;
use tokio::runtime::Runtime;

const WRITES: usize = 64;

async fn insert(database: &Database, number: i64) {
    let name = format!("value {number}");
    let sql = "INSERT INTO server_values (name, value) VALUES ($1, $2)";
    database.write(async move |tx| tx.execute(sql, params![&name, "x"]).await.map(drop)).await.unwrap();
}

fn on(criterion: &mut Criterion, runtime: &Runtime, engine: &str, db: &TestDatabase) {
    let database = runtime.block_on(Database::open(&DatabaseOptions::new(db.url()))).unwrap();
    let next = AtomicI64::new(0);
    let number = || next.fetch_add(1, Ordering::Relaxed);
    let mut group = criterion.benchmark_group(format!("{WRITES} writes, {engine}"));
    group.sample_size(20);
    group.bench_function("together", |bencher| {
        bencher.iter(|| {
            let writes = (0..WRITES).map(|_| insert(&database, number()));
            runtime.block_on(futures::future::join_all(writes));
        });
    });
    group.bench_function("baseline: one after the other", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                for _ in 0..WRITES {
                    insert(&database, number()).await;
                }
            });
        });
    });
    group.finish();
    runtime.block_on(database.close());
}

fn writing(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    on(criterion, &runtime, "SQLite", &TestDatabase::sqlite());
    let postgres = runtime.block_on(TestDatabase::postgres());
    on(criterion, &runtime, "PostgreSQL", &postgres);
}

criterion_group!(benches, writing);
criterion_main!(benches);
