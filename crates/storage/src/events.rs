//! Reading events.

mod standing;

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use database::{Row, Value};
use homeserver_core::{DeviceSn, EventSn, KeySn, Position, RoomSn, TimelineOrder, Timestamp, TypeSn, UserSn};

use crate::unread::Unread;
use crate::{Database, Membership, StorageError, params};

pub use self::standing::Standing;

/// An event that another one has redacted.
#[derive(Clone, Debug)]
pub struct RedactedEvent {
    /// Its number.
    pub sn: EventSn,
    /// What clients see of it from now on.
    pub client_json: Bytes,
    /// Whose member event it is, if it is one.
    pub member: Option<UserSn>,
    /// What it was to members who had not read it; nothing if it was redacted before, `None` if that has to be read.
    pub unread: Option<Arc<Unread>>,
}

/// An event as the server keeps it for its clients.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Its number, and position in the log.
    pub sn: EventSn,
    /// Its place in the room's timeline.
    pub order: TimelineOrder,
    /// Whether events of the room that come before it were missing when it was stored.
    pub follows_gap: bool,
    /// Its event ID.
    pub event_id: Box<str>,
    /// Its room.
    pub room_sn: RoomSn,
    /// Its type.
    pub type_sn: TypeSn,
    /// Its state key; `None` if it is not a state event.
    pub state_key_sn: Option<KeySn>,
    /// Its sender.
    pub sender_sn: UserSn,
    /// When its sender's server says that it was sent.
    pub origin_server_ts: Timestamp,
    /// Its depth in the room's graph.
    pub depth: i64,
    /// How many events the room's main timeline has up to and including this one that usually notify.
    pub countable_total: i64,
    /// The canonical JSON that clients see, without `room_id` and `unsigned`.
    pub client_json: Bytes,
    /// The state event that this one replaced.
    pub replaces_sn: Option<EventSn>,
    /// The client JSON of the state event that this one replaced.
    pub replaced_json: Option<Bytes>,
    /// The event that redacted this one, as clients see it.
    pub redacted_because: Option<Bytes>,
    /// Which device sent it under which transaction ID. Known for events that were just sent; for others ask
    /// [`Database::transaction_ids`]. `None` if it was sent without a device.
    pub transaction: Option<(DeviceSn, Box<str>)>,
    /// Whose membership it changed, and into what. Known for events that were just sent.
    pub membership: Option<(UserSn, Membership)>,
    /// The event that it redacted. Known for events that were just sent.
    pub redacts: Option<RedactedEvent>,
    /// What it counts for users who have not read it. Known for events that were just sent.
    pub unread: Option<Arc<Unread>>,
    /// The event of its room before it in the log. Known for events that were just sent; `None` also for the first.
    pub previous_sn: Option<EventSn>,
    /// When, in the log, its sender asked for all content to be erased, if it was read after that.
    pub sender_erased_at: Option<Position>,
    /// The same of the sender of what it replaced or of what redacted it, the later one of both.
    pub unsigned_erased_at: Option<Position>,
}

impl StoredEvent {
    /// Whether it was fetched after later events of its room, so that its place in the timeline does not follow from its number.
    #[must_use]
    pub fn was_fetched(&self) -> bool {
        self.order != TimelineOrder::of(self.sn)
    }
}

/// The columns that [`read_event`] reads, from `events e`, `events p` (what `e` replaced), `events r` (what redacted `e`) and
/// `erased_users`. Mostly that is empty: this is asked once for the statement, and then no event is looked up there.
macro_rules! event_query {
    ($condition:expr) => {
        event_query!("", $condition)
    };
    ($more_columns:expr, $condition:expr) => {
        event_query!($more_columns, "events", $condition)
    };
    ($more_columns:expr, $from:expr, $condition:expr) => {
        concat!(
            "SELECT e.event_sn, e.event_id, e.room_sn, e.type_sn, e.state_key_sn, e.sender_sn, e.origin_server_ts, ",
            "e.depth, e.countable_total, e.client_json, p.client_json, r.client_json, e.replaces_sn, ",
            "CASE WHEN EXISTS (SELECT 1 FROM erased_users WHERE user_sn > 0) THEN (SELECT x.position ",
            "FROM erased_users x WHERE x.user_sn = e.sender_sn) END, ",
            "CASE WHEN EXISTS (SELECT 1 FROM erased_users WHERE user_sn > 0) AND (e.replaces_sn IS NOT NULL ",
            "OR e.redacted_by IS NOT NULL) THEN (SELECT MAX(x.position) ",
            "FROM erased_users x WHERE x.user_sn IN (p.sender_sn, r.sender_sn)) END, e.timeline_order, e.follows_gap",
            $more_columns,
            " FROM ",
            $from,
            " e LEFT JOIN events p ON p.event_sn = e.replaces_sn ",
            "LEFT JOIN events r ON r.event_sn = e.redacted_by ",
            $condition
        )
    };
}
pub(crate) use event_query;

/// The place of an event in its room's timeline, as the index `events_by_order` has it. Events that are only stored for checking
/// come before [`TimelineOrder::START`].
macro_rules! order_of {
    ($event:literal) => {
        concat!(
            "CASE WHEN ",
            $event,
            "standing = 4 THEN ",
            $event,
            "event_sn - 4611686018427387904 ELSE COALESCE(",
            $event,
            "timeline_order, ",
            $event,
            "event_sn * 1048576) END"
        )
    };
}
pub(crate) use order_of;

/// The same, with the transaction ID under which the device `$5` of the user `$6` sent the event. The zero keeps planners
/// from going through all that the device ever sent.
macro_rules! own_event_query {
    ($condition:expr) => {
        event_query!(
            ", (SELECT t.transaction_id FROM client_transactions t \
             WHERE e.sender_sn = $6 AND t.event_sn = e.event_sn AND t.sender + 0 = $5)",
            $condition
        )
    };
}

/// Reads the columns of [`event_query!`].
pub(crate) fn read_event(row: &Row<'_>) -> Result<StoredEvent, StorageError> {
    let sn: EventSn = row.get(0)?;
    Ok(StoredEvent {
        sn,
        order: row.get::<Option<TimelineOrder>>(15)?.unwrap_or(TimelineOrder::of(sn)),
        follows_gap: row.get(16)?,
        event_id: row.get(1)?,
        room_sn: row.get(2)?,
        type_sn: row.get(3)?,
        state_key_sn: row.get(4)?,
        sender_sn: row.get(5)?,
        origin_server_ts: row.get(6)?,
        depth: row.get(7)?,
        countable_total: row.get(8)?,
        client_json: row.get(9)?,
        replaced_json: row.get(10)?,
        redacted_because: row.get(11)?,
        replaces_sn: row.get(12)?,
        transaction: None,
        membership: None,
        redacts: None,
        unread: None,
        previous_sn: None,
        sender_erased_at: row.get(13)?,
        unsigned_erased_at: row.get(14)?,
    })
}

/// Whose view of a timeline is read: the device, and its user. What the device sent comes with its transaction IDs.
pub type TimelineReader = (DeviceSn, UserSn);

fn read_own_event(row: &Row<'_>, reader: Option<TimelineReader>) -> Result<StoredEvent, StorageError> {
    let mut event = read_event(row)?;
    if let (Some((device_sn, _)), Some(id)) = (reader, row.get::<Option<String>>(17)?) {
        event.transaction = Some((device_sn, id.into_boxed_str()));
    }
    Ok(event)
}

/// The two texts of an event.
#[derive(Clone, Debug)]
pub struct StoredPdu {
    /// Its number.
    pub sn: EventSn,
    /// Its place in the room's timeline; before [`TimelineOrder::START`] if it has none.
    pub order: TimelineOrder,
    /// Its event ID.
    pub event_id: Box<str>,
    /// Its room.
    pub room_sn: RoomSn,
    /// What clients see, without `room_id` and `unsigned`.
    pub client_json: Bytes,
    /// The other top-level keys of the PDU.
    pub federation_json: Bytes,
}

macro_rules! pdu_query {
    ($condition:literal) => {
        concat!(
            "SELECT e.event_sn, e.event_id, e.room_sn, e.client_json, e.federation_json, ",
            order_of!("e."),
            " FROM events e ",
            $condition
        )
    };
}

pub(crate) fn read_pdu(row: &Row<'_>) -> Result<StoredPdu, StorageError> {
    Ok(StoredPdu {
        sn: row.get(0)?,
        event_id: row.get(1)?,
        room_sn: row.get(2)?,
        client_json: row.get(3)?,
        federation_json: row.get(4)?,
        order: row.get(5)?,
    })
}

impl Database {
    /// The event of a timeline with this ID.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn event_by_id(&self, event_id: &str) -> Result<Option<StoredEvent>, StorageError> {
        let sql = event_query!("WHERE e.event_id = $1 AND e.standing IN (0, 5)");
        self.query_optional(sql, params![event_id], read_event).await
    }

    /// The events with these numbers, in the order of the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn events(&self, sns: &[i64]) -> Result<Vec<StoredEvent>, StorageError> {
        if sns.is_empty() {
            return Ok(Vec::new());
        }
        self.query(event_query!("WHERE e.event_sn IN LIST($1) ORDER BY e.event_sn"), params![sns], read_event).await
    }

    /// Up to `limit` events of a room's timeline at places after `after` and up to `until`, oldest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn timeline_forwards(
        &self,
        room_sn: RoomSn,
        after: TimelineOrder,
        until: TimelineOrder,
        limit: i64,
        reader: Option<TimelineReader>,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let sql = own_event_query!(concat!(
            "WHERE e.room_sn = $1 AND ",
            order_of!("e."),
            " > $2 AND ",
            order_of!("e."),
            " <= $3 AND e.standing IN (0, 5) ORDER BY e.room_sn, ",
            order_of!("e."),
            " LIMIT $4"
        ));
        let (device_sn, user_sn) = reader.unzip();
        self.query(sql, params![room_sn, after, until, limit, device_sn, user_sn], |row| read_own_event(row, reader))
            .await
    }

    /// Up to `limit` events of a room's timeline at places after `after` and up to `until`, newest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn timeline_backwards(
        &self,
        room_sn: RoomSn,
        after: TimelineOrder,
        until: TimelineOrder,
        limit: i64,
        reader: Option<TimelineReader>,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let sql = own_event_query!(concat!(
            "WHERE e.room_sn = $1 AND ",
            order_of!("e."),
            " > $2 AND ",
            order_of!("e."),
            " <= $3 AND e.standing IN (0, 5) ORDER BY e.room_sn DESC, ",
            order_of!("e."),
            " DESC LIMIT $4"
        ));
        let (device_sn, user_sn) = reader.unzip();
        self.query(sql, params![room_sn, after, until, limit, device_sn, user_sn], |row| read_own_event(row, reader))
            .await
    }

    /// The newest `limit` events that the server learned of after `after` and up to `until`, of each of many rooms at once,
    /// newest first within a room. Events that it fetched later are not among them.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn timelines_backwards(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let (after, until) = (TimelineOrder::end_of(after), TimelineOrder::end_of(until));
        if self.engine() == crate::Engine::Sqlite {
            let sql = event_query!(concat!(
                "WHERE e.room_sn = $1 AND ",
                order_of!("e."),
                " > $2 AND ",
                order_of!("e."),
                " <= $3 AND e.standing = 0 ORDER BY e.room_sn DESC, ",
                order_of!("e."),
                " DESC LIMIT $4"
            ));
            let rounds = rooms.iter().map(|room| [*room, after.0, until.0, limit].map(Value::from));
            return self.query_each(sql, rounds, read_event).await;
        }
        // Each event is looked up once, and put in order here: PostgreSQL would copy all of them to sort them.
        let sql = event_query!(
            "",
            concat!(
                "UNNEST($1) AS wanted (room_sn), LATERAL (SELECT * FROM events WHERE room_sn = wanted.room_sn AND ",
                order_of!(""),
                " > $2 AND ",
                order_of!(""),
                " <= $3 AND standing = 0 ORDER BY room_sn DESC, ",
                order_of!(""),
                " DESC LIMIT $4)"
            ),
            ""
        );
        let mut events = self.query(sql, params![rooms, after, until, limit], read_event).await?;
        events.sort_by_key(|event| (event.room_sn, Reverse(event.order)));
        Ok(events)
    }

    /// The whole of an event.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn stored_pdu(&self, sn: EventSn) -> Result<Option<StoredPdu>, StorageError> {
        self.query_optional(pdu_query!("WHERE e.event_sn = $1"), params![sn], read_pdu).await
    }

    /// The whole of an event of a timeline, by its ID.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn stored_pdu_by_id(&self, event_id: &str) -> Result<Option<StoredPdu>, StorageError> {
        let sql = pdu_query!("WHERE e.event_id = $1 AND e.standing IN (0, 5)");
        self.query_optional(sql, params![event_id], read_pdu).await
    }

    /// The whole of the event at one place in a room's current state, for the room's rules: they judge by what is known.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn state_pdu(
        &self,
        room_sn: RoomSn,
        type_sn: TypeSn,
        key_sn: KeySn,
    ) -> Result<Option<StoredPdu>, StorageError> {
        let sql = pdu_query!(
            "JOIN current_state s ON s.event_sn = e.event_sn WHERE s.room_sn = $1 AND s.type_sn = $2 AND s.key_sn = $3"
        );
        self.query_optional(sql, params![room_sn, type_sn, key_sn], read_pdu).await
    }
}
