//! The event closest to a time, wherever it is.

use accounts::asking::Asker;
use accounts::sessions::Requester;
use bytes::Bytes;
use homeserver_core::{RoomSn, Timestamp};
use rooms::RoomError;
use rooms::serving::{TimeDirection, answer_at_time, none_at_time};
use ruma::{OwnedServerName, RoomId};
use storage::Gap;
use tokio::time::Instant;

use super::{Backfill, Failure, TIME_FOR_ALL, TIME_FOR_ONE};
use crate::requests::ToldEvent;

/// The most gaps of a room that an event is looked for in.
const MAX_GAPS: i64 = 20;

impl Backfill {
    /// The event that was sent closest to a time, as far as this server or another one of the room knows: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>
    ///
    /// # Errors
    /// [`RoomError::NotInRoom`] if the user may not read the room, [`RoomError::NotFound`] if there is no event in the direction that
    /// the user may read.
    pub async fn event_at_time(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        time: Timestamp,
        direction: TimeDirection,
    ) -> Result<Vec<u8>, RoomError> {
        let history = &self.parts.history;
        let mut found = history.event_at_time(requester, room_id, time, direction).await?;
        if found.is_near_gap {
            let known = found.event.as_ref().map(|event| event.origin_server_ts);
            if Box::pin(self.fetch_at_time(requester, room_id, (time, direction), known)).await? {
                found = history.event_at_time(requester, room_id, time, direction).await?;
            }
        }
        found.event.as_ref().map(answer_at_time).ok_or_else(none_at_time)
    }

    /// Fetches an event that is closer to a time than what is known here, if another server has one.
    async fn fetch_at_time(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        wanted: (Timestamp, TimeDirection),
        known: Option<Timestamp>,
    ) -> Result<bool, RoomError> {
        let room_sn = self.parts.timeline.find(room_id).await?;
        let Some(gap) = self.parts.database.gaps(room_sn, 1).await?.pop() else { return Ok(false) };
        let Ok(_place) = self.parts.shares.take_place(Asker::User(requester)).await else { return Ok(false) };
        let _turn = self.filling.lock(room_id).await;
        let deadline = Instant::now() + TIME_FOR_ALL;
        for server in self.candidates(room_sn, &gap).await? {
            if Instant::now() >= deadline {
                break;
            }
            let deadline = deadline.min(Instant::now() + TIME_FOR_ONE);
            let told = match self.parts.requests.timestamp_to_event(&server, room_id, wanted, deadline).await {
                Ok(told) => told,
                Err(error) => {
                    tracing::debug!(%error, %room_id, %server, "a server did not tell of an event at a time");
                    continue;
                }
            };
            if !is_closer(&told, wanted, known) {
                continue;
            }
            match self.fetch_event(&server, room_id, room_sn, &told, deadline).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => tracing::info!(%error, %room_id, %server, "an event at a time could not be fetched"),
            }
        }
        Ok(false)
    }

    /// Stores an event in the gap that it belongs to.
    async fn fetch_event(
        &self,
        server: &OwnedServerName,
        room_id: &RoomId,
        room_sn: RoomSn,
        told: &ToldEvent,
        deadline: Instant,
    ) -> Result<bool, Failure> {
        let event = self.parts.requests.event(server, &told.event_id, deadline).await?;
        let event: Bytes = String::from(Box::<str>::from(event)).into();
        let Some(depth) = room_engine::member(&event, "depth").and_then(number) else { return Ok(false) };
        let Some(gap) = self.gap_above(room_sn, depth).await? else { return Ok(false) };
        Ok(self.store(server, room_id, (&gap, true), &[event], deadline).await? > 0)
    }

    /// The first gap whose end is deeper in the room's graph.
    async fn gap_above(&self, room_sn: RoomSn, depth: i64) -> Result<Option<Gap>, RoomError> {
        let mut found = None;
        for gap in self.parts.database.gaps(room_sn, MAX_GAPS).await? {
            let frontier: Vec<i64> = gap.frontier.iter().map(|sn| sn.0).collect();
            let ends = self.parts.database.events(&frontier).await?;
            if ends.iter().any(|end| end.depth > depth) {
                found = Some(gap);
            }
        }
        Ok(found)
    }
}

/// Whether an event is closer to a time than what is known, in the direction.
fn is_closer(told: &ToldEvent, (time, direction): (Timestamp, TimeDirection), known: Option<Timestamp>) -> bool {
    let sent_at = told.sent_at;
    match direction {
        TimeDirection::Forwards => sent_at >= time && known.is_none_or(|known| sent_at < known),
        TimeDirection::Backwards => sent_at <= time && known.is_none_or(|known| sent_at > known),
    }
}

fn number(json: &[u8]) -> Option<i64> {
    std::str::from_utf8(json).ok()?.parse().ok()
}
