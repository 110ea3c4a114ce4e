//! Reading the past of rooms: who could see what, and what the state was.

use bytes::Bytes;
use homeserver_core::{KeySn, Position, RoomSn, TypeSn, UserSn};

use crate::events::{StoredEvent, event_query, read_event};
use crate::membership::membership_at;
use crate::{Database, FullState, KnownState, Membership, StorageError, params};

/// The places in a room's state that decide what a user may read.
#[derive(Clone, Copy, Debug)]
pub struct ViewKeys {
    /// `m.room.history_visibility`.
    pub visibility_type: TypeSn,
    /// The empty state key.
    pub empty_key: KeySn,
}

/// What decides what a user may read of a room.
#[derive(Clone, Default, Debug)]
pub struct RoomView {
    /// How the user's membership changed from where the view begins, oldest first, with the last change before that.
    pub memberships: Vec<(Position, Membership)>,
    /// The client JSON of each `m.room.history_visibility`, oldest first; empty from where there was none any more.
    pub visibilities: Vec<(Position, Bytes)>,
    /// Whether the user has forgotten the room.
    pub is_forgotten: bool,
}

enum ViewRow {
    Membership(Position, Membership),
    Visibility(Position, Bytes),
    Forgotten(bool),
}

fn read_view_row(row: &crate::Row<'_>) -> Result<ViewRow, StorageError> {
    Ok(match row.get::<i64>(0)? {
        1 => ViewRow::Membership(row.get(1)?, membership_at(row, 2)?),
        2 => ViewRow::Visibility(row.get(1)?, row.get::<Option<Bytes>>(3)?.unwrap_or_default()),
        _ => ViewRow::Forgotten(row.get::<i64>(2)? == 1),
    })
}

impl Database {
    /// What decides what a user of this server may read of a room from `from` on, in one question.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn room_view(
        &self,
        state: &KnownState,
        user_sn: UserSn,
        keys: ViewKeys,
        from: Position,
    ) -> Result<RoomView, StorageError> {
        // The changes of the visibility by their positions, so that no planner goes through all changes of the room.
        let sql = "SELECT CAST(1 AS BIGINT), position, membership, NULL FROM membership_changes \
                   WHERE user_sn = $2 AND room_sn = $1 AND position >= COALESCE((SELECT MAX(position) \
                   FROM membership_changes WHERE user_sn = $2 AND room_sn = $1 AND position <= $5), 0) \
                   UNION ALL SELECT CAST(2 AS BIGINT), c.position, CAST(0 AS BIGINT), e.client_json FROM state_changes c \
                   LEFT JOIN events e ON e.event_sn = c.event_sn WHERE c.room_sn = $1 AND c.position IN \
                   (SELECT position FROM state_changes WHERE room_sn = $1 AND type_sn = $3 AND key_sn = $4) \
                   UNION ALL SELECT CAST(3 AS BIGINT), CAST(0 AS BIGINT), \
                   CAST(CASE WHEN is_forgotten THEN 1 ELSE 0 END AS BIGINT), NULL FROM memberships \
                   WHERE room_sn = $1 AND user_sn = $2 ORDER BY 2";
        let parameters = params![state.room_sn(), user_sn, keys.visibility_type, keys.empty_key, from];
        let mut view = RoomView::default();
        for row in self.query(sql, parameters, read_view_row).await? {
            match row {
                ViewRow::Membership(position, membership) => view.memberships.push((position, membership)),
                ViewRow::Visibility(position, json) => view.visibilities.push((position, json)),
                ViewRow::Forgotten(is_forgotten) => view.is_forgotten = is_forgotten,
            }
        }
        Ok(view)
    }

    /// When state of a type was first set in a room. Looks through the room's changes from the first on, so it is for types
    /// that every room has from its beginning.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn first_change_of_type(
        &self,
        room_sn: RoomSn,
        type_sn: TypeSn,
    ) -> Result<Option<Position>, StorageError> {
        let sql = "SELECT position FROM state_changes WHERE room_sn = $1 AND +type_sn = $2 ORDER BY room_sn, position LIMIT 1";
        self.query_optional(sql, params![room_sn, type_sn], |row| row.get(0)).await
    }

    /// The member events, of type `member_type`, that were in a room's state at a position. Those of whom the server did not
    /// know at that position because it knew the state in part are among it.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn members_at(
        &self,
        state: &FullState,
        member_type: TypeSn,
        at: Position,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let sql = event_query!(
            "JOIN state_changes c ON c.event_sn = e.event_sn JOIN (SELECT \
             COALESCE(MAX(CASE WHEN s.position <= $3 THEN s.position END), MIN(s.position)) AS position \
             FROM state_changes s JOIN room_heads h ON h.room_sn = s.room_sn WHERE s.room_sn = $1 AND s.type_sn = $2 \
             AND (s.position <= $3 OR s.position <= h.state_whole_since) GROUP BY s.key_sn) latest \
             ON latest.position = c.position WHERE c.room_sn = $1 ORDER BY e.event_sn"
        );
        self.query(sql, params![state.room_sn(), member_type, at], read_event).await
    }

    /// The events of one type, with some state keys, that were in a room's state at a position.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn state_of_keys_at(
        &self,
        state: &KnownState,
        type_sn: TypeSn,
        keys: &[i64],
        at: Position,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let sql = event_query!(
            "JOIN state_changes c ON c.event_sn = e.event_sn JOIN (SELECT MAX(position) AS position FROM state_changes \
             WHERE room_sn = $1 AND type_sn = $2 AND key_sn IN LIST($3) AND position <= $4 GROUP BY key_sn) latest \
             ON latest.position = c.position WHERE c.room_sn = $1 ORDER BY e.event_sn"
        );
        self.query(sql, params![state.room_sn(), type_sn, keys, at], read_event).await
    }

    /// The member events of the users who are joined to a room now: the user, and the client JSON.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn joined_member_events(&self, state: &FullState) -> Result<Vec<(Box<str>, Bytes)>, StorageError> {
        let sql = "SELECT u.user_id, e.client_json FROM memberships m JOIN users u ON u.user_sn = m.user_sn \
                   JOIN events e ON e.event_sn = m.event_sn WHERE m.room_sn = $1 AND m.membership = $2";
        self.query(sql, params![state.room_sn(), crate::membership::code(Membership::Join)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .await
    }

    /// The IDs of the rooms to which a user is joined.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn joined_room_ids(&self, user_sn: UserSn) -> Result<Vec<Box<str>>, StorageError> {
        let sql = "SELECT r.room_id FROM memberships m JOIN rooms r ON r.room_sn = m.room_sn \
                   WHERE m.user_sn = $1 AND m.membership = $2 ORDER BY m.event_sn";
        self.query(sql, params![user_sn, crate::membership::code(Membership::Join)], |row| row.get(0)).await
    }
}
