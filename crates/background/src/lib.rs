//! The jobs that run in the background.
//!
//! A job is scheduled in the transaction that causes it, or by the clock. Jobs that follow from a change of an account or a room
//! are declared where they are scheduled (`accounts::jobs`, `rooms::jobs`). The other jobs, and the handlers of all, are here.
//! The `tasks` crate runs them. [`BackgroundJobs`] shows jobs to administrators. Begin reading with [`CleanUp`], a typical
//! handler: it works in small steps, with a rest between them.
//!
//! Only the current step is in memory.

mod clean_up;
mod erasure;
mod jobs;
mod memberships;
mod purging;
mod relations;
mod search;
mod state_chunks;
mod states;
mod statistics;

use std::time::Duration;

pub use self::clean_up::{CleanUp, RemoveExpired, RemoveReadLog, RemoveUnseenDevices};
pub use self::erasure::UploadNames;
pub use self::jobs::{BackgroundJobs, JobPage, JobsError};
pub use self::memberships::MembershipJobs;
pub use self::purging::{PurgeForgottenRooms, RoomPurge};
pub use self::relations::{FindOldRelations, RelationFinder};
pub use self::search::{IndexMessages, MessageIndexing};
pub use self::state_chunks::{ChunkObserver, ChunkRemoval, CollectStateChunks};
pub use self::states::{StateCompletion, WorkOutStates};
pub use self::statistics::{CountStatistics, Counting, Statistics};
pub use storage::{JobFilter, JobId, JobRecord, JobState, ServerStatistics};
pub use tasks::queue::Priority;

/// The pause after a step of a job, so that requests get the writer.
const REST: Duration = Duration::from_millis(20);
