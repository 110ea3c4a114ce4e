use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::{Busy, LimitObserver, Reason};

/// A refused caller is told to retry after a part of the longest wait, within these bounds.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// The figures of a [`Limit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitSize {
    /// How many run at once.
    pub running: NonZeroUsize,
    /// How many more may wait.
    pub waiting: usize,
    /// How long each of these waits at most.
    pub longest_wait: Duration,
}

/// A limit on work of one kind. See the [module](super).
pub struct Limit {
    name: &'static str,
    semaphore: Arc<Semaphore>,
    places: Mutex<Places>,
    observer: Arc<dyn LimitObserver>,
}

impl fmt::Debug for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Limit").field("name", &self.name).finish_non_exhaustive()
    }
}

struct Places {
    size: LimitSize,
    /// Who is in.
    running: usize,
    /// Who waits.
    waiting: usize,
    /// Permits that are out and are not given back to the semaphore: the limit was made smaller while they were out.
    surplus: usize,
}

impl Limit {
    /// A limit of this size. `name` is its name in metrics.
    #[must_use]
    pub fn new(name: &'static str, size: LimitSize, observer: Arc<dyn LimitObserver>) -> Self {
        let places = Mutex::new(Places { size, running: 0, waiting: 0, surplus: 0 });
        Self { name, semaphore: Arc::new(Semaphore::new(permits(size))), places, observer }
    }

    /// Waits for a place to run in, and keeps it until the permit is dropped.
    ///
    /// # Errors
    /// [`Busy`] if too many wait already, or the wait was too long.
    pub async fn enter(self: &Arc<Self>) -> Result<Permit, Busy> {
        // A returned permit goes to the next in the queue, so this overtakes nobody.
        if let Ok(permit) = self.semaphore.clone().try_acquire_owned() {
            return Ok(self.admit(permit, Duration::ZERO));
        }
        let (waiting, longest_wait) = self.queue()?;
        let began = Instant::now();
        let entered = timeout(longest_wait, self.semaphore.clone().acquire_owned()).await;
        drop(waiting);
        match entered {
            Ok(Ok(permit)) => Ok(self.admit(permit, began.elapsed())),
            Ok(Err(_)) | Err(_) => Err(self.refuse(Reason::WaitedTooLong, longest_wait)),
        }
    }

    /// Changes the figures. Running and waiting work stays; a smaller limit is reached when running work ends.
    pub fn resize(&self, size: LimitSize) {
        let mut places = self.places.lock();
        let (old, new) = (permits(places.size), permits(size));
        places.size = size;
        if new > old {
            let kept = places.surplus.min(new - old);
            places.surplus -= kept;
            self.semaphore.add_permits(new - old - kept);
        } else {
            places.surplus += old - new - self.semaphore.forget_permits(old - new);
        }
    }

    /// The name of the limit.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What learns of what happens here.
    pub(super) fn observer(&self) -> Arc<dyn LimitObserver> {
        self.observer.clone()
    }

    /// The figures now.
    #[must_use]
    pub fn size(&self) -> LimitSize {
        self.places.lock().size
    }

    /// How many are in.
    #[must_use]
    pub fn running(&self) -> usize {
        self.places.lock().running
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.places.lock().waiting
    }

    fn admit(self: &Arc<Self>, permit: OwnedSemaphorePermit, waited: Duration) -> Permit {
        self.places.lock().running += 1;
        self.observer.entered(self.name, waited);
        Permit { limit: Arc::clone(self), permit: Some(permit) }
    }

    /// A place in the queue, and how long it can be kept.
    fn queue(&self) -> Result<(Waiting<'_>, Duration), Busy> {
        let mut places = self.places.lock();
        let longest_wait = places.size.longest_wait;
        if places.waiting >= places.size.waiting {
            drop(places);
            return Err(self.refuse(Reason::QueueFull, longest_wait));
        }
        places.waiting += 1;
        Ok((Waiting(self), longest_wait))
    }

    fn refuse(&self, reason: Reason, longest_wait: Duration) -> Busy {
        self.observer.refused(self.name, reason);
        let retry_after = (longest_wait / 2).clamp(SHORTEST_RETRY, LONGEST_RETRY);
        Busy { limit: self.name, reason, retry_after }
    }
}

fn permits(size: LimitSize) -> usize {
    size.running.get().min(Semaphore::MAX_PERMITS)
}

/// A place to run in. Dropping the permit frees it.
#[must_use = "the place is free again when the permit is dropped"]
pub struct Permit {
    limit: Arc<Limit>,
    /// Always there until the drop.
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Under the lock, so that a change of the size sees the permit either out or back.
        let mut places = self.limit.places.lock();
        places.running -= 1;
        let Some(permit) = self.permit.take() else { return };
        if places.surplus > 0 {
            places.surplus -= 1;
            permit.forget();
        } else {
            drop(permit);
        }
    }
}

/// A place in the queue. Dropping it frees the place, also when the caller stops waiting.
struct Waiting<'a>(&'a Limit);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.places.lock().waiting -= 1;
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
