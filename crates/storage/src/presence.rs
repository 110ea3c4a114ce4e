//! Who is there.

use std::sync::Arc;

use homeserver_core::{Position, Timestamp, UserSn};

use crate::{Column, Database, LogEntry, Row, StorageError, Tx, Value, params};

/// Whether somebody is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PresenceState {
    /// Not connected, or does not want to be seen.
    Offline,
    /// Connected, and idle.
    Unavailable,
    /// Connected.
    Online,
}

impl PresenceState {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unavailable => "unavailable",
            Self::Online => "online",
        }
    }

    fn code(self) -> i64 {
        match self {
            Self::Offline => 1,
            Self::Unavailable => 2,
            Self::Online => 3,
        }
    }
}

impl From<PresenceState> for Value<'_> {
    fn from(state: PresenceState) -> Self {
        Self::Int(Some(state.code()))
    }
}

impl Column for PresenceState {
    fn from_sqlite(row: &rusqlite::Row<'_>, index: usize) -> Result<Self, StorageError> {
        decode(i64::from_sqlite(row, index)?, index)
    }

    fn from_postgres(row: &sqlx::postgres::PgRow, index: usize) -> Result<Self, StorageError> {
        decode(i64::from_postgres(row, index)?, index)
    }
}

fn decode(code: i64, column: usize) -> Result<PresenceState, StorageError> {
    [PresenceState::Offline, PresenceState::Unavailable, PresenceState::Online]
        .into_iter()
        .find(|state| state.code() == code)
        .ok_or_else(|| StorageError::Value { column, reason: format!("{code} is no state of presence") })
}

/// A user's presence, as others are told.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#presence>
#[derive(Clone, Debug)]
pub struct Presence {
    /// When that was told, in the log.
    pub position: Position,
    /// Whose it is.
    pub user_sn: UserSn,
    /// Whether the user is there.
    pub state: PresenceState,
    /// What the user says about that.
    pub status_message: Option<Box<str>>,
    /// When the user last did something, by the clock, as of that time.
    pub last_active_at: Timestamp,
}

/// A change of a user's presence.
#[derive(Clone, Debug)]
pub struct NewPresence {
    /// Whose.
    pub user_sn: UserSn,
    /// Whether the user is there.
    pub state: PresenceState,
    /// What the user says about that; `None` leaves it as it is.
    pub status_message: Option<Option<Box<str>>>,
    /// When the user last did something, by the clock; `None` leaves it as it is.
    pub last_active_at: Option<Timestamp>,
}

macro_rules! presence_query {
    ($($condition:literal),+) => {
        concat!("SELECT p.position, p.user_sn, p.state, p.status_message, p.last_active_at FROM presence p WHERE ", $($condition),+)
    };
}

fn read(row: &Row<'_>) -> Result<Presence, StorageError> {
    Ok(Presence {
        position: row.get(0)?,
        user_sn: row.get(1)?,
        state: row.get(2)?,
        status_message: row.get::<Option<String>>(3)?.map(Into::into),
        last_active_at: row.get(4)?,
    })
}

impl Database {
    /// Writes changes of presence, those that are none left out.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_presence(&self, changes: Vec<NewPresence>, now: Timestamp) -> Result<(), StorageError> {
        self.write(async move |tx| {
            for change in &changes {
                tx.set_presence(change, now).await?;
            }
            Ok(())
        })
        .await
    }

    /// What is known of a user's presence.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn presence(&self, user_sn: UserSn) -> Result<Option<Presence>, StorageError> {
        self.query_optional(presence_query!("p.user_sn = $1"), params![user_sn], read).await
    }

    /// The presence of everybody who is not offline.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn present_users(&self) -> Result<Vec<Presence>, StorageError> {
        self.query(presence_query!("p.state > 1"), &[], read).await
    }

    /// The presence of up to `limit` users in these rooms who are not offline. The zero keeps planners from going through
    /// everybody's presence in the order of the log.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn presence_in_rooms(&self, rooms: &[i64], limit: i64) -> Result<Vec<Presence>, StorageError> {
        let sql = presence_query!(
            "p.state > 1 AND EXISTS (SELECT 1 FROM memberships m WHERE m.user_sn = p.user_sn AND m.membership = 1 ",
            "AND m.room_sn IN LIST($1)) ORDER BY p.position + 0 DESC LIMIT $2"
        );
        self.query(sql, params![rooms, limit], read).await
    }

    /// What was told last of up to `limit` users in these rooms whose presence changed after `after` and up to `until`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn presence_changes(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
        limit: i64,
    ) -> Result<Vec<Presence>, StorageError> {
        let sql = presence_query!(
            "p.position > $2 AND p.position <= $3 AND EXISTS (SELECT 1 FROM memberships m WHERE m.user_sn = p.user_sn ",
            "AND m.membership = 1 AND m.room_sn IN LIST($1)) ORDER BY p.position DESC LIMIT $4"
        );
        self.query(sql, params![rooms, after, until, limit], read).await
    }

    /// Notes that these users are still there.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn see_present(&self, users: Vec<i64>, now: Timestamp) -> Result<(), StorageError> {
        let sql = "UPDATE presence SET seen_at = $2 WHERE user_sn IN LIST($1) AND state > 1";
        self.write(async move |tx| tx.execute(sql, params![&users, now]).await.map(drop)).await
    }

    /// Up to `limit` of those who are not offline, and of whom no server has said since `seen_since` that they are there. One that
    /// was seen after `latest` was seen before the clock was set back.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn stale_presence(
        &self,
        seen_since: Timestamp,
        latest: Timestamp,
        limit: i64,
    ) -> Result<Vec<UserSn>, StorageError> {
        let sql = "SELECT user_sn FROM presence WHERE state IN (2, 3) AND (seen_at < $1 OR seen_at > $2) LIMIT $3";
        self.query(sql, params![seen_since, latest, limit], |row| row.get(0)).await
    }
}

impl Tx {
    /// A user is there no more, and has nothing to say.
    pub(crate) async fn end_presence(&mut self, user_sn: UserSn, now: Timestamp) -> Result<(), StorageError> {
        let known = self.query_optional(presence_query!("p.user_sn = $1"), params![user_sn], read).await?;
        if known.is_none() {
            return Ok(());
        }
        let (state, status_message) = (PresenceState::Offline, Some(None));
        self.set_presence(&NewPresence { user_sn, state, status_message, last_active_at: None }, now).await
    }

    async fn set_presence(&mut self, change: &NewPresence, now: Timestamp) -> Result<(), StorageError> {
        let NewPresence { user_sn, state, .. } = *change;
        let before = self.query_optional(presence_query!("p.user_sn = $1"), params![user_sn], read).await?;
        let known = before.as_ref();
        let status_message = match &change.status_message {
            Some(status_message) => status_message.clone(),
            None => known.and_then(|known| known.status_message.clone()),
        };
        let last_active_at =
            change.last_active_at.or_else(|| known.map(|known| known.last_active_at)).unwrap_or(Timestamp(0));
        let is_news = known.is_none_or(|known| (known.state, &known.status_message) != (state, &status_message));
        if !is_news {
            let sql = "UPDATE presence SET last_active_at = $2, seen_at = $3 WHERE user_sn = $1";
            return self.execute(sql, params![user_sn, last_active_at, now]).await.map(drop);
        }
        let position = self.next_position().await?;
        let sql = "INSERT INTO presence (user_sn, state, status_message, last_active_at, seen_at, position) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_sn) DO UPDATE SET state = excluded.state, \
                   status_message = excluded.status_message, last_active_at = excluded.last_active_at, \
                   seen_at = excluded.seen_at, position = excluded.position";
        let row = params![user_sn, state, status_message.as_deref(), last_active_at, now, position];
        self.execute(sql, row).await?;
        let presence = Presence { position, user_sn, state, status_message, last_active_at };
        self.publish(LogEntry::Presence(Arc::new(presence)));
        Ok(())
    }
}
