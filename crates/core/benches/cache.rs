//! What it costs to find something in a cache, not to find it, and to put it in, beside a map and a list of what was used
//! last behind one lock each, and its own table without budget, ages and counts; for one thread and for several that do the same at the same time.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hashlink::LruCache;
use homeserver_core::{Cache, MemoryBudget};

/// Entries that all of them hold.
const ENTRIES: u64 = 10_000;
const THREADS: [u64; 3] = [1, 2, 8];

trait Keeps: Sync {
    fn get(&self, key: u64) -> Option<Arc<str>>;
    fn insert(&self, key: u64, value: Arc<str>);
}

impl Keeps for Cache<u64, Arc<str>> {
    fn get(&self, key: u64) -> Option<Arc<str>> {
        self.get(&key)
    }

    fn insert(&self, key: u64, value: Arc<str>) {
        self.insert(key, value);
    }
}

impl Keeps for quick_cache::sync::Cache<u64, Arc<str>> {
    fn get(&self, key: u64) -> Option<Arc<str>> {
        self.get(&key)
    }

    fn insert(&self, key: u64, value: Arc<str>) {
        self.insert(key, value);
    }
}

impl Keeps for Mutex<HashMap<u64, Arc<str>>> {
    fn get(&self, key: u64) -> Option<Arc<str>> {
        self.lock().ok()?.get(&key).cloned()
    }

    fn insert(&self, key: u64, value: Arc<str>) {
        if let Ok(mut map) = self.lock() {
            map.insert(key, value);
        }
    }
}

impl Keeps for Mutex<LruCache<u64, Arc<str>>> {
    fn get(&self, key: u64) -> Option<Arc<str>> {
        self.lock().ok()?.get(&key).cloned()
    }

    fn insert(&self, key: u64, value: Arc<str>) {
        if let Ok(mut cache) = self.lock() {
            cache.insert(key, value);
        }
    }
}

/// Keys in an order that nobody can guess ahead, different in each thread.
fn keys(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % ENTRIES
    })
}

/// How long it takes until each of the threads has done it so many times.
fn time(threads: u64, times: u64, work: impl Fn(u64) + Sync) -> Duration {
    let ready = Barrier::new(usize::try_from(threads).unwrap_or(1) + 1);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (ready, work) = (&ready, &work);
            scope.spawn(move || {
                ready.wait();
                for key in keys(thread + 1).take(usize::try_from(times).unwrap_or(usize::MAX)) {
                    work(key);
                }
            });
        }
        ready.wait();
        Instant::now()
    })
    .elapsed()
}

fn cache(criterion: &mut Criterion) {
    let budget = MemoryBudget::default();
    let own: Cache<u64, Arc<str>> = Cache::new(&budget, "bench");
    let entries = usize::try_from(ENTRIES).unwrap_or(1);
    let kinds: [(&str, Box<dyn Keeps>); 4] = [
        ("cache", Box::new(own)),
        ("its table alone", Box::new(quick_cache::sync::Cache::<u64, Arc<str>>::new(2 * entries))),
        ("baseline: map behind a mutex", Box::new(Mutex::new(HashMap::<u64, Arc<str>>::new()))),
        ("baseline: LRU map behind a mutex", Box::new(Mutex::new(LruCache::<u64, Arc<str>>::new(entries)))),
    ];
    let value: Arc<str> = "@alice:example.org".into();
    for (_, kept) in &kinds {
        (0..ENTRIES).for_each(|key| kept.insert(key, value.clone()));
    }
    type Work = fn(&dyn Keeps, u64, &Arc<str>);
    let works: [(&str, Work); 3] = [
        ("hit", |kept, key, _| {
            black_box(kept.get(key));
        }),
        ("miss", |kept, key, _| {
            black_box(kept.get(key + ENTRIES));
        }),
        ("write", |kept, key, value| kept.insert(key, value.clone())),
    ];
    for (what, work) in works {
        let mut group = criterion.benchmark_group(format!("cache {what}"));
        for threads in THREADS {
            for (name, kept) in &kinds {
                group.bench_function(BenchmarkId::new(*name, threads), |bencher| {
                    bencher.iter_custom(|times| time(threads, times, |key| work(&**kept, key, &value)));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, cache);
criterion_main!(benches);
