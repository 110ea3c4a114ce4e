//! Rooms that this server has entered without being told of all members: by which events, and which servers are in them.

use std::collections::BTreeSet;

use homeserver_core::{EventSn, Position, RoomSn};

use crate::{Database, StorageError, Tx, Value, params};

/// Servers that are, or were, in the room while this server took it for certain that they are not. What they have missed begins after the
/// event by which this server entered the room.
const OVERLOOK: &str = "INSERT INTO overlooked_servers (server_sn, position) SELECT r.server_sn, \
                        (SELECT MIN(e.event_sn) FROM partial_entries e WHERE e.room_sn = $1) FROM room_servers r \
                        WHERE r.room_sn = $1 AND EXISTS (SELECT 1 FROM partial_entries p WHERE p.room_sn = $1) \
                        AND NOT EXISTS (SELECT 1 FROM told_room_servers t \
                        WHERE t.server_sn = r.server_sn AND t.room_sn = r.room_sn) \
                        ON CONFLICT (server_sn) DO UPDATE SET position = CASE \
                        WHEN excluded.position < overlooked_servers.position THEN excluded.position \
                        ELSE overlooked_servers.position END";

impl Tx {
    /// A room is entered by an event that another server has sent to all others.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn note_entry(&mut self, room_sn: RoomSn, event_sn: EventSn, depth: i64) -> Result<(), StorageError> {
        let sql = "INSERT INTO room_entries (room_sn, event_sn, depth) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        self.execute(sql, params![room_sn, event_sn, depth]).await.map(drop)
    }

    /// A room is entered by an event, and only a part of the state before it is known. Until all of it is, `servers` count as in the room.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn note_partial_entry(
        &mut self,
        room_sn: RoomSn,
        event_sn: EventSn,
        servers: &[String],
    ) -> Result<(), StorageError> {
        let names: BTreeSet<&str> = servers.iter().map(String::as_str).collect();
        self.intern_servers(names.into_iter()).await?;
        for sql in [
            "INSERT INTO told_room_servers (server_sn, room_sn) SELECT server_sn, $2 FROM servers \
             WHERE server_name IN LIST($1) ON CONFLICT DO NOTHING",
            "INSERT INTO room_servers (server_sn, room_sn) SELECT server_sn, $2 FROM servers \
             WHERE server_name IN LIST($1) ON CONFLICT DO NOTHING",
        ] {
            self.execute(sql, params![servers, room_sn]).await?;
        }
        let sql = "INSERT INTO partial_entries (room_sn, event_sn) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.execute(sql, params![room_sn, event_sn]).await?;
        self.mark_state_partial(room_sn).await
    }

    /// All of a room's state is known.
    pub(crate) async fn end_partial_entries(&mut self, room_sn: RoomSn) -> Result<(), StorageError> {
        for sql in [
            OVERLOOK,
            "DELETE FROM told_room_servers WHERE room_sn = $1",
            "DELETE FROM partial_entries WHERE room_sn = $1",
        ] {
            self.execute(sql, params![room_sn]).await?;
        }
        Ok(())
    }

    /// It is written down elsewhere that these servers are behind, and since where.
    pub(crate) async fn forget_overlooked(&mut self, noticed: &[(String, Position)]) -> Result<(), StorageError> {
        if noticed.is_empty() {
            return Ok(());
        }
        let rows = noticed.iter().map(|(name, position)| vec![name.as_str().into(), (*position).into()]);
        let rows: Vec<Vec<Value<'_>>> = rows.collect();
        // One that was overlooked again, and for longer, stays.
        let sql = "DELETE FROM overlooked_servers WHERE server_sn IN (SELECT s.server_sn \
                   FROM ROWS(server_name, position) r JOIN servers s ON s.server_name = r.server_name \
                   JOIN overlooked_servers o ON o.server_sn = s.server_sn WHERE o.position >= r.position)";
        self.execute_rows(sql, &rows).await
    }
}

impl Database {
    /// The depth of the last event by which this server has entered a room; `None` if it has made the room. What is not as deep, and follows
    /// events that are not here, is the past of the room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn entry_depth(&self, room_sn: RoomSn) -> Result<Option<i64>, StorageError> {
        let sql = "SELECT depth FROM room_entries WHERE room_sn = $1 ORDER BY room_sn, event_sn DESC LIMIT 1";
        self.query_optional(sql, params![room_sn], |row| row.get(0)).await
    }

    /// The events by which this server has entered a room, in the order of the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn room_entries(&self, room_sn: RoomSn) -> Result<Vec<EventSn>, StorageError> {
        let sql = "SELECT event_sn FROM room_entries WHERE room_sn = $1 ORDER BY event_sn";
        self.query(sql, params![room_sn], |row| row.get(0)).await
    }

    /// The events by which this server has entered a room with a part of the state before them, in the order of the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn partial_entries(&self, room_sn: RoomSn) -> Result<Vec<EventSn>, StorageError> {
        let sql = "SELECT event_sn FROM partial_entries WHERE room_sn = $1 ORDER BY event_sn";
        self.query(sql, params![room_sn], |row| row.get(0)).await
    }

    /// The servers in a room of which not all members are known, as another server told them.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn told_servers(&self, room_sn: RoomSn) -> Result<Vec<String>, StorageError> {
        let sql = "SELECT s.server_name FROM told_room_servers t JOIN servers s ON s.server_sn = t.server_sn \
                   WHERE t.room_sn = $1 ORDER BY s.server_name";
        self.query(sql, params![room_sn], |row| row.get(0)).await
    }

    /// The rooms of which not all members are known, and that a server is in, as another server said.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn rooms_told_of_server(&self, server: &str) -> Result<Vec<RoomSn>, StorageError> {
        let sql = "SELECT t.room_sn FROM servers s JOIN told_room_servers t ON t.server_sn = s.server_sn \
                   WHERE s.server_name = $1";
        self.query(sql, params![server], |row| row.get(0)).await
    }

    /// Servers that may have missed what is in the log after a position, because this server did not know that they were in a room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn overlooked_servers(&self) -> Result<Vec<(String, Position)>, StorageError> {
        let sql = "SELECT (SELECT s.server_name FROM servers s WHERE s.server_sn = o.server_sn), o.position \
                   FROM overlooked_servers o";
        self.query(sql, &[], |row| Ok((row.get(0)?, row.get(1)?))).await
    }
}
