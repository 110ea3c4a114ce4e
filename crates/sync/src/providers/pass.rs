//! Who asks, what they want, and between which positions of the log.

use std::sync::Arc;

use accounts::filters::{EventFilter, FilterDefinition, RoomEventFilter};
use accounts::ignoring::Ignored;
use accounts::sessions::Requester;
use event_log::UserRooms;
use homeserver_core::Position;
use storage::{KnownState, Receipt, ReceiptType};

/// Events of a room's timeline where the filter does not say.
const DEFAULT_TIMELINE_LIMIT: usize = 10;
/// Most events of a room's timeline, whatever the filter says.
const MAX_TIMELINE_LIMIT: usize = 500;

/// What a client wants to be told.
#[derive(Clone, Debug)]
pub struct Wants {
    /// Which rooms, and of each kind of data which events.
    pub filter: Arc<FilterDefinition>,
    /// Whether the whole state of all rooms, also of those that the client knows.
    pub full_state: bool,
    /// Whether state is to be that at the end of a timeline, not at its start.
    pub state_after: bool,
}

impl Wants {
    /// Most events of a room's timeline.
    pub(crate) fn timeline_limit(&self) -> usize {
        let limit = self.timeline_filter().events.limit.and_then(|limit| usize::try_from(limit).ok());
        limit.unwrap_or(DEFAULT_TIMELINE_LIMIT).min(MAX_TIMELINE_LIMIT)
    }

    /// Only the members that a client needs to show a timeline.
    pub(crate) fn lazy_members(&self) -> bool {
        self.state_filter().lazy_load_members
    }

    /// With lazy loading: also members that the client was sent before.
    pub(crate) fn redundant_members(&self) -> bool {
        self.state_filter().include_redundant_members
    }

    /// Rooms that the user left before the first answer.
    pub(crate) fn left_rooms(&self) -> bool {
        self.filter.room.0.include_leave
    }

    /// Separate unread counts for each thread.
    pub(crate) fn unread_threads(&self) -> bool {
        self.timeline_filter().unread_thread_notifications
    }

    pub(crate) fn receipts(&self) -> bool {
        self.ephemeral("m.receipt")
    }

    pub(crate) fn typing(&self) -> bool {
        self.ephemeral("m.typing")
    }

    fn ephemeral(&self, event_type: &str) -> bool {
        let filter = &self.ephemeral_filter().events;
        filter.includes_type(event_type) && filter.limit != Some(0)
    }

    pub(crate) fn presence(&self) -> bool {
        let filter = self.presence_filter();
        filter.includes_type("m.presence") && filter.limit != Some(0)
    }

    pub(crate) fn includes_room(&self, room_id: &str) -> bool {
        self.filter.room.0.includes_room(room_id)
    }

    pub(crate) fn timeline_filter(&self) -> &RoomEventFilter {
        &self.filter.room.0.timeline.0
    }

    pub(crate) fn state_filter(&self) -> &RoomEventFilter {
        &self.filter.room.0.state.0
    }

    pub(crate) fn ephemeral_filter(&self) -> &RoomEventFilter {
        &self.filter.room.0.ephemeral.0
    }

    pub(crate) fn presence_filter(&self) -> &EventFilter {
        &self.filter.presence.0
    }

    pub(crate) fn account_data_filter(&self) -> &EventFilter {
        &self.filter.account_data.0
    }

    pub(crate) fn room_account_data_filter(&self) -> &EventFilter {
        &self.filter.room.0.account_data.0.events
    }
}

/// One pass over what changed in `(from, to]`.
#[derive(Clone)]
pub(crate) struct Pass<'a> {
    pub(crate) requester: &'a Requester,
    pub(crate) wants: &'a Wants,
    pub(crate) rooms: Arc<UserRooms>,
    /// The users whose messages and invitations the user does not want to see.
    pub(crate) ignored: Ignored,
    /// `None` if the client knows nothing yet.
    pub(crate) from: Option<Position>,
    pub(crate) to: Position,
}

impl Pass<'_> {
    /// The position after which things are new.
    pub(crate) fn after(&self) -> Position {
        self.from.unwrap_or(Position::START)
    }

    /// The same pass with an earlier end.
    pub(crate) fn until(&self, to: Position) -> Self {
        Self { to, ..self.clone() }
    }

    /// Whether the client can be shown a room with what is known of its state: all of it, unless it loads members lazily.
    pub(crate) fn can_show(&self, state: &KnownState) -> bool {
        self.wants.lazy_members() || state.was_full_at(self.to)
    }

    /// Whether the receipt is of interest: to be shown, or because it changes what is unread.
    pub(crate) fn is_shown(&self, receipt: &Receipt) -> bool {
        let is_own = receipt.user_sn == self.requester.user_sn;
        is_own || (receipt.receipt_type == ReceiptType::Read && self.wants.receipts())
    }
}
