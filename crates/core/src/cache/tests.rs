use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;

use super::{Cache, CacheOptions};
use crate::{FixedClock, MemoryBudget, Timestamp};

fn cache(bytes: u64) -> Cache<u64, Arc<str>> {
    Cache::new(&MemoryBudget::new(bytes, Arc::new(FixedClock::new(Timestamp(0)))), "texts")
}

#[test]
fn what_is_put_in_is_found_until_it_is_removed() {
    let cache = cache(1 << 20);
    assert_eq!(cache.get(&1), None);
    cache.insert(1, "one".into());
    assert_eq!(cache.get(&1).as_deref(), Some("one"));
    cache.insert(1, "another".into());
    assert_eq!(cache.get(&1).as_deref(), Some("another"));
    assert_eq!(cache.remove(&1).as_deref(), Some("another"));
    assert_eq!((cache.get(&1), cache.remove(&1)), (None, None));
    let usage = cache.usage();
    assert_eq!((usage.hits, usage.misses, usage.evictions, usage.entries), (2, 2, 0, 0));
}

#[test]
fn who_keeps_entries_up_to_date_is_not_counted() {
    let cache = cache(1 << 20);
    cache.insert(1, "one".into());
    assert!(cache.peek(&1).is_some() && cache.peek(&2).is_none());
    assert_eq!((cache.usage().hits, cache.usage().misses), (0, 0));
}

#[test]
fn what_must_go_is_counted_and_the_rest_is_within_the_capacity() {
    let cache = cache(64 << 10);
    for number in 0..10_000 {
        cache.insert(number, "x".repeat(100).into());
    }
    let usage = cache.usage();
    assert_eq!(usage.evictions + usage.entries, 10_000);
    assert!(usage.bytes() <= 64 << 10, "{usage:?}");
    assert!(usage.entries > 100, "{usage:?}");
}

#[test]
fn what_is_replaced_is_not_counted_as_gone_for_want_of_room_whatever_the_sizes_are() {
    let cache = cache(1 << 20);
    for text in ["one", "two", "a longer text than that before", "four"] {
        cache.insert(1, text.into());
        let expected: Arc<str> = text.into();
        assert_eq!(cache.get(&1).as_deref(), Some(text));
        let usage = cache.usage();
        assert_eq!((usage.entries, usage.evictions), (1, 0));
        let other = Cache::new(&MemoryBudget::default(), "texts");
        other.insert(1_u64, expected);
        assert_eq!(usage.entry_bytes, other.usage().entry_bytes, "{text}");
    }
}

#[test]
fn an_entry_that_grows_is_weighed_again() {
    let budget = MemoryBudget::default();
    let cache: Cache<u64, Arc<growing::Growing>> = Cache::new(&budget, "growing");
    let value = Arc::<growing::Growing>::default();
    cache.insert(1, value.clone());
    let before = cache.usage().entry_bytes;
    value.grow(10_000);
    cache.reweigh(&1);
    assert_eq!(cache.usage().entry_bytes, before + 10_240);
    cache.reweigh(&2);
    assert_eq!(
        (cache.usage().entries, cache.get(&2).is_none()),
        (1, true),
        "nothing comes from weighing what is not there"
    );
    cache.remove(&1);
    assert_eq!(cache.usage().entry_bytes, 0);
}

mod growing {
    use parking_lot::Mutex;

    use crate::HeapSize;

    #[derive(Default)]
    pub(super) struct Growing(Mutex<Vec<u8>>);

    impl Growing {
        pub(super) fn grow(&self, by: usize) {
            self.0.lock().reserve_exact(by);
        }
    }

    impl HeapSize for Growing {
        fn heap_bytes(&self) -> usize {
            self.0.lock().heap_bytes()
        }
    }
}

#[test]
fn an_entry_lives_as_long_as_it_may() {
    let clock = Arc::new(FixedClock::new(Timestamp(0)));
    let budget = MemoryBudget::new(1 << 20, clock.clone());
    let cache: Cache<u64, Arc<str>> = Cache::new(&budget, "texts");
    cache.insert(1, "for ever".into());
    cache.insert_for(2, "shortly".into(), Some(Duration::from_secs(5)));
    budget.set_time_to_live(Some(Duration::from_secs(10)));
    cache.insert(3, "as all".into());
    let never_old: Cache<u64, Arc<str>> =
        Cache::with(&budget, "heads", CacheOptions { expires: false, ..CacheOptions::default() });
    never_old.insert(1, "for ever".into());

    let alive = || [1, 2, 3].map(|key| cache.get(&key).is_some());
    clock.advance(Duration::from_millis(4_999));
    assert_eq!(alive(), [true, true, true]);
    clock.advance(Duration::from_millis(1));
    assert_eq!(alive(), [true, false, true]);
    clock.advance(Duration::from_secs(5));
    assert_eq!((alive(), cache.peek(&3)), ([true, false, false], None));
    assert!(never_old.get(&1).is_some());
    assert_eq!(cache.usage().entries, 1, "what is too old is gone once it is asked for");
    assert_eq!((cache.usage().hits, cache.usage().misses), (6, 3));
    assert_eq!(&*cache.get_or_insert_with(&3, || "again".into()), "again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_miss_one_loads() {
    let (cache, loads) = (cache(1 << 20), Arc::new(AtomicU32::new(0)));
    let tasks = (0..64).map(|_| {
        let (cache, loads) = (cache.clone(), loads.clone());
        tokio::spawn(async move {
            let load = async {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok::<Arc<str>, ()>("loaded".into())
            };
            cache.get_or_load(&1, load).await
        })
    });
    for value in join_all(tasks).await {
        assert_eq!(value.unwrap().as_deref(), Ok("loaded"));
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_load_that_fails_keeps_nobody_from_loading() {
    let cache = cache(1 << 20);
    let (begin, begun) = tokio::sync::oneshot::channel();
    let failing = cache.get_or_load(&1, async {
        begun.await.unwrap();
        Err("failed")
    });
    let waiting = cache.get_or_load(&1, async { Ok::<Arc<str>, &str>("loaded".into()) });
    let beginning = async { begin.send(()).unwrap() };
    let (failed, loaded, ()) = tokio::join!(failing, waiting, beginning);
    assert_eq!((failed, loaded.as_deref()), (Err("failed"), Ok("loaded")));
    assert_eq!(cache.get(&1).as_deref(), Some("loaded"));
}

#[tokio::test]
async fn a_load_that_is_cancelled_keeps_nobody_from_loading() {
    let cache = cache(1 << 20);
    let mut cancelled = Box::pin(cache.get_or_load(&1, std::future::pending::<Result<Arc<str>, ()>>()));
    assert!(cancelled.as_mut().now_or_never().is_none());
    let mut waiting = Box::pin(cache.get_or_load(&1, async { Ok::<Arc<str>, ()>("loaded".into()) }));
    assert!(waiting.as_mut().now_or_never().is_none(), "the first one loads");
    drop(cancelled);
    assert_eq!(waiting.await.as_deref(), Ok("loaded"));
}

#[tokio::test]
async fn what_is_removed_while_it_is_loaded_is_not_kept() {
    let cache = cache(1 << 20);
    let (finish, finished) = tokio::sync::oneshot::channel();
    let mut loading = Box::pin(cache.get_or_load(&1, async {
        finished.await.unwrap();
        Ok::<Arc<str>, ()>("old".into())
    }));
    assert!(loading.as_mut().now_or_never().is_none());
    cache.remove(&1);
    let newer = cache.get_or_load(&1, async { Ok::<Arc<str>, ()>("new".into()) }).await;
    assert_eq!(newer.as_deref(), Ok("new"), "nobody waits for what was removed");
    finish.send(()).unwrap();
    assert_eq!(loading.await.as_deref(), Ok("old"));
    assert_eq!(cache.get(&1).as_deref(), Some("new"));
}

#[tokio::test]
async fn what_is_put_in_while_an_older_value_is_loaded_stays() {
    let cache = cache(1 << 20);
    let (finish, finished) = tokio::sync::oneshot::channel();
    let mut loading = Box::pin(cache.get_or_load(&1, async {
        finished.await.unwrap();
        Ok::<Arc<str>, ()>("old".into())
    }));
    assert!(loading.as_mut().now_or_never().is_none());
    cache.insert(1, "new".into());
    finish.send(()).unwrap();
    assert_eq!(loading.await.as_deref(), Ok("old"));
    assert_eq!(cache.get(&1).as_deref(), Some("new"));
}

/// Otherwise a load that began before a removal would store an old value for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_load_outlives_a_removal_however_they_meet() {
    let (cache, current) = (cache(1 << 20), Arc::new(AtomicU32::new(0)));
    let reading = {
        let (cache, current) = (cache.clone(), current.clone());
        tokio::spawn(async move {
            while current.load(Ordering::SeqCst) < 20_000 {
                let load = async { Ok::<Arc<str>, ()>(current.load(Ordering::SeqCst).to_string().into()) };
                cache.get_or_load(&1, load).await.unwrap();
            }
        })
    };
    while current.fetch_add(1, Ordering::SeqCst) < 20_000 {
        let number = current.load(Ordering::SeqCst);
        cache.remove(&1);
        if let Some(kept) = cache.get(&1) {
            assert_eq!(*kept, *number.to_string(), "what was loaded before the removal is gone");
        }
    }
    reading.await.unwrap();
}

#[test]
fn what_is_larger_than_the_cache_is_not_kept() {
    let cache = cache(64 << 10);
    cache.insert(1, "small".into());
    cache.insert(2, "x".repeat(100 << 10).into());
    assert!(cache.get(&1).is_some() && cache.get(&2).is_none());
    assert_eq!(cache.get_or_insert_with(&3, || "y".repeat(100 << 10).into()).len(), 100 << 10);
    assert!(cache.get(&3).is_none());
}
