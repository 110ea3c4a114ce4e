//! Reading a room's timeline.

use std::collections::HashSet;
use std::sync::Arc;

use accounts::filters::RoomEventFilter;
use accounts::ignoring::IgnoredUsers;
use accounts::sessions::Requester;
use event_log::LogTail;
use event_log::tokens::history_token;
use homeserver_core::{Clock, TimelineOrder, TypeSn, UserSn};
use ruma::{EventId, RoomId};
use storage::{Database, Gap, Interned, RoomStates, StorageError, StoredEvent};

use super::access::Access;
use super::erasure::{redact_erased, redact_erased_members};
use super::page::{Direction, Messages, MessagesRequest, Page, Scan, bounded};
use super::writing::{EventWriter, with_transaction_ids};
use crate::RoomError;
use crate::wire::push_string;

/// Reads the timelines of rooms.
pub struct History {
    pub(super) database: Database,
    pub(super) interned: Arc<Interned>,
    pub(super) states: Arc<RoomStates>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ignored_users: Arc<IgnoredUsers>,
    tail: Arc<LogTail>,
}

impl History {
    /// The timelines in `database`, up to the end of `tail`, without events of users whom the reader ignores.
    #[must_use]
    pub fn new(
        database: Database,
        interned: Arc<Interned>,
        states: Arc<RoomStates>,
        clock: Arc<dyn Clock>,
        ignored_users: Arc<IgnoredUsers>,
        tail: Arc<LogTail>,
    ) -> Self {
        Self { database, interned, states, clock, ignored_users, tail }
    }

    /// A page of a room's timeline. Read backwards, it ends where events are missing.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>
    ///
    /// # Errors
    /// [`RoomError::NotInRoom`] if the user may not read the room.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn messages(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        request: &MessagesRequest,
    ) -> Result<Messages, RoomError> {
        let access = Access::open(&self.database, &self.interned, &self.states, requester, room_id).await?;
        let from = match (request.from, request.direction) {
            (Some(from), _) => from,
            (None, Direction::Backwards) => TimelineOrder::end_of(self.tail.end()),
            (None, Direction::Forwards) => TimelineOrder::START,
        };
        let mut to = request.to.unwrap_or(match request.direction {
            Direction::Backwards => TimelineOrder::START,
            Direction::Forwards => TimelineOrder::END,
        });
        let limit = bounded(request.limit);
        let gap = self.gap_before(&access, request, from).await?.filter(|gap| gap.order > to);
        to = gap.as_ref().map_or(to, |gap| gap.order.before());
        let scan = self.scan(&access, &request.filter, limit).await?;
        let Page { events, next, is_whole } = scan.page(request.direction, from, to).await?;
        let gap = gap.filter(|_| is_whole && events.len() < limit);
        let next = gap.as_ref().map(|gap| gap.order.before()).or(next);
        let members = if request.filter.lazy_load_members {
            self.members_of_senders(&access, &events).await?
        } else {
            Vec::new()
        };

        let bundles = self.bundles(&access, &events).await?;
        let writer = EventWriter::new(&access, self.clock.now()).with_bundles(&bundles);
        let mut out = Vec::with_capacity(events.len() * 1024 + 256);
        out.extend_from_slice(b"{\"chunk\":");
        writer.timeline(&mut out, &events);
        if !members.is_empty() {
            out.extend_from_slice(b",\"state\":");
            writer.state(&mut out, &members);
        }
        out.extend_from_slice(b",\"start\":");
        push_string(&mut out, &history_token(from));
        if let Some(next) = next {
            out.extend_from_slice(b",\"end\":");
            push_string(&mut out, &history_token(next));
        }
        out.push(b'}');
        Ok(Messages { json: out, gap, is_empty: events.is_empty() })
    }

    /// The first gap on the way back from a place.
    async fn gap_before(
        &self,
        access: &Access<'_>,
        request: &MessagesRequest,
        from: TimelineOrder,
    ) -> Result<Option<Gap>, StorageError> {
        if request.direction == Direction::Forwards || request.crosses_gaps {
            return Ok(None);
        }
        // A page that ended at a gap goes on right before it.
        let next = TimelineOrder(from.0.saturating_add(1));
        self.database.last_gap(access.room_sn, next).await
    }

    /// One event: its JSON.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid>
    ///
    /// # Errors
    /// [`RoomError::NotFound`] if there is no such event in the room, or the user may not read it.
    pub async fn event(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Vec<u8>, RoomError> {
        let access = self.access_to_event(requester, room_id).await?;
        let event = self.visible_event(&access, event_id).await?;
        let mut out = Vec::with_capacity(event.client_json.len() + 256);
        let bundles = self.bundles(&access, [&event]).await?;
        EventWriter::new(&access, self.clock.now()).with_bundles(&bundles).event(&mut out, &event);
        Ok(out)
    }

    /// Opens the room for reading an event. A user who may not read the event does not learn that it exists.
    pub(super) async fn access_to_event<'a>(
        &self,
        requester: &'a Requester,
        room_id: &'a RoomId,
    ) -> Result<Access<'a>, RoomError> {
        let hidden = |error| match error {
            RoomError::NoSuchRoom | RoomError::NotInRoom => no_such_event(),
            error => error,
        };
        Access::open(&self.database, &self.interned, &self.states, requester, room_id).await.map_err(hidden)
    }

    /// A scan for up to `limit` events that pass the filter and that the reader may read.
    pub(super) async fn scan<'a>(
        &'a self,
        access: &'a Access<'a>,
        filter: &'a RoomEventFilter,
        limit: usize,
    ) -> Result<Scan<'a>, StorageError> {
        let ignored = self.ignored_users.of(access.requester).await?;
        Ok(Scan { database: &self.database, interned: &self.interned, access, ignored, filter, limit })
    }

    pub(super) async fn visible_event(
        &self,
        access: &Access<'_>,
        event_id: &EventId,
    ) -> Result<StoredEvent, RoomError> {
        let event = self.database.event_by_id(event_id.as_str()).await?;
        let ignored = self.ignored_users.of(access.requester).await?;
        let event = event.filter(|event| event.room_sn == access.room_sn && !ignored.hides(event));
        let mut event = event.ok_or_else(no_such_event)?;
        access.look_at(&self.database, &self.interned, std::slice::from_ref(&event)).await?;
        if !access.may_see(&event) {
            return Err(no_such_event());
        }
        redact_erased(&self.database, &access.visibility, std::slice::from_mut(&mut event)).await?;
        with_transaction_ids(&self.database, access.requester, std::slice::from_mut(&mut event)).await?;
        Ok(event)
    }

    /// The member events of the senders of `events`, as they were at the newest event.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members>
    pub(super) async fn members_of_senders(
        &self,
        access: &Access<'_>,
        events: &[StoredEvent],
    ) -> Result<Vec<StoredEvent>, RoomError> {
        let newest = events.iter().max_by_key(|event| event.order);
        let member_type = self.interned.find_type("m.room.member").await?;
        let (Some(newest), Some(member_type)) = (newest, member_type) else { return Ok(Vec::new()) };
        let keys = self.keys_of_senders(events).await?;
        let keys: Vec<i64> = keys.into_iter().collect();
        let mut members = if newest.was_fetched() {
            self.members_after_fetched(newest, member_type, &keys).await?
        } else {
            self.database.state_of_keys_at(&access.state, member_type, &keys, newest.sn.position()).await?
        };
        redact_erased_members(&self.database, &access.visibility, &mut members).await?;
        Ok(members)
    }

    /// The numbers of the senders' user IDs as state keys.
    pub(super) async fn keys_of_senders<'e>(
        &self,
        events: impl IntoIterator<Item = &'e StoredEvent>,
    ) -> Result<HashSet<i64>, StorageError> {
        let senders: HashSet<UserSn> = events.into_iter().map(|event| event.sender_sn).collect();
        let mut keys = HashSet::with_capacity(senders.len());
        for sender_sn in senders {
            let user_id = self.interned.user_id(sender_sn).await?;
            keys.extend(self.interned.find_key(&user_id).await?.map(|key| key.0));
        }
        Ok(keys)
    }

    pub(super) async fn member_type(&self) -> Result<TypeSn, StorageError> {
        Ok(self.interned.find_type("m.room.member").await?.unwrap_or(TypeSn(0)))
    }
}

pub(super) fn no_such_event() -> RoomError {
    RoomError::NotFound("There is no such event in this room, or you may not read it.".to_owned())
}
