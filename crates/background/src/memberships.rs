//! Jobs that change member events in many rooms.

use std::sync::Arc;

use accounts::jobs::{LeaveAllRooms, UpdateMemberProfile};
use homeserver_core::{RoomSn, UserSn};
use rooms::jobs::{InheritRoomSettings, RemoveGuests};
use rooms::{Memberships, ReportProgress, RoomError};
use ruma::{OwnedUserId, UserId};
use storage::{Interned, StorageError};
use tasks::queue::{Handle, JobError, Run};

/// Runs the jobs that change member events.
#[derive(Clone)]
pub struct MembershipJobs {
    interned: Arc<Interned>,
    memberships: Arc<Memberships>,
}

impl MembershipJobs {
    /// Jobs that change `memberships`.
    #[must_use]
    pub fn new(interned: Arc<Interned>, memberships: Arc<Memberships>) -> Self {
        Self { interned, memberships }
    }

    async fn user_id(&self, user_sn: UserSn) -> Result<OwnedUserId, JobError> {
        let user_id = self.interned.user_id(user_sn).await.map_err(JobError::from)?;
        UserId::parse(&*user_id).map_err(|error| JobError::GiveUp(format!("{user_id}: {error}")))
    }
}

/// Shows the progress of a job to administrators.
struct JobProgress<'a> {
    run: &'a Run,
    doing: &'static str,
    of: &'a str,
}

impl ReportProgress for JobProgress<'_> {
    async fn report(&self, done: usize, total: usize) {
        let Self { run, doing, of } = self;
        run.progress(done as u64, total as u64, format!("{doing} {of}")).await;
    }
}

impl Handle<UpdateMemberProfile> for MembershipJobs {
    async fn run(&self, job: UpdateMemberProfile, run: &Run) -> Result<(), JobError> {
        let user_sn = UserSn(job.user_sn);
        let user_id = &*self.user_id(user_sn).await?;
        let rooms = JobProgress { run, doing: "Telling rooms of the new profile of", of: user_id.as_str() };
        self.memberships.update_member_profile(user_sn, user_id, job.field.as_deref(), &rooms).await.map_err(of_rooms)
    }
}

impl Handle<LeaveAllRooms> for MembershipJobs {
    async fn run(&self, job: LeaveAllRooms, run: &Run) -> Result<(), JobError> {
        let user_sn = UserSn(job.user_sn);
        let user_id = &*self.user_id(user_sn).await?;
        let rooms = JobProgress { run, doing: "Leaving all rooms of", of: user_id.as_str() };
        self.memberships.leave_all(user_sn, user_id, &rooms).await.map_err(of_rooms)
    }
}

impl Handle<InheritRoomSettings> for MembershipJobs {
    async fn run(&self, job: InheritRoomSettings, run: &Run) -> Result<(), JobError> {
        let members = JobProgress { run, doing: "Copying room settings for members of", of: job.new_room_id.as_str() };
        self.memberships.inherit_all(&job.old_room_id, &job.new_room_id, &members).await.map_err(of_rooms)
    }
}

impl Handle<RemoveGuests> for MembershipJobs {
    async fn run(&self, job: RemoveGuests, run: &Run) -> Result<(), JobError> {
        let room_sn = RoomSn(job.room_sn);
        let room_id = self.interned.room_id(room_sn).await.map_err(JobError::from)?;
        let guests = JobProgress { run, doing: "Removing guests from", of: &room_id };
        self.memberships.remove_guests(room_sn, &guests).await.map_err(of_rooms)
    }
}

/// The database is closed when the server stops, so the job runs again.
fn of_rooms(error: RoomError) -> JobError {
    match error {
        RoomError::Storage(StorageError::Unavailable(reason)) => JobError::Retry(reason),
        error => error.into(),
    }
}
