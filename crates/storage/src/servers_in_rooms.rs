//! Which other servers are, or were, in which rooms.

use std::collections::HashSet;

use homeserver_core::{EventSn, Position, RoomSn, UserSn};

use crate::membership::{code, membership_at};
use crate::outbox::Due;
use crate::{Database, Membership, StorageError, params};

/// So many changes of memberships are looked at, the newest.
const MAX_CHANGES: i64 = 10_000;

/// A time for which users of a server were in a room, as this server learned of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stay {
    /// When the first came.
    pub from: Position,
    /// When the last left; none if somebody is there.
    pub until: Option<Position>,
}

impl Stay {
    /// Whether an event at a position was for the server. That by which its last user was removed is.
    #[must_use]
    pub fn covers(&self, position: Position) -> bool {
        self.from <= position && self.until.is_none_or(|until| position <= until)
    }
}

impl Database {
    /// The users of another server who have or had a membership of a room, and which they have now: up to `limit`, those that are in it
    /// first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn members_of_server(
        &self,
        room_sn: RoomSn,
        server: &str,
        limit: i64,
    ) -> Result<Vec<(Box<str>, Membership)>, StorageError> {
        let sql = "SELECT u.user_id, m.membership FROM servers s JOIN memberships m ON m.server_sn = s.server_sn \
                   JOIN users u ON u.user_sn = m.user_sn WHERE s.server_name = $1 AND m.room_sn = $2 \
                   ORDER BY m.membership LIMIT $3";
        let read = |row: &crate::Row<'_>| Ok((row.get::<Box<str>>(0)?, membership_at(row, 1)?));
        self.query(sql, params![server, room_sn, limit], read).await
    }

    /// Whether users of other servers are, or once were, in a room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn is_shared(&self, room_sn: RoomSn) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM room_servers WHERE room_sn = $1 LIMIT 1";
        Ok(self.query_optional(sql, params![room_sn], |_| Ok(())).await?.is_some())
    }

    /// Whether a user of another server is joined to a room, as far as this one knows its members.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn is_server_in_room(&self, room_sn: RoomSn, server: &str) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM servers s JOIN memberships m ON m.server_sn = s.server_sn \
                   WHERE s.server_name = $1 AND m.room_sn = $2 AND m.membership = $3 LIMIT 1";
        let found = self.query_optional(sql, params![server, room_sn, code(Membership::Join)], |_| Ok(())).await?;
        Ok(found.is_some())
    }

    /// Whether a user of another server has been in a room since `after` without leaving it.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn has_server_stayed(
        &self,
        room_sn: RoomSn,
        server: &str,
        after: Position,
    ) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM servers s JOIN memberships m ON m.server_sn = s.server_sn \
                   WHERE s.server_name = $1 AND m.room_sn = $2 AND m.membership = $3 AND NOT EXISTS \
                   (SELECT 1 FROM membership_changes c WHERE c.user_sn = m.user_sn AND c.room_sn = m.room_sn \
                   AND c.position > $4) LIMIT 1";
        let parameters = params![server, room_sn, code(Membership::Join), after];
        Ok(self.query_optional(sql, parameters, |_| Ok(())).await?.is_some())
    }

    /// When users of another server were in a room, the first time first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn stays_of_server(&self, room_sn: RoomSn, server: &str) -> Result<Vec<Stay>, StorageError> {
        let sql = "SELECT c.position, c.user_sn, c.membership FROM servers s JOIN memberships m \
                   ON m.server_sn = s.server_sn JOIN membership_changes c ON c.user_sn = m.user_sn AND c.room_sn = m.room_sn \
                   WHERE s.server_name = $1 AND m.room_sn = $2 ORDER BY c.position DESC LIMIT $3";
        let mut changes = self
            .query(sql, params![server, room_sn, MAX_CHANGES], |row| {
                Ok((row.get(0)?, row.get(1)?, membership_at(row, 2)?))
            })
            .await?;
        changes.reverse();
        Ok(stays(&changes))
    }

    /// The events by which users of another server ceased to be members of these rooms and that this server's users sent, after `after`
    /// and up to `until`, in the order of the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn farewells(
        &self,
        server: &str,
        rooms: &[i64],
        after: Position,
        until: Position,
    ) -> Result<Vec<Due>, StorageError> {
        let sql = "SELECT m.event_sn, m.room_sn FROM servers s JOIN memberships m ON m.server_sn = s.server_sn \
                   JOIN events e ON e.event_sn = m.event_sn WHERE s.server_name = $1 AND m.room_sn IN LIST($2) \
                   AND m.event_sn > $3 AND m.event_sn <= $4 AND m.membership <> $5 AND e.standing = 0 \
                   AND EXISTS (SELECT 1 FROM accounts a WHERE a.user_sn = e.sender_sn) ORDER BY m.event_sn";
        let read = |row: &crate::Row<'_>| {
            let event_sn: EventSn = row.get(0)?;
            Ok(Due { position: event_sn.position(), event_sn, room_sn: row.get(1)? })
        };
        self.query(sql, params![server, rooms, after, until, code(Membership::Join)], read).await
    }
}

/// The times at which somebody was in a room, from the changes of memberships in their order.
fn stays(changes: &[(Position, UserSn, Membership)]) -> Vec<Stay> {
    let (mut stays, mut present): (Vec<Stay>, HashSet<UserSn>) = (Vec::new(), HashSet::new());
    for (position, user_sn, membership) in changes {
        if *membership == Membership::Join {
            if present.is_empty() {
                stays.push(Stay { from: *position, until: None });
            }
            present.insert(*user_sn);
        } else if present.remove(user_sn)
            && present.is_empty()
            && let Some(last) = stays.last_mut()
        {
            last.until = Some(*position);
        }
    }
    stays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_stays_while_one_of_its_users_does() {
        let changes = [(1, 7, Membership::Invite), (2, 7, Membership::Join), (3, 8, Membership::Join)];
        let further =
            [(5, 7, Membership::Leave), (8, 8, Membership::Ban), (9, 9, Membership::Leave), (12, 7, Membership::Join)];
        let all = changes.iter().chain(&further).map(|(at, user, it)| (Position(*at), UserSn(*user), *it));
        let stays = stays(&all.collect::<Vec<_>>());
        let expected = [(2, Some(8)), (12, None)];
        assert_eq!(stays, expected.map(|(from, until)| Stay { from: Position(from), until: until.map(Position) }));
        let covered = |at| stays.iter().any(|stay| stay.covers(Position(at)));
        assert_eq!([1, 2, 8, 9, 11, 12, 99].map(covered), [false, true, true, false, false, true, true]);
    }
}
