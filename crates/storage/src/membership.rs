//! What a user is to a room.

use std::collections::HashMap;

use database::Row;
use homeserver_core::{EventSn, Position, RoomSn, UserSn};

use crate::{Database, Engine, FullState, KnownState, LogEntry, StorageError, Tx, params};

pub use room_engine::Membership;

/// The number that a membership is stored as.
pub(crate) const fn code(membership: Membership) -> i64 {
    match membership {
        Membership::Join => 1,
        Membership::Invite => 2,
        Membership::Knock => 3,
        Membership::Leave => 4,
        Membership::Ban => 5,
    }
}

/// The membership that is stored as this number.
pub(crate) const fn from_code(code: i64) -> Option<Membership> {
    match code {
        1 => Some(Membership::Join),
        2 => Some(Membership::Invite),
        3 => Some(Membership::Knock),
        4 => Some(Membership::Leave),
        5 => Some(Membership::Ban),
        _ => None,
    }
}

/// The membership in a column.
pub(crate) fn membership_at(row: &Row<'_>, column: usize) -> Result<Membership, StorageError> {
    let stored = row.get(column)?;
    from_code(stored).ok_or_else(|| StorageError::Value { column, reason: format!("{stored} is no membership") })
}

/// A user's membership of a room.
#[derive(Clone, Copy, Debug)]
pub struct RoomMembership {
    /// The room.
    pub room_sn: RoomSn,
    /// The user.
    pub user_sn: UserSn,
    /// What the user is to the room.
    pub membership: Membership,
    /// The event that made it so.
    pub event_sn: EventSn,
    /// Whether the user has forgotten the room.
    pub is_forgotten: bool,
}

/// One of the first members of a room.
#[derive(Clone, Debug)]
pub struct FirstMember {
    /// The room.
    pub room_sn: RoomSn,
    /// The user.
    pub user_sn: UserSn,
    /// The user's ID.
    pub user_id: Box<str>,
    /// Whether the user has left or is banned, and is neither joined nor invited.
    pub is_gone: bool,
}

/// The first `$3` members of one membership. Each membership by itself, so that the index ends the search at the limit.
macro_rules! members_of {
    ($membership:literal, $is_gone:literal, $room:literal, $name:literal) => {
        concat!(
            "SELECT * FROM (SELECT room_sn, user_sn, event_sn, CAST(",
            $is_gone,
            " AS BIGINT) AS is_gone FROM memberships WHERE room_sn = ",
            $room,
            " AND membership = ",
            $membership,
            " AND user_sn <> $2 ORDER BY room_sn, membership, event_sn LIMIT $3) ",
            $name
        )
    };
}

macro_rules! first_members_query {
    ($rooms:literal, $room:literal) => {
        concat!(
            "SELECT m.room_sn, m.user_sn, u.user_id, m.is_gone FROM ",
            $rooms,
            "(SELECT * FROM (",
            members_of!("1", "0", $room, "joined"),
            " UNION ALL ",
            members_of!("2", "0", $room, "invited"),
            " UNION ALL ",
            members_of!("4", "1", $room, "gone"),
            " UNION ALL ",
            members_of!("5", "1", $room, "banned"),
            ") found ORDER BY is_gone, event_sn LIMIT $3) m JOIN users u ON u.user_sn = m.user_sn \
             ORDER BY m.room_sn, m.is_gone, m.event_sn"
        )
    };
}

fn read_first_member(row: &crate::Row<'_>) -> Result<FirstMember, StorageError> {
    let is_gone = row.get::<i64>(3)? == 1;
    Ok(FirstMember { room_sn: row.get(0)?, user_sn: row.get(1)?, user_id: row.get(2)?, is_gone })
}

fn read_membership(row: &crate::Row<'_>) -> Result<RoomMembership, StorageError> {
    Ok(RoomMembership {
        room_sn: row.get(0)?,
        user_sn: row.get(1)?,
        membership: membership_at(row, 2)?,
        event_sn: row.get(3)?,
        is_forgotten: row.get(4)?,
    })
}

impl Database {
    /// The place in a room of a user of this server, if there was ever any.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn membership(&self, room_sn: RoomSn, user_sn: UserSn) -> Result<Option<RoomMembership>, StorageError> {
        let sql = "SELECT room_sn, user_sn, membership, event_sn, is_forgotten FROM memberships \
                   WHERE room_sn = $1 AND user_sn = $2";
        self.query_optional(sql, params![room_sn, user_sn], read_membership).await
    }

    /// A user's places in all rooms.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn memberships_of_user(&self, user_sn: UserSn) -> Result<Vec<RoomMembership>, StorageError> {
        let sql = "SELECT room_sn, user_sn, membership, event_sn, is_forgotten FROM memberships WHERE user_sn = $1";
        self.query(sql, params![user_sn], read_membership).await
    }

    /// When a user's place in each room last changed. That is not always when the room's member event was added: where
    /// branches of a room meet, an older event may come (back) into the state, or the only one may be lost.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn memberships_since(&self, user_sn: UserSn) -> Result<Vec<(RoomSn, Position)>, StorageError> {
        let sql = "SELECT room_sn, MAX(position) FROM membership_changes WHERE user_sn = $1 GROUP BY room_sn";
        self.query(sql, params![user_sn], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// The rooms to which a user is `membership`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn rooms_of_user(&self, user_sn: UserSn, membership: Membership) -> Result<Vec<RoomSn>, StorageError> {
        let sql = "SELECT room_sn FROM memberships WHERE user_sn = $1 AND membership = $2";
        self.query(sql, params![user_sn, code(membership)], |row| row.get(0)).await
    }

    /// Everybody's place in a room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn memberships_of_room(&self, state: &FullState) -> Result<Vec<RoomMembership>, StorageError> {
        let sql = "SELECT room_sn, user_sn, membership, event_sn, is_forgotten FROM memberships WHERE room_sn = $1";
        self.query(sql, params![state.room_sn()], read_membership).await
    }

    /// The users who have an account here and are joined to the room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn local_members(&self, room_sn: RoomSn) -> Result<Vec<UserSn>, StorageError> {
        let sql = "SELECT user_sn FROM memberships WHERE room_sn = $1 AND membership = 1 AND is_local = TRUE";
        self.query(sql, params![room_sn], |row| row.get(0)).await
    }

    /// The guests of this server who are joined to the room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn guests_of_room(&self, room_sn: RoomSn) -> Result<Vec<UserSn>, StorageError> {
        let sql = "SELECT m.user_sn FROM memberships m JOIN accounts a ON a.user_sn = m.user_sn \
                   WHERE m.room_sn = $1 AND m.membership = 1 AND m.is_local = TRUE AND a.is_guest";
        self.query(sql, params![room_sn], |row| row.get(0)).await
    }

    /// How a user's memberships changed after `after` and up to `until`, oldest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn membership_changes(
        &self,
        user_sn: UserSn,
        after: Position,
        until: Position,
    ) -> Result<Vec<(Position, RoomSn, Membership)>, StorageError> {
        let sql = "SELECT position, room_sn, membership FROM membership_changes \
                   WHERE user_sn = $1 AND position > $2 AND position <= $3 ORDER BY position";
        self.query(sql, params![user_sn, after, until], |row| Ok((row.get(0)?, row.get(1)?, membership_at(row, 2)?)))
            .await
    }

    /// How a user's membership of one room changed after `after`, oldest first, with the last change before that.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn membership_history_after(
        &self,
        room_sn: RoomSn,
        user_sn: UserSn,
        after: Position,
    ) -> Result<Vec<(Position, Membership)>, StorageError> {
        let sql = "SELECT position, membership FROM membership_changes WHERE user_sn = $1 AND room_sn = $2 \
                   AND position >= COALESCE((SELECT MAX(position) FROM membership_changes \
                   WHERE user_sn = $1 AND room_sn = $2 AND position <= $3), 0) ORDER BY position";
        self.query(sql, params![user_sn, room_sn, after], |row| Ok((row.get(0)?, membership_at(row, 1)?))).await
    }

    /// When a user who was not in a room at `at` had left it; `None` if the user had never been in it.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn last_departure(
        &self,
        room_sn: RoomSn,
        user_sn: UserSn,
        at: Position,
    ) -> Result<Option<Position>, StorageError> {
        let sql = "SELECT MIN(position) FROM membership_changes WHERE user_sn = $1 AND room_sn = $2 AND position <= $3 \
                   AND position > (SELECT MAX(position) FROM membership_changes \
                   WHERE user_sn = $1 AND room_sn = $2 AND position < $3 AND membership = $4)";
        let departure =
            self.query_optional(sql, params![user_sn, room_sn, at, code(Membership::Join)], |row| row.get(0)).await?;
        Ok(departure.flatten())
    }

    /// How a user's membership of one room changed, oldest first.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn membership_history(
        &self,
        room_sn: RoomSn,
        user_sn: UserSn,
    ) -> Result<Vec<(Position, Membership)>, StorageError> {
        let sql =
            "SELECT position, membership FROM membership_changes WHERE user_sn = $1 AND room_sn = $2 ORDER BY position";
        self.query(sql, params![user_sn, room_sn], |row| Ok((row.get(0)?, membership_at(row, 1)?))).await
    }

    /// The first `limit` members known of each of these rooms, without `except`: first the joined and the invited, then
    /// users who have left or are banned, each in the order of the log.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn first_members(
        &self,
        states: &[&KnownState],
        except: UserSn,
        limit: usize,
    ) -> Result<Vec<FirstMember>, StorageError> {
        let rooms: Vec<i64> = states.iter().map(|state| state.room_sn().0).collect();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        if self.engine() == Engine::Sqlite {
            let sql = first_members_query!("", "$1");
            let rounds = rooms.iter().map(|room_sn| [(*room_sn).into(), except.into(), limit.into()]);
            return self.query_each(sql, rounds, read_first_member).await;
        }
        if rooms.is_empty() {
            return Ok(Vec::new());
        }
        let sql = first_members_query!("UNNEST($1) AS wanted (room_sn), LATERAL ", "wanted.room_sn");
        self.query(sql, params![&rooms, except, limit], read_first_member).await
    }

    /// How many users have a place in each of these rooms, whatever it is: counted up to `limit`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn member_counts_up_to(
        &self,
        rooms: &[i64],
        limit: usize,
    ) -> Result<HashMap<RoomSn, usize>, StorageError> {
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = "SELECT r.room_sn, (SELECT COUNT(*) FROM (SELECT 1 FROM memberships m WHERE m.room_sn = r.room_sn \
                   LIMIT $2) counted) FROM rooms r WHERE r.room_sn IN LIST($1)";
        let read = |row: &crate::Row<'_>| Ok((row.get(0)?, usize::try_from(row.get::<i64>(1)?).unwrap_or(0)));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(self.query(sql, params![rooms, limit], read).await?.into_iter().collect())
    }

    /// Forgets the room for the user. Returns whether the user was out of the room, as is required.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn forget_room(&self, room_sn: RoomSn, user_sn: UserSn) -> Result<bool, StorageError> {
        let sql = "UPDATE memberships SET is_forgotten = TRUE \
                   WHERE room_sn = $1 AND user_sn = $2 AND membership IN (4, 5)";
        self.write(async move |tx| {
            let position = tx.next_position().await?;
            let is_forgotten = tx.execute(sql, params![room_sn, user_sn]).await? > 0;
            if is_forgotten {
                tx.publish(LogEntry::RoomForgotten { position, room_sn, user_sn });
            }
            Ok(is_forgotten)
        })
        .await
    }
}

impl Tx {
    /// Whether a user is in any room; with `or_nearly`, whether the user could be: is invited, or has knocked.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn is_in_any_room(&mut self, user_sn: UserSn, or_nearly: bool) -> Result<bool, StorageError> {
        let sql = if or_nearly {
            "SELECT 1 FROM memberships WHERE user_sn = $1 AND membership IN (1, 2, 3) LIMIT 1"
        } else {
            "SELECT 1 FROM memberships WHERE user_sn = $1 AND membership = 1 LIMIT 1"
        };
        Ok(self.query_optional(sql, params![user_sn], |_| Ok(())).await?.is_some())
    }
}
