//! The job that learns the rest of a room's state.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rooms::jobs::CompleteRoomState;
use rooms::{RoomError, RoomIdentity, ToldStates};
use ruma::{OwnedEventId, OwnedServerName, ServerName};
use tasks::queue::{Handle, JobError, Run};
use tokio::time::Instant;

use super::Receiving;

/// How long one server may take to send the state.
const STATE_LIMIT: Duration = Duration::from_mins(10);
/// So many servers are asked one after the other.
const MAX_ASKED: usize = 50;
/// The most events before an entry whose states are asked for.
const MAX_MISSING: usize = 20;

/// What was told of the states before the events by which this server has entered a room.
type Told = HashMap<OwnedEventId, ToldStates>;

/// Learns the states of rooms that this server has joined without being told of all members.
pub struct RoomCompletion(Arc<Receiving>);

impl RoomCompletion {
    /// Fetches states as `receiving` does.
    #[must_use]
    pub fn new(receiving: Arc<Receiving>) -> Self {
        Self(receiving)
    }

    /// Whether nothing is left to do.
    async fn complete(&self, job: &CompleteRoomState) -> Result<bool, RoomError> {
        let timeline = &self.0.parts.timeline;
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
            if !self.0.parts.database.is_in_room(room.room_sn).await? {
                return Ok(true);
            }
            if !self.ask(&server, &room, &mut told).await? {
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
        for server in self.0.parts.database.told_servers(room.room_sn).await? {
            let Ok(server) = ServerName::parse(server) else { continue };
            if servers.len() < MAX_ASKED && !servers.contains(&server) {
                servers.push(server);
            }
        }
        servers.truncate(MAX_ASKED);
        Ok(servers)
    }

    /// Asks a server for what is not told yet. Returns whether everything is.
    async fn ask(&self, server: &OwnedServerName, room: &RoomIdentity, told: &mut Told) -> Result<bool, RoomError> {
        for entry in self.0.parts.timeline.partial_entries(room).await? {
            if entry.missing.is_empty() || told.contains_key(&entry.event_id) {
                continue;
            }
            let deadline = Instant::now() + STATE_LIMIT;
            let missing = entry.missing.get(..MAX_MISSING).unwrap_or(&entry.missing);
            let Some(states) = self.0.fetch_states_after(server, room, missing, (true, deadline)).await? else {
                return Ok(false);
            };
            told.insert(entry.event_id, states);
        }
        Ok(true)
    }
}

impl Handle<CompleteRoomState> for RoomCompletion {
    async fn run(&self, job: CompleteRoomState, _: &Run) -> Result<(), JobError> {
        match self.complete(&job).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(JobError::Retry("no server told the state of the room".to_owned())),
            Err(error) => Err(JobError::Retry(error.to_string())),
        }
    }
}
