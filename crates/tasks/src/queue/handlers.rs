//! Who does the work.

use std::pin::Pin;
use std::sync::Arc;

use super::job::{Job, JobError, Priority, payload};
use super::{Retry, Run, Schedule};

/// Does the work of one type of jobs.
pub trait Handle<J: Job>: Send + Sync + 'static {
    /// Does it. It may be done again, if it is not known that it was done.
    fn run(&self, job: J, run: &Run) -> impl Future<Output = Result<(), JobError>> + Send;
}

/// The handlers of jobs, one for each type.
#[derive(Default)]
pub struct Handlers {
    pub(super) job_types: Vec<Arc<JobType>>,
    pub(super) scheduled: Vec<Scheduled>,
}

impl Handlers {
    /// Has `handler` do the work of the jobs of type `J`.
    #[must_use]
    pub fn with<J: Job>(mut self, handler: impl Handle<J>) -> Self {
        let handler = Arc::new(handler);
        let begin: Begin = Box::new(move |payload, run| {
            let handler = handler.clone();
            Box::pin(async move {
                let job = serde_json::from_str::<J>(&payload);
                let job = job.map_err(|error| JobError::GiveUp(format!("the job cannot be read: {error}")))?;
                handler.run(job, &run).await
            })
        });
        self.job_types.push(Arc::new(JobType {
            name: J::NAME,
            priority: J::PRIORITY,
            retry: J::RETRY,
            is_interruptible: J::IS_INTERRUPTIBLE,
            begin,
        }));
        self
    }

    /// Adds the handler of jobs of type `J`, and schedules one by `schedule`.
    #[must_use]
    pub fn with_scheduled<J: Job + Default>(mut self, schedule: Schedule, handler: impl Handle<J>) -> Self {
        let job = J::default();
        // The default of a type with a serialiser of its own might not be serialisable; it is found out at every start.
        match payload(&job) {
            Ok(payload) => self.scheduled.push(Scheduled {
                name: J::NAME,
                priority: J::PRIORITY.code(),
                key: job.key().unwrap_or_default(),
                payload,
                schedule,
            }),
            Err(error) => tracing::error!(%error, "a job cannot be scheduled"),
        }
        self.with(handler)
    }
}

type Running = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;
type Begin = Box<dyn Fn(String, Arc<Run>) -> Running + Send + Sync>;

/// A type of jobs.
pub(super) struct JobType {
    pub(super) name: &'static str,
    pub(super) priority: Priority,
    pub(super) retry: Retry,
    pub(super) is_interruptible: bool,
    begin: Begin,
}

impl JobType {
    pub(super) fn begin(&self, payload: String, run: Arc<Run>) -> Running {
        (self.begin)(payload, run)
    }
}

/// A job that is there whenever its schedule says so.
#[derive(Clone)]
pub(super) struct Scheduled {
    pub(super) name: &'static str,
    pub(super) priority: i64,
    pub(super) key: String,
    pub(super) payload: String,
    pub(super) schedule: Schedule,
}
