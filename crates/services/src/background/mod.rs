//! What is done in the background, by jobs: the types of jobs, and who does their work.
//!
//! A job is scheduled in the transaction of what causes it, or by the clock. [`BackgroundJobs`] shows jobs to administrators.

mod clean_up;
mod erasure;
mod jobs;
mod memberships;
mod purging;
mod state_chunks;
mod states;
mod statistics;

use std::time::Duration;

pub use self::clean_up::{CleanUp, RemoveExpired, RemoveReadLog, RemoveUnseenDevices};
pub use self::erasure::{ForgetUploadNames, UploadNames};
pub use self::jobs::{BackgroundJobs, JobPage, JobsError};
pub use self::memberships::{InheritRoomSettings, LeaveAllRooms, MembershipJobs, RemoveGuests, UpdateMemberProfile};
pub use self::purging::{PurgeForgottenRooms, RoomPurge};
pub use self::state_chunks::{ChunkObserver, ChunkRemoval, CollectStateChunks};
pub use self::states::{StateCompletion, WorkOutStates};
pub use self::statistics::{CountStatistics, Counting, Statistics};
pub use storage::{JobFilter, JobId, JobRecord, JobState, ServerStatistics};
pub use tasks::queue::Priority;

/// How long a request waits for the job that it has caused, so that its client finds the outcome if there is little to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The pause after a step of work that nobody waits for, so that the writer is free for others.
const REST: Duration = Duration::from_millis(20);
