//! The events around an event.

use accounts::filters::RoomEventFilter;
use accounts::sessions::Requester;
use event_log::tokens::history_token;
use homeserver_core::TimelineOrder;
use ruma::{EventId, RoomId};
use storage::{StateEntry, StoredEvent};

use super::access::Access;
use super::erasure::redact_erased_members;
use super::history::History;
use super::page::{Direction, Scan, bounded};
use super::writing::EventWriter;
use crate::RoomError;
use crate::wire::push_string;

/// A request for the events around an event.
#[derive(Clone, Debug)]
pub struct ContextRequest {
    /// The most events, before and after together.
    pub limit: Option<u64>,
    /// The filter on the events.
    pub filter: RoomEventFilter,
}

impl History {
    /// An event with the events before and after it, and the state after the last of them: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid>
    ///
    /// # Errors
    /// [`RoomError::NotInRoom`] if the user may not read the room, [`RoomError::NotFound`] if the user may not read the event or
    /// there is none, [`RoomError::StillPartial`] if only a part of the state is known and members are not loaded lazily.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn context(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        event_id: &EventId,
        request: &ContextRequest,
    ) -> Result<Vec<u8>, RoomError> {
        let access = Access::open(&self.database, &self.interned, &self.states, requester, room_id).await?;
        let event = self.visible_event(&access, event_id).await?;
        let limit = bounded(request.limit);
        let scan = self.scan(&access, &request.filter, limit / 2).await?;
        let before = scan.page(Direction::Backwards, event.order.before(), TimelineOrder::START).await?;
        let scan = Scan { limit: limit - limit / 2, ..scan };
        let after = scan.page(Direction::Forwards, event.order, TimelineOrder::END).await?;
        let (before, after) = (before.events, after.events);
        let start = before.last().unwrap_or(&event).order.before();
        let last = after.last().unwrap_or(&event);
        let shown = before.iter().chain(&after).chain([&event]);
        let state = self.state_for(&access, &request.filter, shown, last).await?;

        let bundles = self.bundles(&access, before.iter().chain(&after).chain([&event])).await?;
        let writer = EventWriter::new(&access, self.clock.now()).with_bundles(&bundles);
        let mut out = Vec::with_capacity((before.len() + after.len() + state.len()) * 1024 + 2048);
        out.extend_from_slice(b"{\"event\":");
        writer.event(&mut out, &event);
        out.extend_from_slice(b",\"events_before\":");
        writer.timeline(&mut out, &before);
        out.extend_from_slice(b",\"events_after\":");
        writer.timeline(&mut out, &after);
        out.extend_from_slice(b",\"state\":");
        writer.state(&mut out, &state);
        out.extend_from_slice(b",\"start\":");
        push_string(&mut out, &history_token(start));
        out.extend_from_slice(b",\"end\":");
        push_string(&mut out, &history_token(last.order));
        out.push(b'}');
        Ok(out)
    }

    /// The state after an event; with lazy loading, only the senders of the shown events among the members.
    async fn state_for<'e>(
        &self,
        access: &Access<'_>,
        filter: &RoomEventFilter,
        shown: impl IntoIterator<Item = &'e StoredEvent>,
        last: &StoredEvent,
    ) -> Result<Vec<StoredEvent>, RoomError> {
        if !filter.includes_room(access.room_id.as_str()) {
            return Ok(Vec::new());
        }
        let member_type = self.member_type().await?;
        let senders: Option<Vec<i64>> = match filter.lazy_load_members {
            true => Some(self.keys_of_senders(shown).await?.into_iter().collect()),
            false => None,
        };
        let at = last.sn.position();
        let mut state = match &senders {
            senders if last.was_fetched() => self.state_after_fetched(last, member_type, senders.as_deref()).await?,
            Some(senders) => {
                let entries = self.database.state_without_members_at(&access.state, member_type, at).await?;
                let mut state = self.database.events(&sns_of(&entries)).await?;
                state.extend(self.database.state_of_keys_at(&access.state, member_type, senders, at).await?);
                state
            }
            None => {
                let full = self.states.full(access.room_sn).await?;
                self.database.events(&sns_of(&self.database.state_at(&full, member_type, at).await?)).await?
            }
        };
        redact_erased_members(&self.database, &access.visibility, &mut state).await?;
        state.retain(|event| filter.includes_event(&event.client_json));
        Ok(state)
    }
}

fn sns_of(entries: &[StateEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.event_sn.0).collect()
}
