//! What every scenario is given: one target, and how to prepare, drive and measure it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::Mutex;

use crate::accounts::Registrar;
use crate::matrix::{Failure, Homeserver, Reply, User};
use crate::measurement::{Spent, Tally};
use crate::process::Processes;
use crate::progress::Progress;

/// Requests in flight while something is prepared; nothing of it is measured.
const PREPARE_CONCURRENCY: usize = 8;
/// The server counts as quiet when it uses less than this share of a core.
const QUIET_CORES: f64 = 0.1;
const QUIET_STEP: Duration = Duration::from_millis(200);
const QUIET_LIMIT_BEFORE: Duration = Duration::from_secs(10);
const QUIET_LIMIT_AFTER: Duration = Duration::from_secs(2);

/// One server and what is known about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: String,
    /// Further servers on the same database: those who wait in `fanout` are spread over all.
    pub(crate) nodes: Vec<String>,
    pub(crate) shared_secret: Option<String>,
    pub(crate) processes: Processes,
    pub(crate) data_paths: Vec<PathBuf>,
    pub(crate) disk_command: Option<String>,
    pub(crate) start_command: Option<String>,
    pub(crate) start_url: Option<String>,
}

/// How large and how long a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Factor on every count and duration.
    pub(crate) scale: f64,
    /// How long a measured part runs, before `scale`.
    pub(crate) duration: Duration,
}

impl Size {
    /// As large as the scenarios are meant to be.
    pub(crate) const FULL: Self = Self { scale: 1.0, duration: Duration::from_secs(10) };

    /// A count of this size, at least 1.
    pub(crate) fn count(self, full: usize) -> usize {
        let scaled = (full as f64 * self.scale).round().max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 1, and a float saturates"
        )]
        let count = scaled as usize;
        count
    }

    /// How long a measured part runs, at least half a second.
    pub(crate) fn duration(self) -> Duration {
        self.duration.mul_f64(self.scale).max(Duration::from_millis(500))
    }
}

/// A target during one run.
pub(crate) struct Context {
    pub(crate) target: Target,
    pub(crate) server: Homeserver,
    /// Further servers on the same database.
    nodes: Vec<Homeserver>,
    pub(crate) progress: Progress,
    pub(crate) size: Size,
    registrar: Registrar,
    /// Accounts that scenarios share because making one is slow; grows, never shrinks.
    crowd: Mutex<Vec<Arc<User>>>,
    next_account: AtomicUsize,
}

/// The start of a measured part.
pub(crate) struct Window {
    started: Instant,
    cpu: Option<Duration>,
}

impl Context {
    pub(crate) fn new(target: Target, size: Size) -> anyhow::Result<Self> {
        Ok(Self {
            server: Homeserver::new(&target.url)?,
            nodes: target.nodes.iter().map(|url| Homeserver::new(url)).collect::<Result<_, _>>()?,
            progress: Progress::new(&target.name),
            registrar: Registrar::new(target.shared_secret.clone()),
            crowd: Mutex::new(Vec::new()),
            next_account: AtomicUsize::new(0),
            target,
            size,
        })
    }

    /// The server at which a client is: they take turns.
    pub(crate) fn server_of(&self, client: usize) -> &Homeserver {
        let number = client % (self.nodes.len() + 1);
        number.checked_sub(1).and_then(|number| self.nodes.get(number)).unwrap_or(&self.server)
    }

    /// An account that no other scenario uses.
    pub(crate) async fn new_user(&self) -> anyhow::Result<Arc<User>> {
        let number = self.next_account.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(self.registrar.register(&self.server, number).await?))
    }

    /// The first `count` accounts of those that scenarios share.
    pub(crate) async fn users(&self, count: usize) -> anyhow::Result<Vec<Arc<User>>> {
        let mut crowd = self.crowd.lock().await;
        let missing = count.saturating_sub(crowd.len());
        if missing > 0 {
            let stage = format!("preparing {missing} accounts");
            crowd.extend(self.prepare(&stage, missing, async |_| self.new_user().await).await?);
        }
        Ok(crowd.iter().take(count).cloned().collect())
    }

    /// Makes a public room of `owner` that all of `members` have joined; its ID.
    pub(crate) async fn room_with(&self, owner: &User, members: &[Arc<User>]) -> anyhow::Result<String> {
        let room_id = self.server.new_public_room(owner).await?;
        let stage = format!("preparing a room of {} more members", members.len());
        self.prepare_one_by_one(&stage, members, async |member| {
            self.server.join(member, &room_id).await?;
            Ok(())
        })
        .await?;
        Ok(room_id)
    }

    /// Does `work` for `0..count`, several at once; the results come in order. Any failure ends it.
    pub(crate) async fn prepare<T>(
        &self,
        stage: &str,
        count: usize,
        work: impl AsyncFn(usize) -> anyhow::Result<T>,
    ) -> anyhow::Result<Vec<T>> {
        self.progress.stage(stage);
        let work = &work;
        let numbered = (0..count).map(|number| async move {
            let made = work(number).await;
            self.progress.tick();
            made
        });
        stream::iter(numbered).buffered(PREPARE_CONCURRENCY).try_collect().await
    }

    /// Does `work` for each item after the one before.
    pub(crate) async fn prepare_one_by_one<I>(
        &self,
        stage: &str,
        items: &[I],
        work: impl AsyncFn(&I) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.progress.stage(stage);
        for item in items {
            work(item).await?;
            self.progress.tick();
        }
        Ok(())
    }

    /// Lets each of `workers` repeat `work`, one operation after the other, for the duration of a measured
    /// part. `work` is given the worker and the number of its operation.
    pub(crate) async fn drive<W>(
        &self,
        stage: &str,
        workers: &[W],
        work: impl AsyncFn(&W, u64) -> Result<Reply, Failure>,
    ) -> anyhow::Result<(Tally, Spent)> {
        let window = self.open_window(stage).await?;
        let end = window.started + self.size.duration();
        let work = &work;
        let workers = workers.iter().map(|worker| async move {
            let mut tally = Tally::default();
            for round in 0.. {
                tally.record(&work(worker, round).await);
                self.progress.tick();
                if Instant::now() >= end {
                    break;
                }
            }
            tally
        });
        let tallies = futures::future::join_all(workers).await;
        let spent = self.close_window(window).await?;
        let mut sum = Tally::default();
        tallies.into_iter().for_each(|tally| sum.merge(tally));
        Ok((sum, spent))
    }

    /// Waits until the server has finished what was prepared, then starts the clocks.
    pub(crate) async fn open_window(&self, stage: &str) -> anyhow::Result<Window> {
        self.quiet(QUIET_LIMIT_BEFORE).await?;
        self.progress.stage(stage);
        Ok(Window { cpu: self.cpu_time()?, started: Instant::now() })
    }

    /// Stops the clock, then lets the server finish what it put off: that work is counted as well.
    pub(crate) async fn close_window(&self, window: Window) -> anyhow::Result<Spent> {
        let elapsed = window.started.elapsed();
        self.quiet(QUIET_LIMIT_AFTER).await?;
        self.spent(window, elapsed)
    }

    /// Stops both clocks at once, for a part in which the server is never quiet.
    pub(crate) fn cut_window(&self, window: Window) -> anyhow::Result<Spent> {
        let elapsed = window.started.elapsed();
        self.spent(window, elapsed)
    }

    fn spent(&self, window: Window, elapsed: Duration) -> anyhow::Result<Spent> {
        let cpu = match (self.cpu_time()?, window.cpu) {
            (Some(now), Some(before)) => Some(now.saturating_sub(before)),
            _ => None,
        };
        Ok(Spent { elapsed, cpu })
    }

    fn cpu_time(&self) -> anyhow::Result<Option<Duration>> {
        let processes = &self.target.processes;
        (!processes.is_empty()).then(|| processes.cpu_time()).transpose()
    }

    /// Waits until the server uses hardly any CPU time, at most `limit`.
    async fn quiet(&self, limit: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut before = self.cpu_time()?;
        loop {
            let step = Instant::now();
            tokio::time::sleep(QUIET_STEP).await;
            let now = self.cpu_time()?;
            let (Some(earlier), Some(later)) = (before, now) else {
                return Ok(());
            };
            let cores = later.saturating_sub(earlier).as_secs_f64() / step.elapsed().as_secs_f64();
            if cores < QUIET_CORES || started.elapsed() >= limit {
                return Ok(());
            }
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_durations_shrink_with_the_scale_but_not_to_nothing() {
        let small = Size { scale: 0.1, duration: Duration::from_secs(10) };
        assert_eq!(small.count(200), 20);
        assert_eq!(small.count(1), 1);
        assert_eq!(small.duration(), Duration::from_secs(1));
        let tiny = Size { scale: 0.001, duration: Duration::from_secs(10) };
        assert_eq!(tiny.count(32), 1);
        assert_eq!(tiny.duration(), Duration::from_millis(500));
    }
}
