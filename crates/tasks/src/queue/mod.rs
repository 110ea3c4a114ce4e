//! Jobs: work that is done though the process may be killed at any time.
//!
//! A [`Job`] is a small serialisable structure: what there is to do. It is scheduled inside of the transaction of the change
//! that causes it, so that there is a job if, and only if, there is the change. One of the nodes then takes it, and hands it
//! to the [`Handle`] for its type, which has what the work needs.
//!
//! ```
//! use homeserver_core::Timestamp;
//! use serde::{Deserialize, Serialize};
//! use storage::{Database, StorageError};
//! use tasks::queue::{Handle, Handlers, Job, JobError, Priority, Run};
//!
//! /// Somebody is to be greeted.
//! #[derive(Serialize, Deserialize)]
//! struct Greeting {
//!     name: String,
//! }
//!
//! impl Job for Greeting {
//!     const NAME: &str = "greeting";
//!     const PRIORITY: Priority = Priority::Urgent;
//!
//!     fn key(&self) -> Option<String> {
//!         Some(self.name.clone())
//!     }
//! }
//!
//! /// Greets.
//! struct Greeter {
//!     words: &'static str,
//! }
//!
//! impl Handle<Greeting> for Greeter {
//!     async fn run(&self, job: Greeting, run: &Run) -> Result<(), JobError> {
//!         run.progress(0, 1, "Looking for the door").await;
//!         if job.name.is_empty() {
//!             return Err(JobError::GiveUp("nobody has an empty name".to_owned()));
//!         }
//!         // An error of any other type has the job tried again later.
//!         std::fs::write("/dev/null", format!("{}, {}!", self.words, job.name))?;
//!         Ok(())
//!     }
//! }
//!
//! /// In the transaction of whatever makes somebody arrive.
//! async fn arrive(database: &Database, name: String, now: Timestamp) -> Result<(), StorageError> {
//!     let greeting = Greeting { name };
//!     database.write(async move |tx| greeting.schedule(tx, now).await.map(drop)).await
//! }
//!
//! /// Where the parts of the server are put together; the handlers are given to `JobQueue::start`.
//! fn handlers() -> Handlers {
//!     Handlers::default().with(Greeter { words: "Hello" })
//! }
//! ```
//!
//! # What a handler can rely on
//!
//! * A job is run **at least once**: it is run again if its node dies, or loses its lease, before it is known to be done. What a
//!   handler does must come out the same when it is done twice.
//! * Jobs of one type with the same [`key`](Job::key) never run at the same time, and at most one of them waits.
//! * A job that fails is tried again, later and later, until its [`Retry`] says that it is enough; then it is *given up*, which
//!   an administrator sees together with the reason.
//! * When the server stops, jobs have some time to end. Jobs that do not end, and
//!   [interruptible](Job::IS_INTERRUPTIBLE) ones, are dropped where they wait for something, and run again at the next start.
//!
//! # Leases
//!
//! The node that takes a job has a *lease* on it, and renews it while the job runs. A node that is killed renews nothing, so
//! another one takes the job when the lease has run out. A node that cannot renew its leases, because it does not reach the
//! database, drops what it is running before others take it.
//!
//! # Cost
//!
//! A node that schedules a job wakes its own workers at the commit. For what other nodes schedule they look once in a
//! while. They look by reading; the writer is used only when there is something to take.

mod dispatch;
mod ended;
mod handlers;
mod job;
mod jobs;
mod leases;
mod retry;
mod run;
mod schedule;
mod work;

pub use self::ended::RemoveEndedJobs;
pub use self::handlers::{Handle, Handlers};
pub use self::job::{Job, JobError, Priority};
pub use self::jobs::{JobObserver, JobQueue, QueueOptions, RunEnd, Workers, node_name};
pub use self::retry::Retry;
pub use self::run::Run;
pub use self::schedule::Schedule;
pub use storage::{JobId, JobState};
