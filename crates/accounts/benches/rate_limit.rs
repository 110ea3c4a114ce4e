//! What it costs to count a message, by one thread and by several at once; and the plain baseline, a bucket for each user in a map
//! behind a lock.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use accounts::rate_limits::{Key, LimitedAction, Rate, RateLimits};
use accounts::registration::{NewUser, Registration, RegistrationOptions};
use accounts::sessions::{CheckedDevice, Requester, SessionDevice, SessionOptions, Sessions};
use accounts::uia::Authorisation;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use homeserver_core::{SystemClock, UserSn};
use parking_lot::Mutex;
use ruma::owned_server_name;
use storage::{Database, DatabaseOptions, Interned};
use testing::TestDatabase;

/// Users who send.
const USERS: i64 = 10_000;
/// High enough that everything is allowed, which is the common case.
const RATE: f64 = 1_000_000.0;
const BURST: u32 = 100_000;

/// A token bucket as one would write it at first.
#[derive(Default)]
struct Plain(Mutex<HashMap<UserSn, (f64, Instant)>>);

impl Plain {
    fn spend(&self, user: UserSn) -> bool {
        let now = Instant::now();
        let mut buckets = self.0.lock();
        let (tokens, filled_at) = buckets.entry(user).or_insert((f64::from(BURST), now));
        *tokens = (*tokens + now.duration_since(*filled_at).as_secs_f64() * RATE).min(f64::from(BURST));
        *filled_at = now;
        let is_allowed = *tokens >= 1.0;
        if is_allowed {
            *tokens -= 1.0;
        }
        is_allowed
    }
}

/// The limits of a server, and somebody who sends.
fn limits(db: &TestDatabase) -> (RateLimits, Requester) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        let name = owned_server_name!("example.org");
        let clock = Arc::new(SystemClock);
        let interned = Arc::new(Interned::new(database.clone()));
        let sessions = Arc::new(Sessions::new(database.clone(), interned, clock.clone(), SessionOptions::default()));
        let options = RegistrationOptions::default();
        let registration = Registration::new(database.clone(), clock, name.clone(), options, None, sessions.clone());
        let device = Some(CheckedDevice::try_from(SessionDevice::default()).unwrap());
        let user = NewUser { username: Some("alice".to_owned()), device, ..NewUser::default() };
        let registered = registration.register(user, Authorisation::default()).await.unwrap();
        let requester = sessions.authenticate(&registered.tokens.unwrap().access_token, None).await.unwrap();
        let rate = Rate { per_second: RATE, burst: NonZeroU32::new(BURST).unwrap() };
        (RateLimits::new(database, name, |_| Some(rate)), requester)
    })
}

/// The time for `iterations` on each of so many threads.
fn together(threads: usize, iterations: u64, spend: &(impl Fn(UserSn) -> bool + Sync)) -> Duration {
    let barrier = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut user = i64::try_from(thread).unwrap() * 1_237;
                    barrier.wait();
                    for _ in 0..iterations {
                        user = (user + 7_919) % USERS;
                        assert!(spend(UserSn(user)));
                    }
                })
            })
            .collect();
        barrier.wait();
        let began = Instant::now();
        running.into_iter().for_each(|thread| thread.join().unwrap());
        began.elapsed()
    })
}

fn rate_limit(criterion: &mut Criterion) {
    let db = TestDatabase::sqlite();
    let (limits, requester) = limits(&db);
    let plain = Plain::default();
    let mut group = criterion.benchmark_group("rate_limit");
    for threads in [1_usize, 2, 8] {
        group.throughput(Throughput::Elements(u64::try_from(threads).unwrap()));
        group.bench_function(BenchmarkId::new("one lock", threads), |bencher| {
            bencher.iter_custom(|iterations| together(threads, iterations, &|user| plain.spend(user)));
        });
        group.bench_function(BenchmarkId::new("ours", threads), |bencher| {
            let spend = |user| match limits.spend(LimitedAction::Message, Key::user(user), Some(&requester)) {
                Ok(spent) => {
                    spent.keep();
                    true
                }
                Err(_) => false,
            };
            bencher.iter_custom(|iterations| together(threads, iterations, &spend));
        });
    }
    group.finish();
}

criterion_group!(benches, rate_limit);
criterion_main!(benches);
