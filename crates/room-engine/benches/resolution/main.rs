//! Resolving two branches of a large room, beside `ruma::state_res`, and keeping the index.
//!
//! A quick run takes a room of 50,000 events and 1,000 conflicted ones. With `RESOLUTION_BENCH=large` it is 1,000,000 and
//! 10,000, which takes some minutes and about 6 GB.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark stops at what it does not expect")]

mod history;
mod ours;
mod theirs;

use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use room_engine::{RoomVersion, auth_chain::ChainCover};

use history::History;

fn bench_version(criterion: &mut Criterion, version: RoomVersion, events: usize, conflicted: usize) {
    let history = History::new(version, events, conflicted);
    let ours = ours::Ours::new(&history);
    let theirs = theirs::Theirs::new(&history);
    let mut group = criterion.benchmark_group(format!("room version {version}, {events} events"));
    group.sample_size(10);
    for (name, forks) in [("large conflict", &history.large), ("small conflict", &history.small)] {
        let result = ours.resolve(forks, ours.conflicts(forks));
        assert_eq!(result.state, theirs.resolve(forks), "both resolve alike");
        println!("{name}: {result}");
        group.bench_function(format!("{name}, ours from whole states"), |bencher| {
            bencher.iter(|| ours.resolve(forks, ours.conflicts(forks)));
        });
        group.bench_function(format!("{name}, ours from differences"), |bencher| {
            bencher.iter_batched(
                || ours.conflicts(forks),
                |conflicts| ours.resolve(forks, conflicts),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(format!("{name}, ruma"), |bencher| bencher.iter(|| theirs.resolve(forks)));
        group.bench_function(format!("{name}, ruma without walking the auth chains"), |bencher| {
            bencher.iter_batched(
                || theirs.auth_chains(forks),
                |chains| theirs.resolve_with(forks, chains),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn bench_insert(criterion: &mut Criterion, events: usize) {
    let history = History::new(RoomVersion::V11, events, 10);
    let indexed = history.indexed();
    let start = Instant::now();
    let mut cover = ChainCover::new();
    let rows = cover.insert(&indexed).unwrap();
    let (positions, chains, links) = cover.size();
    println!(
        "index of {positions} events: {chains} chains, {links} links, {} branches, {:?} for each event",
        rows.starts.len(),
        start.elapsed() / u32::try_from(positions).unwrap(),
    );
    let (before, new) = indexed.split_at(indexed.len() - indexed.len() / 10);
    let mut cover = ChainCover::new();
    cover.insert(before).unwrap();
    let mut group = criterion.benchmark_group("index");
    group.sample_size(10).throughput(Throughput::Elements(u64::try_from(new.len()).unwrap()));
    group.bench_function("insert into a room that is nine times as large", |bencher| {
        bencher.iter_batched_ref(|| cover.clone(), |cover| cover.insert(new).unwrap(), BatchSize::PerIteration);
    });
    group.finish();
}

fn resolution(criterion: &mut Criterion) {
    let is_large = std::env::var("RESOLUTION_BENCH").is_ok_and(|size| size == "large");
    let (events, conflicted) = if is_large { (1_000_000, 10_000) } else { (50_000, 1_000) };
    for version in [RoomVersion::V11, RoomVersion::V12] {
        bench_version(criterion, version, events, conflicted);
    }
    bench_insert(criterion, events);
}

criterion_group!(benches, resolution);
criterion_main!(benches);
