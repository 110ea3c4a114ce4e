//! Work that may be lost with the process: a queue in memory that never grows beyond its capacity.
//!
//! ```
//! use tasks::bounded::{BoundedQueue, BoundedQueueOptions, WhenFull};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let options = BoundedQueueOptions { capacity: 100, workers: 2, when_full: WhenFull::Wait };
//! let queue = BoundedQueue::start(options, async |name: &'static str| println!("hello {name}"));
//! queue.push("world").await.unwrap();
//! queue.close().await;
//! assert_eq!(queue.counts().done, 1);
//! # }
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicU64, Ordering};

use futures::FutureExt as _;
use parking_lot::RwLock;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc};
use tokio_util::task::TaskTracker;

/// What becomes of an item for which there is no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenFull {
    /// The producer waits until there is room.
    Wait,
    /// It is dropped, and counted.
    Drop,
}

/// The limits of a queue.
#[derive(Clone, Copy, Debug)]
pub struct BoundedQueueOptions {
    /// How many items may wait; at least one.
    pub capacity: usize,
    /// How many items are worked on at the same time; at least one.
    pub workers: usize,
    /// What becomes of an item for which there is no room.
    pub when_full: WhenFull,
}

/// What a queue has done and has to do.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct QueueCounts {
    /// Items that wait.
    pub depth: usize,
    /// Items that were worked on, since the start.
    pub done: u64,
    /// Items that were dropped because there was no room, since the start.
    pub dropped: u64,
}

/// An item that the queue did not take, because it is full or closed.
#[derive(Debug)]
pub struct NotTaken<T>(pub T);

#[derive(Default)]
struct Counts {
    depth: AtomicIsize,
    done: AtomicU64,
    dropped: AtomicU64,
}

/// A queue in memory.
pub struct BoundedQueue<T> {
    sender: RwLock<Option<mpsc::Sender<T>>>,
    when_full: WhenFull,
    counts: Arc<Counts>,
    workers: TaskTracker,
}

impl<T: Send + 'static> BoundedQueue<T> {
    /// A queue whose items are given to `work`, one after the other by each worker.
    pub fn start<W, F>(options: BoundedQueueOptions, work: W) -> Self
    where
        W: Fn(T) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, items) = mpsc::channel(options.capacity.max(1));
        let (items, work, counts) = (Arc::new(Mutex::new(items)), Arc::new(work), Arc::new(Counts::default()));
        let workers = TaskTracker::new();
        for _ in 0..options.workers.max(1) {
            workers.spawn(serve(items.clone(), work.clone(), counts.clone()));
        }
        Self { sender: RwLock::new(Some(sender)), when_full: options.when_full, counts, workers }
    }

    /// Adds an item.
    ///
    /// # Errors
    /// [`NotTaken`] if there is no room and items without room are dropped, or the queue is closed.
    pub async fn push(&self, item: T) -> Result<(), NotTaken<T>> {
        if self.when_full == WhenFull::Drop {
            return self.push_at_once(item);
        }
        let Some(sender) = self.sender.read().clone() else { return Err(NotTaken(item)) };
        self.counted(sender.send(item).await.map_err(|refused| NotTaken(refused.0)))
    }

    /// Adds an item without waiting for room, also where others wait.
    ///
    /// # Errors
    /// [`NotTaken`] if there is no room, or the queue is closed.
    pub fn push_at_once(&self, item: T) -> Result<(), NotTaken<T>> {
        let Some(sender) = self.sender.read().clone() else { return Err(NotTaken(item)) };
        self.counted(sender.try_send(item).map_err(|refused| match refused {
            TrySendError::Full(item) => {
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                NotTaken(item)
            }
            TrySendError::Closed(item) => NotTaken(item),
        }))
    }

    /// Counts an item that was taken. A worker may have come upon it before, so that for a moment there is less than nothing.
    fn counted(&self, taken: Result<(), NotTaken<T>>) -> Result<(), NotTaken<T>> {
        if taken.is_ok() {
            self.counts.depth.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// What the queue has done and has to do.
    pub fn counts(&self) -> QueueCounts {
        QueueCounts {
            depth: usize::try_from(self.counts.depth.load(Ordering::Relaxed)).unwrap_or(0),
            done: self.counts.done.load(Ordering::Relaxed),
            dropped: self.counts.dropped.load(Ordering::Relaxed),
        }
    }

    /// Takes no more items, and waits until the queued ones are worked on.
    pub async fn close(&self) {
        self.sender.write().take();
        self.workers.close();
        self.workers.wait().await;
    }
}

async fn serve<T, W, F>(items: Arc<Mutex<mpsc::Receiver<T>>>, work: Arc<W>, counts: Arc<Counts>)
where
    W: Fn(T) -> F,
    F: Future<Output = ()>,
{
    loop {
        // The lock is held while waiting: the others wait for it instead of for an item.
        let Some(item) = items.lock().await.recv().await else { return };
        counts.depth.fetch_sub(1, Ordering::Relaxed);
        if AssertUnwindSafe(work(item)).catch_unwind().await.is_err() {
            tracing::error!("work on an item of a queue ended unexpectedly");
        }
        counts.done.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// A queue whose workers wait for a permit for each item.
    fn held_queue(when_full: WhenFull) -> (BoundedQueue<u32>, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let options = BoundedQueueOptions { capacity: 2, workers: 1, when_full };
        let queue = BoundedQueue::start(options, {
            let gate = gate.clone();
            move |item| {
                let gate = gate.clone();
                async move {
                    gate.acquire().await.unwrap().forget();
                    assert_ne!(item, 13, "this worker is superstitious");
                }
            }
        });
        (queue, gate)
    }

    async fn until(mut condition: impl FnMut() -> bool) {
        let waiting = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, waiting).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts_what_it_has_no_room_for() {
        let (queue, gate) = held_queue(WhenFull::Drop);
        queue.push(1).await.unwrap();
        until(|| queue.counts().depth == 0).await;
        queue.push(2).await.unwrap();
        queue.push(3).await.unwrap();
        assert_eq!(queue.push(4).await.unwrap_err().0, 4);
        assert_eq!(queue.push_at_once(4).unwrap_err().0, 4);
        assert_eq!(queue.counts(), QueueCounts { depth: 2, done: 0, dropped: 2 });
        gate.add_permits(3);
        queue.close().await;
        assert_eq!(queue.counts(), QueueCounts { depth: 0, done: 3, dropped: 2 });
        assert_eq!(queue.push(5).await.unwrap_err().0, 5);
    }

    #[tokio::test]
    async fn a_full_queue_holds_up_those_who_bring_more() {
        let (queue, gate) = held_queue(WhenFull::Wait);
        for item in 1..=3 {
            timeout(LONG, queue.push(item)).await.unwrap().unwrap();
            until(|| queue.counts().depth == item as usize - 1).await;
        }
        let mut fourth = Box::pin(queue.push(4));
        assert!(futures::poll!(&mut fourth).is_pending());
        assert_eq!(queue.push_at_once(5).unwrap_err().0, 5);
        {
            let mut gives_up = Box::pin(queue.push(6));
            assert!(futures::poll!(&mut gives_up).is_pending());
        }
        assert_eq!(queue.counts().depth, 2, "those who wait are not in the queue");
        gate.add_permits(1);
        timeout(LONG, fourth).await.unwrap().unwrap();
        gate.add_permits(3);
        queue.close().await;
        assert_eq!(queue.counts(), QueueCounts { depth: 0, done: 4, dropped: 1 });
    }

    #[tokio::test]
    async fn a_panic_over_one_item_leaves_the_others_alone() {
        let (queue, gate) = held_queue(WhenFull::Wait);
        gate.add_permits(2);
        queue.push(13).await.unwrap();
        queue.push(14).await.unwrap();
        queue.close().await;
        assert_eq!(queue.counts().done, 2);
    }
}
