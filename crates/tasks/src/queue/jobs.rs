//! The queue, as the composition root sees it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use homeserver_core::{Clock, random_string};
use parking_lot::Mutex;
use storage::{Database, JobId, JobState, StorageError};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dispatch::Abilities;
use super::ended::{RemoveEndedJobs, Remover};
use super::handlers::Handlers;
use super::job::Priority;
use super::leases::{self, Leases};
use super::schedule::Schedule;
use crate::loops::Loops;

/// How often ended jobs are removed.
const REMOVE_ENDED_EVERY: Duration = Duration::from_secs(3600);
/// How long writing down the outcome of the last jobs may take when the server stops.
const LAST_WRITES: Duration = Duration::from_secs(3);
/// How often the state of a job is looked at that another node may be doing.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How many jobs a node does at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    /// For jobs that a client waits for.
    pub urgent: usize,
    /// For jobs that should be done soon.
    pub normal: usize,
    /// For jobs without a hurry.
    pub background: usize,
}

/// How a node does jobs.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// What the node is called; no two that run at the same time have the same name. See [`node_name`].
    pub node: String,
    /// How many jobs it does at the same time.
    pub workers: Workers,
    /// How often it looks for what other nodes have scheduled.
    pub poll_interval: Duration,
    /// How long other nodes leave its jobs alone after it has last renewed them.
    pub lease: Duration,
    /// What should have been done while there was no node is done so long after the start.
    pub settle: Duration,
    /// How long finished and cancelled jobs are kept.
    pub keep_finished: Duration,
    /// How long jobs are kept that were given up.
    pub keep_given_up: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            node: node_name(),
            workers: Workers { urgent: 4, normal: 4, background: 1 },
            poll_interval: Duration::from_secs(10),
            lease: Duration::from_secs(60),
            settle: Duration::from_secs(300),
            keep_finished: Duration::from_secs(24 * 3600),
            keep_given_up: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RunEnd {
    /// The job is done.
    Finished,
    /// It failed and will be tried again.
    Retried,
    /// It failed and will not be tried again.
    GivenUp,
    /// The server stops; the job runs again at the next start.
    Interrupted,
    /// The lease ran out; another node has the job.
    Lost,
}

impl RunEnd {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Retried => "retried",
            Self::GivenUp => "given_up",
            Self::Interrupted => "interrupted",
            Self::Lost => "lost",
        }
    }
}

/// Hears of every run that ends; the metrics.
pub trait JobObserver: Send + Sync {
    /// A run of a job of this name has ended.
    fn run_ended(&self, name: &'static str, end: RunEnd, took: Duration);
}

/// A name for this process that no other has: the machine's, the process's number, and something random.
#[must_use]
pub fn node_name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = machine.trim();
    let machine = if machine.is_empty() { "node" } else { machine };
    format!("{machine}/{}/{}", std::process::id(), random_string(6))
}

/// The jobs of all nodes, and the workers of this one.
pub struct JobQueue {
    pub(super) database: Database,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: QueueOptions,
    pub(super) leases: Leases,
    pub(super) workers: HashMap<Priority, Arc<Semaphore>>,
    /// Rung when a worker is free again.
    pub(super) freed: Notify,
    /// Cancelled when no more jobs are begun.
    pub(super) stopping: CancellationToken,
    /// Cancelled when the jobs that still run are to be dropped.
    pub(super) dropping: CancellationToken,
    /// The dispatcher and the jobs that run.
    runs: TaskTracker,
    /// The renewal of leases.
    renewing: TaskTracker,
    waiting: Mutex<HashMap<JobId, Vec<oneshot::Sender<()>>>>,
}

impl JobQueue {
    /// The jobs in `database`. Nothing is done before [`JobQueue::start`].
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>, options: QueueOptions) -> Self {
        let Workers { urgent, normal, background } = options.workers;
        let of = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let workers = HashMap::from([
            (Priority::Urgent, of(urgent)),
            (Priority::Normal, of(normal)),
            (Priority::Background, of(background)),
        ]);
        Self {
            database,
            clock,
            options,
            leases: Leases::default(),
            workers,
            freed: Notify::new(),
            stopping: CancellationToken::new(),
            dropping: CancellationToken::new(),
            runs: TaskTracker::new(),
            renewing: TaskTracker::new(),
            waiting: Mutex::default(),
        }
    }

    /// Begins to do jobs, until [`JobQueue::stop`], in two of the server's `loops`. Jobs without a handler here are left to
    /// other nodes.
    pub fn start(self: &Arc<Self>, handlers: Handlers, observer: Arc<dyn JobObserver>, loops: &Loops) {
        let remover = Remover {
            database: self.database.clone(),
            clock: self.clock.clone(),
            keep_finished: self.options.keep_finished,
            keep_given_up: self.options.keep_given_up,
        };
        let every = Schedule::Every(REMOVE_ENDED_EVERY);
        let handlers = handlers.with_scheduled::<RemoveEndedJobs>(every, remover);
        let started_at = self.clock.now();
        let abilities = Arc::new(Abilities::new(handlers, observer));
        let (queue, dispatching) = (self.clone(), loops.clone());
        self.spawn(async move {
            let dispatch = || queue.clone().dispatch(abilities.clone(), started_at);
            dispatching.keep("job dispatch", &queue.stopping, dispatch).await;
        });
        let (queue, loops) = (self.clone(), loops.clone());
        self.renewing.spawn(async move {
            let renew = || {
                let (database, clock, options) = (queue.database.clone(), queue.clock.clone(), &queue.options);
                leases::renew(database, clock, options.node.clone(), options.lease, &queue.leases)
            };
            // Until the last run has ended, so also beyond the end of the dispatcher.
            let renewing = loops.keep("job leases", &queue.dropping, renew);
            queue.dropping.run_until_cancelled(renewing).await;
        });
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runs.spawn(task);
    }

    /// Waits until a job has ended, or will not end soon (as when the server stops), for at most `limit`. Returns its record; `None` if it
    /// is not known any more.
    ///
    /// # Errors
    /// [`StorageError`] if its state cannot be read.
    pub async fn settle(&self, job_id: JobId, limit: Duration) -> Result<Option<JobState>, StorageError> {
        let deadline = Instant::now() + limit;
        loop {
            let (bell, rung) = oneshot::channel();
            self.waiting.lock().entry(job_id).or_default().push(bell);
            let forget = Forget { queue: self, job_id };
            let Some(job) = self.database.job(job_id).await? else { return Ok(None) };
            let left = deadline.saturating_duration_since(Instant::now());
            let rests = job.state == JobState::Waiting && job.due_at.since(self.clock.now()) > left;
            if job.state.is_ended() || rests || left.is_zero() || self.dropping.is_cancelled() {
                return Ok(Some(job.state));
            }
            // It may be another node that ends it.
            let _ = tokio::time::timeout(left.min(LOOK_EVERY), rung).await;
            drop(forget);
        }
    }

    pub(super) fn tell_waiting(&self, job_id: JobId) {
        for bell in self.waiting.lock().remove(&job_id).into_iter().flatten() {
            // The waiting request may have gone.
            let _ = bell.send(());
        }
    }

    /// Begins no more jobs, gives running ones `grace` to end, and returns the others to the queue: they run again at the next
    /// start.
    pub async fn stop(&self, grace: Duration) {
        self.stopping.cancel();
        self.runs.close();
        if tokio::time::timeout(grace, self.runs.wait()).await.is_err() {
            tracing::info!("returning the jobs that still run");
        }
        self.dropping.cancel();
        self.renewing.close();
        let ended = async { tokio::join!(self.runs.wait(), self.renewing.wait()) };
        if tokio::time::timeout(LAST_WRITES, ended).await.is_err() {
            tracing::warn!("some jobs were not returned in time: they run again when their leases have run out");
        }
    }
}

/// Removes waiters that gave up.
struct Forget<'a> {
    queue: &'a JobQueue,
    job_id: JobId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting.lock();
        if let Some(bells) = waiting.get_mut(&self.job_id) {
            bells.retain(|bell| !bell.is_closed());
            if bells.is_empty() {
                waiting.remove(&self.job_id);
            }
        }
    }
}
