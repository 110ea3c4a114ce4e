//! Nodes with a job whose runs the tests decide on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use homeserver_core::{Clock, FixedClock, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{Database, DatabaseOptions, JobFilter, JobId, JobRecord, JobState};
use tasks::loops::Loops;
use tasks::queue::{
    Handle, Handlers, Job, JobError, JobObserver, JobQueue, QueueOptions, Retry, Run, RunEnd, Schedule, Workers,
};
use testing::TestDatabase;
use tokio::sync::Semaphore;

pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// How long a test waits for what must happen.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A job without a key unless it is given one.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Errand {
    pub(crate) what: u32,
    pub(crate) key: Option<String>,
}

impl Job for Errand {
    const NAME: &str = "errand";
    const RETRY: Retry = Retry {
        attempts: 4,
        max_age: Duration::from_secs(3600),
        first_pause: Duration::from_secs(10),
        longest_pause: Duration::from_secs(100),
    };

    fn key(&self) -> Option<String> {
        self.key.clone()
    }
}

pub(crate) fn errand(what: u32) -> Errand {
    Errand { what, key: None }
}

/// What the daily job says that it does.
pub(crate) const DAILY: u32 = 0;

/// What is done every day at three.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Daily {}

impl Job for Daily {
    const NAME: &str = "daily";
}

/// What the runs of all nodes have in common.
#[derive(Default)]
pub(crate) struct Runs {
    pub(crate) begun: Mutex<Vec<u32>>,
    pub(crate) failures: Mutex<VecDeque<JobError>>,
    pub(crate) ends: Mutex<Vec<RunEnd>>,
    pub(crate) at_once: AtomicU32,
    pub(crate) most_at_once: AtomicU32,
}

/// Counts a run for as long as it is not dropped.
struct Counted<'a>(&'a Runs);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Worker {
    runs: Arc<Runs>,
    gate: Arc<Semaphore>,
}

impl Worker {
    async fn work(&self, what: u32) -> Result<(), JobError> {
        self.runs.begun.lock().push(what);
        let at_once = self.runs.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        let _counted = Counted(&self.runs);
        self.runs.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        self.gate.acquire().await?.forget();
        let failure = self.runs.failures.lock().pop_front();
        failure.map_or(Ok(()), Err)
    }
}

impl Handle<Errand> for Worker {
    async fn run(&self, job: Errand, run: &Run) -> Result<(), JobError> {
        run.progress(1, 2, format!("Running errand {}", job.what)).await;
        self.work(job.what).await
    }
}

impl Handle<Daily> for Worker {
    async fn run(&self, _: Daily, _: &Run) -> Result<(), JobError> {
        self.work(DAILY).await
    }
}

impl JobObserver for Runs {
    fn run_ended(&self, name: &'static str, end: RunEnd, _: Duration) {
        if name != "remove_ended_jobs" {
            self.ends.lock().push(end);
        }
    }
}

/// A process on the database.
pub(crate) struct Node {
    pub(crate) database: Database,
    pub(crate) queue: Arc<JobQueue>,
    /// A run ends when it gets a permit.
    pub(crate) gate: Arc<Semaphore>,
    /// What runs it, so that it can die.
    runtime: Option<tokio::runtime::Runtime>,
}

pub(crate) struct World {
    url: String,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) runs: Arc<Runs>,
    nodes: AtomicU32,
}

impl World {
    pub(crate) fn new(db: &TestDatabase) -> Self {
        let clock = Arc::new(FixedClock::new(START));
        Self { url: db.url().to_owned(), clock, runs: Arc::default(), nodes: AtomicU32::new(0) }
    }

    pub(crate) async fn database(&self) -> Database {
        Database::open(&DatabaseOptions::new(&*self.url)).await.unwrap()
    }

    /// A node whose workers do not begin yet.
    pub(crate) async fn idle_node(&self) -> Node {
        let database = self.database().await;
        let number = self.nodes.fetch_add(1, Ordering::Relaxed);
        let options = QueueOptions {
            node: format!("node {number}"),
            workers: Workers { urgent: 2, normal: 4, background: 2 },
            poll_interval: Duration::from_millis(20),
            lease: LEASE,
            settle: Duration::from_secs(300),
            keep_finished: Duration::from_secs(24 * 3600),
            keep_given_up: Duration::from_secs(30 * 24 * 3600),
        };
        let clock: Arc<dyn Clock> = self.clock.clone();
        let queue = Arc::new(JobQueue::new(database.clone(), clock, options));
        Node { database, queue, gate: Arc::new(Semaphore::new(0)), runtime: None }
    }

    /// A node whose runs end only when the test lets them.
    pub(crate) async fn held_node(&self) -> Node {
        let node = self.idle_node().await;
        node.queue.start(self.handlers(&node), self.runs.clone(), &Loops::default());
        node
    }

    pub(crate) async fn node(&self) -> Node {
        let node = self.held_node().await;
        node.gate.add_permits(1_000_000);
        node
    }

    /// A node that can die at once, as by `kill -9`: whatever it is doing stays as it is.
    pub(crate) async fn mortal_node(&self) -> Node {
        let mut node = self.idle_node().await;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (queue, handlers, observer) = (node.queue.clone(), self.handlers(&node), self.runs.clone());
        runtime.spawn(async move { queue.start(handlers, observer, &Loops::default()) }).await.unwrap();
        node.runtime = Some(runtime);
        node
    }

    fn handlers(&self, node: &Node) -> Handlers {
        let worker = || Worker { runs: self.runs.clone(), gate: node.gate.clone() };
        let daily = Schedule::DailyAt { hour: 3, minute: 0 };
        Handlers::default().with::<Errand>(worker()).with_scheduled::<Daily>(daily, worker())
    }

    pub(crate) async fn schedule(&self, node: &Node, job: Errand) -> JobId {
        let now = self.clock.now();
        node.database.write(async move |tx| job.schedule(tx, now).await).await.unwrap()
    }

    pub(crate) fn begun(&self) -> Vec<u32> {
        self.runs.begun.lock().clone()
    }

    pub(crate) fn fail(&self, error: JobError) {
        self.runs.failures.lock().push_back(error);
    }
}

impl Node {
    /// Ends all that the node does; it reads no clock any more, and so renews nothing, when this returns.
    pub(crate) async fn die(&mut self) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(LONG)).await.unwrap();
    }

    pub(crate) async fn job(&self, job_id: JobId) -> JobRecord {
        self.database.job(job_id).await.unwrap().unwrap()
    }

    /// Waits until the job is in this state.
    pub(crate) async fn until(&self, job_id: JobId, state: JobState) -> JobRecord {
        let waiting = async {
            loop {
                let job = self.job(job_id).await;
                if job.state == state {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(LONG, waiting).await {
            Ok(job) => job,
            Err(_) => panic!("not {state:?}: {:?}", self.job(job_id).await),
        }
    }

    /// All jobs of this name.
    pub(crate) async fn jobs(&self, name: &str) -> Vec<JobRecord> {
        let filter = JobFilter { name: Some(name.to_owned()), ..JobFilter::default() };
        self.database.jobs(&filter, 1_000).await.unwrap()
    }
}

/// Waits until something is so.
pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap();
}
