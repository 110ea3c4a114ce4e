//! The job that learns the rest of a room's state.

use std::sync::Arc;
use std::time::Duration;

use rooms::RoomError;
use rooms::jobs::CompleteRoomState;
use tasks::queue::{Handle, JobError, Run};
use tokio::time::Instant;

use super::Receiving;

/// How long one server may take to send the state.
const STATE_LIMIT: Duration = Duration::from_mins(10);

/// Learns the states of rooms that this server has joined without being told of all members.
pub struct RoomCompletion(Arc<Receiving>);

impl RoomCompletion {
    /// Fetches states as `receiving` does.
    #[must_use]
    pub fn new(receiving: Arc<Receiving>) -> Self {
        Self(receiving)
    }

    /// Whether a server told the state.
    async fn complete(&self, job: &CompleteRoomState) -> Result<bool, RoomError> {
        let parts = &self.0.parts;
        let room = match parts.timeline.identity_of(&job.room_id).await {
            // The room was left and removed in the meantime.
            Err(RoomError::NoSuchRoom) => return Ok(true),
            room => room?,
        };
        if !parts.database.is_in_room(room.room_sn).await? {
            // Nobody tells it to a server that is not in the room any more. It is told again when a user joins.
            return Ok(true);
        }
        for server in &job.servers {
            let deadline = Instant::now() + STATE_LIMIT;
            let Some(state) = self.0.fetch_state(server, &room, &job.entered_by, deadline).await? else { continue };
            parts.timeline.complete_state(&room, &job.entered_by, &state).await?;
            return Ok(true);
        }
        Ok(false)
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
