//! Loops that run for as long as the server does. One that ends is started again, and the health check shows it.
//!
//! Without this, a loop would die silently with its first panic, and its work would stop until somebody restarts the server.
//!
//! ```
//! use tasks::loops::Loops;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let loops = Loops::default();
//! loops.spawn("counting", async || loop {
//!     tokio::time::sleep(std::time::Duration::from_secs(15)).await;
//! });
//! assert!(loops.failing().is_empty());
//! # }
//! ```

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The pause before a loop is started again; it doubles each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A loop that has run for so long since it was started again works.
const STEADY: Duration = Duration::from_secs(10);

/// The loops of one server. Clones share them.
#[derive(Clone, Default)]
pub struct Loops {
    stopping: CancellationToken,
    failing: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Loops {
    /// Loops that run until `stopping` is cancelled.
    #[must_use]
    pub fn until(stopping: CancellationToken) -> Self {
        Self { stopping, failing: Arc::default() }
    }

    /// Runs a loop in the background until the server stops.
    pub fn spawn<F>(&self, name: &'static str, run: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let loops = self.clone();
        tokio::spawn(async move {
            let stopping = loops.stopping.clone();
            stopping.run_until_cancelled(loops.keep(name, &stopping, run)).await
        });
    }

    /// Runs a loop, and runs it again when it ends while `until` is not cancelled: at once at first, after a pause when it ends again
    /// soon.
    pub async fn keep<F>(&self, name: &'static str, until: &CancellationToken, run: impl Fn() -> F)
    where
        F: Future<Output = ()>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let ended = self.run_once(name, run()).await;
            if until.is_cancelled() {
                self.failing.lock().remove(name);
                return;
            }
            if began.elapsed() >= STEADY {
                pause = FIRST_PAUSE;
            }
            self.failing.lock().insert(name);
            let reason = ended.err().unwrap_or_else(|| "it ended".to_owned());
            tracing::error!(name, reason, "a loop in the background has ended; it runs again in {pause:?}");
            if until.run_until_cancelled(sleep(pause)).await.is_none() {
                self.failing.lock().remove(name);
                return;
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    async fn run_once(&self, name: &'static str, run: impl Future<Output = ()>) -> Result<(), String> {
        let mut running = std::pin::pin!(AssertUnwindSafe(run).catch_unwind());
        let ended = tokio::select! {
            biased;
            ended = running.as_mut() => ended,
            () = sleep(STEADY) => {
                self.failing.lock().remove(name);
                running.await
            }
        };
        ended.map_err(|panic| words(&*panic))
    }

    /// The loops that do not run, or have not run for long since they ended.
    #[must_use]
    pub fn failing(&self) -> Vec<&'static str> {
        self.failing.lock().iter().copied().collect()
    }

    /// Is cancelled when the server stops.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A loop whose first `panics` runs end with a panic, and how often it was begun.
    fn start(loops: &Loops, panics: u32) -> Arc<AtomicU32> {
        let begun = Arc::new(AtomicU32::new(0));
        let counter = begun.clone();
        loops.spawn("test", move || {
            let run = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(run >= panics, "run {run} is to fail");
                std::future::pending::<()>().await;
            }
        });
        begun
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_runs_again_and_is_failing_until_it_has_run_for_a_while() {
        let loops = Loops::default();
        let begun = start(&loops, 1);
        sleep(SECOND / 2).await;
        assert_eq!((begun.load(Ordering::SeqCst), loops.failing()), (1, vec!["test"]));
        sleep(SECOND).await;
        assert_eq!((begun.load(Ordering::SeqCst), loops.failing()), (2, vec!["test"]));
        sleep(STEADY).await;
        assert_eq!((begun.load(Ordering::SeqCst), loops.failing()), (2, vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_works_is_tried_ever_more_rarely() {
        let loops = Loops::default();
        let begun = start(&loops, u32::MAX);
        sleep(Duration::from_mins(30)).await;
        let tries = begun.load(Ordering::SeqCst);
        assert!((30..=40).contains(&tries), "{tries}");
        assert_eq!(loops.failing(), ["test"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_ends_without_a_panic_runs_again_too() {
        let loops = Loops::default();
        let begun = Arc::new(AtomicU32::new(0));
        let counter = begun.clone();
        loops.spawn("test", move || {
            counter.fetch_add(1, Ordering::SeqCst);
            std::future::ready(())
        });
        sleep(4 * SECOND).await;
        assert_eq!(begun.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_runs_again_when_the_server_stops() {
        let stopping = CancellationToken::new();
        let loops = Loops::until(stopping.clone());
        let begun = start(&loops, 5);
        sleep(SECOND / 2).await;
        stopping.cancel();
        sleep(Duration::from_mins(5)).await;
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }
}
