//! What other servers are sent: which events, and how far each server is.
//!
//! Nothing is written for an event and a server. A server that has everything has no row; one that has not has one position.

use bytes::Bytes;
use homeserver_core::{EventSn, Position, RoomSn, TimelineOrder, UserSn};

use crate::events::order_of;
use crate::leases::Lease;
use crate::{Database, LogEntry, Row, StorageError, Tx, Value, params};

/// An event with all that is needed to send it.
#[derive(Clone, Debug)]
pub struct OutgoingEvent {
    /// Its number.
    pub sn: EventSn,
    /// Its event ID.
    pub event_id: Box<str>,
    /// Its room.
    pub room_sn: RoomSn,
    /// The room's ID.
    pub room_id: Box<str>,
    /// The room's version.
    pub room_version: Box<str>,
    /// The sender's user ID.
    pub sender: Box<str>,
    /// Whose member event it is, if it is one.
    pub member: Option<Box<str>>,
    /// What clients see, without `room_id` and `unsigned`.
    pub client_json: Bytes,
    /// The other top-level keys of the PDU.
    pub federation_json: Bytes,
}

/// An event that is to be sent, by the position at which that came about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Due {
    /// The position: that of the event, or later if it is passed on for another server.
    pub position: Position,
    /// The event.
    pub event_sn: EventSn,
    /// Its room.
    pub room_sn: RoomSn,
}

/// What the outbox has come to know, to be written down.
#[derive(Clone, Default, Debug)]
pub struct OutboxProgress {
    /// Up to where all servers have everything that are not behind.
    pub head: Option<Position>,
    /// Servers that are behind, and up to where they have everything.
    pub behind: Vec<(String, Position)>,
    /// Servers that have everything again.
    pub caught_up: Vec<String>,
    /// Overlooked servers that are known to be behind from now on, and since where they were overlooked.
    pub noticed: Vec<(String, Position)>,
}

fn read_due(row: &Row<'_>) -> Result<Due, StorageError> {
    Ok(Due { position: row.get(0)?, event_sn: row.get(1)?, room_sn: row.get(2)? })
}

/// A sender of this server, as a condition on `events e`, but not the events by which this server has entered rooms: those are passed on by
/// the server that let it in.
macro_rules! due_query {
    ($columns:literal, $condition:expr) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM events e WHERE e.standing = 0 AND e.follows_gap = FALSE AND EXISTS (SELECT 1 FROM accounts a WHERE a.user_sn = e.sender_sn) ",
            $condition
        )
    };
}

impl Database {
    /// The remote members of a room, with their user IDs.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn remote_members(&self, room_sn: RoomSn) -> Result<Vec<(UserSn, String)>, StorageError> {
        let sql = "SELECT m.user_sn, u.user_id FROM memberships m JOIN users u ON u.user_sn = m.user_sn \
                   WHERE m.room_sn = $1 AND m.membership = 1 AND m.is_local = FALSE";
        self.query(sql, params![room_sn], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// The rooms in which a server has or once had members.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn rooms_of_server(&self, server: &str) -> Result<Vec<RoomSn>, StorageError> {
        let sql = "SELECT r.room_sn FROM servers s JOIN room_servers r ON r.server_sn = s.server_sn \
                   WHERE s.server_name = $1 ORDER BY r.room_sn";
        self.query(sql, params![server], |row| row.get(0)).await
    }

    /// The position up to which all servers have everything that are not behind.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn outbox_head(&self) -> Result<Position, StorageError> {
        let head = self.query_optional("SELECT position FROM outbox_head", &[], |row| row.get(0)).await?;
        Ok(head.unwrap_or(Position::START))
    }

    /// The servers that are behind, and up to where they have everything.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn destinations_behind(&self) -> Result<Vec<(String, Position)>, StorageError> {
        let sql = "SELECT (SELECT s.server_name FROM servers s WHERE s.server_sn = d.server_sn), d.sent_up_to \
                   FROM destinations d";
        self.query(sql, &[], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// Writes down how far the outbox is, as the holder of its lease.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit, or the lease has been lost.
    pub async fn store_outbox_progress(&self, lease: Lease, mut progress: OutboxProgress) -> Result<(), StorageError> {
        progress.behind.sort_unstable();
        self.write(async move |tx| {
            tx.require_lease(&lease).await?;
            tx.store_outbox_progress(&progress).await
        })
        .await
    }

    /// The events of users of this server, and those that it passes on, after `after` and up to `until`: the first `limit`, in the
    /// order of the log.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn due_events(&self, after: Position, until: Position, limit: i64) -> Result<Vec<Due>, StorageError> {
        let own = due_query!(
            "e.event_sn, e.event_sn, e.room_sn",
            "AND e.event_sn > $1 AND e.event_sn <= $2 ORDER BY e.event_sn LIMIT $3"
        );
        let forwarded = "SELECT position, event_sn, room_sn FROM forwarded_events \
                         WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3";
        let own = self.query(own, params![after, until, limit], read_due).await?;
        let forwarded = self.query(forwarded, params![after, until, limit], read_due).await?;
        Ok(first_of(own, forwarded, limit))
    }

    /// As [`Database::due_events`], of these rooms.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn due_events_of_rooms(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
        limit: i64,
    ) -> Result<Vec<Due>, StorageError> {
        let own = due_query!(
            "e.event_sn, e.event_sn, e.room_sn",
            concat!(
                "AND e.room_sn IN LIST($1) AND ",
                order_of!("e."),
                " > $2 AND ",
                order_of!("e."),
                " <= $3 ORDER BY e.event_sn LIMIT $4"
            )
        );
        let forwarded = "SELECT position, event_sn, room_sn FROM forwarded_events \
                         WHERE room_sn IN LIST($1) AND position > $2 AND position <= $3 ORDER BY position LIMIT $4";
        let (first, last) = (TimelineOrder::end_of(after).0, TimelineOrder::end_of(until).0);
        let own = self.query(own, params![rooms, first, last, limit], read_due).await?;
        let forwarded = self.query(forwarded, params![rooms, after, until, limit], read_due).await?;
        Ok(first_of(own, forwarded, limit))
    }

    /// The newest event of a user of this server in each of these rooms, and the newest that it passes on, after `after` and up to
    /// `until`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn newest_due_events(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
    ) -> Result<Vec<Due>, StorageError> {
        let sql = due_query!(
            "MAX(e.event_sn), MAX(e.event_sn), e.room_sn",
            concat!(
                "AND e.room_sn IN LIST($1) AND ",
                order_of!("e."),
                " > $2 AND ",
                order_of!("e."),
                " <= $3 GROUP BY e.room_sn"
            )
        );
        let (first, last) = (TimelineOrder::end_of(after).0, TimelineOrder::end_of(until).0);
        let mut newest = self.query(sql, params![rooms, first, last], read_due).await?;
        let forwarded = "SELECT f.position, f.event_sn, f.room_sn FROM forwarded_events f JOIN \
                         (SELECT MAX(position) AS position FROM forwarded_events WHERE room_sn IN LIST($1) \
                         AND position > $2 AND position <= $3 GROUP BY room_sn) n ON n.position = f.position";
        newest.extend(self.query(forwarded, params![rooms, after, until], read_due).await?);
        newest.sort_unstable();
        Ok(newest)
    }

    /// Of these events, those that are member events of users of the server.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn member_events_of_server(&self, events: &[i64], server: &str) -> Result<Vec<EventSn>, StorageError> {
        let sql = "SELECT e.event_sn, k.state_key FROM events e JOIN event_types t ON t.type_sn = e.type_sn \
                   JOIN state_keys k ON k.key_sn = e.state_key_sn \
                   WHERE e.event_sn IN LIST($1) AND t.event_type = 'm.room.member'";
        let found: Vec<(EventSn, String)> =
            self.query(sql, params![events], |row| Ok((row.get(0)?, row.get(1)?))).await?;
        let is_of = |user_id: &str| user_id.split_once(':').is_some_and(|(_, name)| name == server);
        Ok(found.into_iter().filter(|(_, user_id)| is_of(user_id)).map(|(event_sn, _)| event_sn).collect())
    }

    /// These events with all that is needed to send them, in the order of the log. Those that have been removed are left out, and those that
    /// another server has sent for this one.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn outgoing_events(&self, events: &[i64]) -> Result<Vec<OutgoingEvent>, StorageError> {
        let sql = "SELECT e.event_sn, e.event_id, e.room_sn, r.room_id, h.room_version, u.user_id, e.client_json, \
                   e.federation_json, CASE WHEN t.event_type = 'm.room.member' THEN k.state_key END \
                   FROM events e JOIN rooms r ON r.room_sn = e.room_sn JOIN room_heads h ON h.room_sn = e.room_sn \
                   JOIN users u ON u.user_sn = e.sender_sn JOIN event_types t ON t.type_sn = e.type_sn \
                   LEFT JOIN state_keys k ON k.key_sn = e.state_key_sn \
                   WHERE e.event_sn IN LIST($1) \
                   AND NOT EXISTS (SELECT 1 FROM room_entries n \
                   WHERE n.room_sn = e.room_sn AND n.event_sn = e.event_sn) ORDER BY e.event_sn";
        let read = |row: &Row<'_>| {
            Ok(OutgoingEvent {
                sn: row.get(0)?,
                event_id: row.get(1)?,
                room_sn: row.get(2)?,
                room_id: row.get(3)?,
                room_version: row.get(4)?,
                sender: row.get(5)?,
                client_json: row.get(6)?,
                federation_json: row.get(7)?,
                member: row.get::<Option<String>>(8)?.map(String::into_boxed_str),
            })
        };
        self.query(sql, params![events], read).await
    }

    /// Has an event of a user of another server passed on to the other servers of its room: this one has let it in.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn forward_event(&self, room_sn: RoomSn, event_sn: EventSn) -> Result<(), StorageError> {
        let known = "SELECT 1 FROM forwarded_events WHERE event_sn = $1";
        let sql = "INSERT INTO forwarded_events (position, room_sn, event_sn) VALUES ($1, $2, $3)";
        self.write(async move |tx| {
            if tx.query_optional(known, params![event_sn], |_| Ok(())).await?.is_some() {
                return Ok(());
            }
            let position = tx.next_position().await?;
            tx.execute(sql, params![position, room_sn, event_sn]).await?;
            tx.publish(LogEntry::Forward { position, room_sn, event_sn });
            Ok(())
        })
        .await
    }
}

/// The first `limit` of both, in the order of the log.
fn first_of(mut own: Vec<Due>, forwarded: Vec<Due>, limit: i64) -> Vec<Due> {
    own.extend(forwarded);
    own.sort_unstable();
    own.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    own
}

impl Tx {
    async fn store_outbox_progress(&mut self, progress: &OutboxProgress) -> Result<(), StorageError> {
        let OutboxProgress { head, behind, caught_up, noticed } = progress;
        if let Some(head) = head {
            self.execute("UPDATE outbox_head SET position = $1 WHERE position < $1", params![*head]).await?;
        }
        if !behind.is_empty() {
            self.intern_servers(behind.iter().map(|(name, _)| name.as_str())).await?;
            let rows = behind.iter().map(|(name, position)| vec![name.as_str().into(), (*position).into()]);
            let rows: Vec<Vec<Value<'_>>> = rows.collect();
            let sql = "INSERT INTO destinations (server_sn, sent_up_to) SELECT s.server_sn, r.sent_up_to \
                       FROM ROWS(server_name, sent_up_to) r JOIN servers s ON s.server_name = r.server_name \
                       WHERE TRUE ON CONFLICT (server_sn) DO UPDATE SET sent_up_to = excluded.sent_up_to";
            self.execute_rows(sql, &rows).await?;
        }
        if !caught_up.is_empty() {
            let sql = "DELETE FROM destinations WHERE server_sn IN \
                       (SELECT server_sn FROM servers WHERE server_name IN LIST($1))";
            self.execute(sql, params![caught_up]).await?;
        }
        self.forget_overlooked(noticed).await
    }
}
