//! Jobs: their handlers, their schedules, and their metrics.

use std::sync::Arc;
use std::time::Duration;

use accounts::jobs::{ForgetUploadNames, LeaveAllRooms, UpdateMemberProfile};
use accounts::mail::{MailJob, SendMail};
use background::{
    ChunkObserver, ChunkRemoval, CleanUp, CollectStateChunks, CountStatistics, Counting, FindOldRelations,
    IndexMessages, JobState, MembershipJobs, MessageIndexing, PurgeForgottenRooms, RelationFinder, RemoveExpired,
    RemoveReadLog, RemoveUnseenDevices, RoomPurge, StateCompletion, UploadNames, WorkOutStates,
};
use config::{Config, Schedule};
use encryption::device_lists::{DeviceListResync, ResyncDeviceLists};
use homeserver_core::Clock;
use replication::receiving::{Receiving, RoomCompletion};
use rooms::jobs::{CompleteRoomState, InheritRoomSettings, RemoveGuests};
use storage::{Database, StorageError};
use tasks::queue::{Handlers, JobObserver, QueueOptions, RunEnd, Workers};
use telemetry::{JobReading, Metrics, StatisticsReading};

use super::{
    accounts::AccountsParts, federation::FederationParts, foundation::Foundation, media::MediaParts, rooms::RoomsParts,
};
use crate::StartError;

/// How often jobs are counted for the metrics.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// How often old entries of the written log are removed, which grows with every write.
const REMOVE_READ_LOG_EVERY: Duration = Duration::from_secs(1_800);

/// How often new messages are put into the index of full-text search. Until then they are looked through.
const INDEX_MESSAGES_EVERY: Duration = Duration::from_secs(60);

/// How this node does jobs.
pub(super) fn options(config: &Config) -> QueueOptions {
    let jobs = &config.jobs;
    QueueOptions {
        workers: Workers {
            urgent: jobs.urgent_workers as usize,
            normal: jobs.normal_workers as usize,
            background: jobs.background_workers as usize,
        },
        poll_interval: jobs.poll_interval.duration(),
        lease: jobs.lease.duration(),
        keep_finished: jobs.keep_finished.duration(),
        keep_given_up: jobs.keep_given_up.duration(),
        ..QueueOptions::default()
    }
}

/// Begins to run jobs, and to count them.
pub(super) async fn start(
    config: &Config,
    foundation: &Foundation,
    accounts: &AccountsParts,
    rooms: &RoomsParts,
    media: &MediaParts,
    (federation, receiving): (&FederationParts, &Arc<Receiving>),
) -> Result<(), StartError> {
    let Foundation { database, clock, interned, metrics, loops, jobs, .. } = foundation;
    let resync = DeviceListResync::new(database.clone(), interned.clone(), federation.client.clone());
    WorkOutStates::schedule_if_needed(database, clock.as_ref()).await?;
    FindOldRelations::schedule_if_needed(database, clock.as_ref()).await?;
    let handlers = handlers(config, foundation, accounts, rooms, media)
        .with::<CompleteRoomState>(RoomCompletion::new(receiving.clone()))
        .with::<ResyncDeviceLists>(resync);
    jobs.start(handlers, Arc::new(Observer(metrics.clone())), loops);
    let (database, clock, metrics) = (database.clone(), clock.clone(), metrics.clone());
    loops.spawn("job counts", move || {
        let (database, clock, metrics) = (database.clone(), clock.clone(), metrics.clone());
        async move {
            loop {
                if let Err(error) = count(&database, clock.as_ref(), &metrics).await {
                    tracing::debug!(%error, "jobs were not counted");
                }
                tokio::time::sleep(COUNT_EVERY).await;
            }
        }
    });
    Ok(())
}

/// One handler for each kind of job.
fn handlers(
    config: &Config,
    foundation: &Foundation,
    accounts: &AccountsParts,
    rooms: &RoomsParts,
    media: &MediaParts,
) -> Handlers {
    let Foundation { database, clock, interned, metrics, .. } = foundation;
    let (sessions, memberships) = (&accounts.components.sessions, &rooms.components.memberships);
    let media = &media.components.media;
    let jobs = &config.jobs;
    let unseen_for = jobs.remove_devices_unseen_for.map(config::Period::duration);
    let clean_up = CleanUp::new(database.clone(), clock.clone(), sessions.clone(), media.clone(), unseen_for);
    let of_memberships = MembershipJobs::new(interned.clone(), memberships.clone());
    let observer = Arc::new(Observer(metrics.clone()));
    let counting = Counting::new(database.clone(), clock.clone());
    let handlers = Handlers::default()
        .with::<UpdateMemberProfile>(of_memberships.clone())
        .with::<LeaveAllRooms>(of_memberships.clone())
        .with::<InheritRoomSettings>(of_memberships.clone())
        .with::<RemoveGuests>(of_memberships)
        .with::<ForgetUploadNames>(UploadNames::new(media.clone()))
        .with::<WorkOutStates>(StateCompletion::new(database.clone(), interned.clone()))
        .with::<FindOldRelations>(RelationFinder::new(database.clone()))
        .with_scheduled::<IndexMessages>(
            tasks::queue::Schedule::Every(INDEX_MESSAGES_EVERY),
            MessageIndexing::new(database.clone(), interned.clone()),
        )
        .with_scheduled::<RemoveExpired>(schedule(jobs.clean_up), clean_up.clone())
        .with_scheduled::<RemoveReadLog>(tasks::queue::Schedule::Every(REMOVE_READ_LOG_EVERY), clean_up.clone())
        .with_scheduled::<RemoveUnseenDevices>(schedule(jobs.clean_up), clean_up)
        .with_scheduled::<CollectStateChunks>(
            schedule(jobs.collect_state),
            ChunkRemoval::new(database.clone(), observer),
        )
        .with_scheduled::<PurgeForgottenRooms>(schedule(jobs.purge_rooms), RoomPurge::new(database.clone()))
        .with_scheduled::<CountStatistics>(schedule(jobs.statistics), counting);
    match &accounts.mails {
        Some(mails) => handlers.with::<MailJob>(SendMail::new(mails.clone())),
        None => handlers,
    }
}

fn schedule(schedule: Schedule) -> tasks::queue::Schedule {
    match schedule {
        Schedule::Every(interval) => tasks::queue::Schedule::Every(interval.duration()),
        Schedule::DailyAt { hour, minute } => tasks::queue::Schedule::DailyAt { hour, minute },
    }
}

async fn count(database: &Database, clock: &dyn Clock, metrics: &Metrics) -> Result<(), StorageError> {
    let counts = database.job_counts().await?;
    let waiting = counts.iter().filter(|count| count.state == JobState::Waiting).map(|count| count.earliest);
    let oldest_due = waiting.min().map(|due_at| clock.now().since(due_at)).unwrap_or_default();
    let readings = counts.into_iter().map(|count| JobReading {
        name: count.name,
        state: count.state.as_str(),
        count: count.count,
    });
    metrics.jobs().set_jobs(&readings.collect::<Vec<_>>(), oldest_due);
    if let Some(counted) = database.statistics(1).await?.pop() {
        metrics.jobs().set_statistics(&StatisticsReading {
            local_users: counted.local_users,
            daily_active_users: counted.daily_active_users,
            monthly_active_users: counted.monthly_active_users,
            rooms: counted.rooms,
            daily_messages: counted.daily_messages,
            daily_sent_messages: counted.daily_sent_messages,
        });
    }
    Ok(())
}

/// Counts jobs and removed state chunks in the metrics.
struct Observer(Arc<Metrics>);

impl JobObserver for Observer {
    fn run_ended(&self, name: &'static str, end: RunEnd, took: Duration) {
        self.0.jobs().run_ended(name, end.as_str(), took);
    }
}

impl ChunkObserver for Observer {
    fn chunks_removed(&self, chunks: u64, bytes: u64) {
        self.0.state_chunks_removed(chunks, bytes);
    }
}
