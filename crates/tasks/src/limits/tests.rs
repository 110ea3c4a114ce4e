use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinHandle;
use tokio::time::{advance, sleep};

use super::*;

#[derive(Default)]
struct Counts {
    entered: AtomicUsize,
    waited_ms: AtomicUsize,
    full: AtomicUsize,
    too_long: AtomicUsize,
}

impl LimitObserver for Counts {
    fn entered(&self, _: &'static str, waited: Duration) {
        self.entered.fetch_add(1, Ordering::Relaxed);
        self.waited_ms.fetch_add(usize::try_from(waited.as_millis()).unwrap(), Ordering::Relaxed);
    }

    fn refused(&self, _: &'static str, reason: Reason) {
        let counter = match reason {
            Reason::QueueFull => &self.full,
            Reason::WaitedTooLong => &self.too_long,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn size(running: usize, waiting: usize) -> LimitSize {
    LimitSize { running: NonZeroUsize::new(running).unwrap(), waiting, longest_wait: Duration::from_secs(10) }
}

fn limit(running: usize, waiting: usize) -> (Arc<Limit>, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    (Arc::new(Limit::new("test", size(running, waiting), counts.clone())), counts)
}

/// Somebody who waits, and has begun to.
async fn waiter(limit: &Arc<Limit>) -> JoinHandle<Result<Permit, Busy>> {
    let before = limit.waiting();
    let entering = tokio::spawn({
        let limit = limit.clone();
        async move { limit.enter().await }
    });
    while limit.waiting() == before {
        tokio::task::yield_now().await;
    }
    entering
}

#[tokio::test(start_paused = true)]
async fn so_many_run_and_the_next_one_waits_for_the_first_to_leave() {
    let (limit, counts) = limit(2, 5);
    let first = limit.enter().await.unwrap();
    let _second = limit.enter().await.unwrap();
    let third = waiter(&limit).await;
    assert_eq!((limit.running(), limit.waiting()), (2, 1));
    advance(Duration::from_millis(300)).await;
    drop(first);
    let _third = third.await.unwrap().unwrap();
    assert_eq!((limit.running(), limit.waiting()), (2, 0));
    assert_eq!(counts.entered.load(Ordering::Relaxed), 3);
    assert_eq!(counts.waited_ms.load(Ordering::Relaxed), 300);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let (limit, counts) = limit(1, 1);
    let _running = limit.enter().await.unwrap();
    let _waiting = waiter(&limit).await;
    let before = Instant::now();
    let busy = limit.enter().await.err().unwrap();
    assert_eq!((busy.limit, busy.reason, busy.retry_after), ("test", Reason::QueueFull, Duration::from_secs(5)));
    assert_eq!(Instant::now(), before);
    assert_eq!(counts.full.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_after_the_longest_wait() {
    let (limit, counts) = limit(1, 1);
    let _running = limit.enter().await.unwrap();
    let before = Instant::now();
    let busy = limit.enter().await.err().unwrap();
    assert_eq!(busy.reason, Reason::WaitedTooLong);
    let waited = before.elapsed();
    assert!((10_000..10_010).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!((limit.running(), limit.waiting()), (1, 0));
    assert_eq!(counts.too_long.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_leaves_the_queue() {
    let (limit, _) = limit(1, 1);
    let running = limit.enter().await.unwrap();
    let waiting = waiter(&limit).await;
    waiting.abort();
    assert!(waiting.await.is_err());
    assert_eq!(limit.waiting(), 0);
    drop(running);
    let _next = limit.enter().await.unwrap();
    assert_eq!(limit.running(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_larger_limit_lets_in_those_who_wait() {
    let (limit, _) = limit(1, 5);
    let _first = limit.enter().await.unwrap();
    let (second, third) = (waiter(&limit).await, waiter(&limit).await);
    limit.resize(size(3, 5));
    let (_second, _third) = (second.await.unwrap().unwrap(), third.await.unwrap().unwrap());
    assert_eq!((limit.running(), limit.waiting()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_smaller_limit_is_reached_as_those_who_are_in_leave() {
    let (limit, _) = limit(3, 5);
    let mut running = vec![limit.enter().await.unwrap(), limit.enter().await.unwrap(), limit.enter().await.unwrap()];
    limit.resize(size(1, 5));
    let waiting = waiter(&limit).await;
    running.pop();
    running.pop();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((limit.running(), limit.waiting()), (1, 1));
    running.pop();
    let last = waiting.await.unwrap().unwrap();
    assert_eq!((limit.running(), limit.semaphore.available_permits()), (1, 0));
    drop(last);
    assert_eq!((limit.running(), limit.semaphore.available_permits()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_shrinks_and_grows_again_is_what_it_was() {
    let (limit, _) = limit(4, 5);
    let running = [limit.enter().await.unwrap(), limit.enter().await.unwrap(), limit.enter().await.unwrap()];
    limit.resize(size(1, 5));
    limit.resize(size(4, 5));
    assert_eq!(limit.semaphore.available_permits(), 1);
    drop(running);
    assert_eq!(limit.semaphore.available_permits(), 4);
    limit.resize(size(2, 0));
    assert_eq!((limit.semaphore.available_permits(), limit.size().waiting), (2, 0));
}
