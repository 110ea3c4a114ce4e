//! A room as old clients read it: its newest events, its state, and what the user keeps for it.

use std::sync::Arc;

use accounts::filters::RoomEventFilter;
use accounts::sessions::Requester;
use event_log::tokens::history_token;
use homeserver_core::TimelineOrder;
use ruma::{EventId, RoomId};

use super::RoomState;
use super::access::Access;
use super::history::{History, no_such_event};
use super::page::{Direction, bounded};
use super::writing::EventWriter;
use crate::RoomError;
use crate::wire::{push_string, write_list};

/// Reads rooms as old clients do.
pub struct RoomSnapshots {
    history: Arc<History>,
    room_state: Arc<RoomState>,
}

impl RoomSnapshots {
    /// Reads what these read.
    #[must_use]
    pub fn new(history: Arc<History>, room_state: Arc<RoomState>) -> Self {
        Self { history, room_state }
    }

    /// The newest events of a room, its state and the user's account data: the JSON of the answer. A room that everybody may read needs no
    /// membership.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync>
    ///
    /// # Errors
    /// [`RoomError::NotInRoom`] if the user may not read the room, [`RoomError::StillPartial`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn room(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        limit: Option<u64>,
    ) -> Result<Vec<u8>, RoomError> {
        let history = &*self.history;
        let access = Access::open(&history.database, &history.interned, &history.states, requester, room_id).await?;
        let filter = RoomEventFilter::default();
        let scan = history.scan(&access, &filter, bounded(limit)).await?;
        let mut events = scan.page(Direction::Backwards, TimelineOrder::END, TimelineOrder::START).await?.events;
        events.reverse();
        let state = self.room_state.all(requester, room_id).await?;
        let is_public = history.database.is_room_published(access.room_sn).await?;
        let account_data = history.database.account_data_of_room(requester.user_sn, Some(access.room_sn)).await?;
        let bundles = history.bundles(&access, &events).await?;
        let writer = EventWriter::new(&access, history.clock.now()).with_bundles(&bundles);

        let mut out = Vec::with_capacity(state.len() + events.len() * 1024 + 512);
        out.extend_from_slice(b"{\"room_id\":");
        push_string(&mut out, room_id.as_str());
        if let Some(membership) = access.visibility.current_membership() {
            out.extend_from_slice(b",\"membership\":");
            push_string(&mut out, membership.as_str());
        }
        out.extend_from_slice(b",\"visibility\":");
        push_string(&mut out, if is_public { "public" } else { "private" });
        out.extend_from_slice(b",\"messages\":{\"chunk\":");
        writer.timeline(&mut out, &events);
        if let Some(first) = events.first() {
            out.extend_from_slice(b",\"start\":");
            push_string(&mut out, &history_token(first.order.before()));
        }
        out.extend_from_slice(b",\"end\":");
        push_string(&mut out, &history_token(events.last().map_or(TimelineOrder::START, |last| last.order)));
        out.extend_from_slice(b"},\"state\":");
        out.extend_from_slice(&state);
        out.extend_from_slice(b",\"account_data\":");
        write_list(&mut out, &account_data, |out, entry| {
            out.extend_from_slice(b"{\"type\":");
            push_string(out, &entry.data_type);
            out.extend_from_slice(b",\"content\":");
            out.extend_from_slice(&entry.content);
            out.push(b'}');
        });
        out.push(b'}');
        Ok(out)
    }

    /// One event of any room: its JSON.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3eventseventid>
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if there is no such event, or the user may not read it.
    pub async fn event(&self, requester: &Requester, event_id: &EventId) -> Result<Vec<u8>, RoomError> {
        let event = self.history.database.event_by_id(event_id.as_str()).await?.ok_or_else(no_such_event)?;
        let room_id = self.history.interned.room_id(event.room_sn).await?;
        let room_id = RoomId::parse(&*room_id).map_err(|error| RoomError::Invalid(error.to_string()))?;
        self.history.event(requester, &room_id, event_id).await
    }
}
