//! The job that learns the rest of a room's state.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use rooms::jobs::CompleteRoomState;
use rooms::{RoomError, RoomIdentity, ToldStates};
use ruma::{OwnedEventId, OwnedServerName, ServerName};
use tasks::queue::{Handle, JobError, Run};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::Receiving;

/// How long all servers of one run may take to send the state.
const STATE_LIMIT: Duration = Duration::from_mins(10);
/// How long one of them may take.
const SERVER_LIMIT: Duration = Duration::from_mins(4);
/// So many rooms are completed at once: servers that drip their answers must not keep other jobs from running.
const ROOMS_AT_ONCE: usize = 2;
/// How long a job waits for others before it is put off.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// So many servers are asked one after the other.
const MAX_ASKED: usize = 50;
/// The most events before an entry whose states are asked for.
const MAX_MISSING: usize = 20;

/// What was told of the states before the events by which this server has entered a room.
type Told = HashMap<OwnedEventId, ToldStates>;

/// Learns the states of rooms that this server has joined without being told of all members.
pub struct RoomCompletion {
    receiving: Arc<Receiving>,
    rooms: Semaphore,
}

impl RoomCompletion {
    /// Fetches states as `receiving` does.
    #[must_use]
    pub fn new(receiving: Arc<Receiving>) -> Self {
        Self { receiving, rooms: Semaphore::new(ROOMS_AT_ONCE) }
    }

    /// Whether nothing is left to do.
    async fn complete(&self, job: &CompleteRoomState) -> Result<bool, RoomError> {
        let timeline = &self.receiving.parts.timeline;
        let deadline = Instant::now() + STATE_LIMIT;
        let room = match timeline.identity_of(&job.room_id).await {
            // The room was left and removed in the meantime.
            Err(RoomError::NoSuchRoom) => return Ok(true),
            room => room?,
        };
        let mut told = Told::new();
        if timeline.complete_state(&room, &told).await? {
            return Ok(true);
        }
        for server in self.servers(job, &room).await? {
            // Nobody tells it to a server that is not in the room any more. It is told again when a user joins.
            if !self.receiving.parts.database.is_in_room(room.room_sn).await? {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            if !self.ask(&server, &room, &mut told, deadline).await? {
                continue;
            }
            match timeline.complete_state(&room, &told).await {
                Ok(true) => return Ok(true),
                // The room was entered once more in the meantime.
                Ok(false) => {}
                Err(RoomError::Invalid(reason)) => {
                    tracing::warn!(%server, %reason, room_id = %room.room_id, "a server tells of a state that is none");
                    told.clear();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Those that the job names, then others that are in the room as far as is known.
    async fn servers(&self, job: &CompleteRoomState, room: &RoomIdentity) -> Result<Vec<OwnedServerName>, RoomError> {
        let mut servers = job.servers.clone();
        for server in self.receiving.parts.database.told_servers(room.room_sn).await? {
            let Ok(server) = ServerName::parse(server) else { continue };
            if servers.len() < MAX_ASKED && !servers.contains(&server) {
                servers.push(server);
            }
        }
        servers.truncate(MAX_ASKED);
        // In another order each time: there may be no time for all of them.
        servers.shuffle(&mut rand::rng());
        Ok(servers)
    }

    /// Asks a server for what is not told yet. Returns whether everything is.
    async fn ask(
        &self,
        server: &OwnedServerName,
        room: &RoomIdentity,
        told: &mut Told,
        deadline: Instant,
    ) -> Result<bool, RoomError> {
        let deadline = deadline.min(Instant::now() + SERVER_LIMIT);
        for entry in self.receiving.parts.timeline.partial_entries(room).await? {
            if entry.missing.is_empty() || told.contains_key(&entry.event_id) {
                continue;
            }
            let missing = entry.missing.get(..MAX_MISSING).unwrap_or(&entry.missing);
            let Some(states) = self.receiving.fetch_states_after(server, room, missing, (true, deadline)).await? else {
                return Ok(false);
            };
            told.insert(entry.event_id, states);
        }
        Ok(true)
    }
}

impl Handle<CompleteRoomState> for RoomCompletion {
    async fn run(&self, job: CompleteRoomState, _: &Run) -> Result<(), JobError> {
        let busy = || JobError::Retry("other rooms are being completed".to_owned());
        let _place = timeout(MAX_WAIT, self.rooms.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())?;
        match self.complete(&job).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(JobError::Retry("no server told the state of the room".to_owned())),
            Err(error) => Err(JobError::Retry(error.to_string())),
        }
    }
}
