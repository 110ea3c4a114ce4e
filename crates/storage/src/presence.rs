//! Who is there.

mod claims;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use database::{Column, ROWS_AT_ONCE};
use homeserver_core::{DeviceSn, Position, Timestamp, UserSn};

use crate::frequent::Frequent;
use crate::{Database, LogEntry, Row, StorageError, Tx, Value, params};

/// How much longer the word of another server about its users holds than that of a node, which repeats it more often.
const REMOTE_HOLDS_LONGER: Duration = Duration::from_secs(14 * 60);

/// Whether a user is there.
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

    /// The state of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Offline, Self::Unavailable, Self::Online].into_iter().find(|state| state.as_str() == name)
    }

    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Offline => 1,
            Self::Unavailable => 2,
            Self::Online => 3,
        }
    }

    pub(crate) fn from_code(code: i64) -> Option<Self> {
        [Self::Offline, Self::Unavailable, Self::Online].into_iter().find(|state| state.code() == code)
    }
}

impl From<PresenceState> for Value<'_> {
    fn from(state: PresenceState) -> Self {
        Self::Int(Some(state.code()))
    }
}

impl Column for PresenceState {
    fn read(row: &Row<'_>, index: usize) -> Result<Self, StorageError> {
        decode(row.get(index)?, index)
    }
}

fn decode(code: i64, column: usize) -> Result<PresenceState, StorageError> {
    PresenceState::from_code(code)
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

/// What one device says of its user.
#[derive(Clone, Copy, Debug)]
pub struct DevicePresence {
    /// Which device; `None` for a client without one.
    pub device_sn: Option<DeviceSn>,
    /// What it says itself.
    pub wants: PresenceState,
    /// The same, or that the user is idle.
    pub state: PresenceState,
    /// When it last asked at this node, by the clock.
    pub asked_at: Timestamp,
}

/// A change of a user's presence.
#[derive(Clone, Debug)]
pub struct NewPresence {
    /// Whose.
    pub user_sn: UserSn,
    /// Whether the user is there, as far as this node knows.
    pub state: PresenceState,
    /// What the user's devices say that this node serves.
    pub devices: Vec<DevicePresence>,
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
    /// Writes what this node says of the presence of users whose clients it serves. Others are told what comes of that with what
    /// other nodes say.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_presence(&self, changes: Vec<NewPresence>, now: Timestamp) -> Result<(), StorageError> {
        let node = Some(self.node().into());
        let write = PresenceWrite { changes, node, now, seen_at: now };
        self.write_frequent(Frequent::Presence(write), "set_presence").await
    }

    /// Writes what another server says of the presence of its users.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn set_remote_presence(&self, changes: Vec<NewPresence>, now: Timestamp) -> Result<(), StorageError> {
        let write = PresenceWrite { changes, node: None, now, seen_at: now.plus(REMOTE_HOLDS_LONGER) };
        self.write_frequent(Frequent::Presence(write), "set_remote_presence").await
    }

    /// Writes what others are told of these users if no node says anything of them: that they are offline.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn miss_present(&self, users: Vec<UserSn>, now: Timestamp) -> Result<(), StorageError> {
        let state = PresenceState::Offline;
        let offline =
            |user_sn| NewPresence { user_sn, state, devices: Vec::new(), status_message: None, last_active_at: None };
        let changes = users.into_iter().map(offline).collect();
        let write = PresenceWrite { changes, node: None, now, seen_at: now };
        self.write_frequent(Frequent::Presence(write), "miss_present").await
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

    /// The same of users with an account here.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn own_presence_changes(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
        limit: i64,
    ) -> Result<Vec<Presence>, StorageError> {
        let sql = presence_query!(
            "p.position > $2 AND p.position <= $3 AND EXISTS (SELECT 1 FROM memberships m WHERE m.user_sn = p.user_sn ",
            "AND m.membership = 1 AND m.is_local = TRUE AND m.room_sn IN LIST($1)) ORDER BY p.position DESC LIMIT $4"
        );
        self.query(sql, params![rooms, after, until, limit], read).await
    }

    /// Notes that these users are still there.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn see_present(&self, users: Vec<i64>, now: Timestamp) -> Result<(), StorageError> {
        let sql = "UPDATE presence SET seen_at = $2 WHERE user_sn IN LIST($1) AND state > 1";
        let node = self.node().to_owned();
        self.write(async move |tx| {
            tx.execute(sql, params![&users, now]).await?;
            tx.repeat_claims(&users, &node, now).await
        })
        .await
    }

    /// Up to `limit` users who are not offline, and whom no server has seen since `seen_since`. A user seen after `latest` was seen
    /// before the clock was set back.
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
        self.hold_log().await?;
        self.end_claims(user_sn).await?;
        let known = self.query_optional(presence_query!("p.user_sn = $1"), params![user_sn], read).await?;
        if known.is_none() {
            return Ok(());
        }
        let (state, status_message) = (PresenceState::Offline, Some(None));
        let change = NewPresence { user_sn, state, devices: Vec::new(), status_message, last_active_at: None };
        write_changes(self, &[(change, now)]).await
    }
}

/// Changes of presence, at a time.
pub(crate) struct PresenceWrite {
    changes: Vec<NewPresence>,
    /// The node that says so; `None` if no node does.
    node: Option<Box<str>>,
    now: Timestamp,
    /// As of when the users count as seen: some time after that they count as left behind.
    seen_at: Timestamp,
}

/// Writes changes of presence, in their order. Leaves out what changes nothing, and what would show a closed account as there or with
/// a message: a request may come late, and the server counts clients as there for some time after their last one.
pub(crate) async fn write_all(tx: &mut Tx, writes: &[&PresenceWrite]) -> Result<(), StorageError> {
    let mut changes = Vec::new();
    let mut seen: HashMap<UserSn, Timestamp> = HashMap::new();
    for PresenceWrite { changes: said, node, now, seen_at } in writes {
        changes.extend(said.iter().map(|change| (change, node.as_deref(), *now)));
        seen.extend(said.iter().map(|change| (change.user_sn, *seen_at)));
    }
    let users: BTreeSet<i64> = changes.iter().map(|(change, ..)| change.user_sn.0).collect();
    if users.is_empty() {
        return Ok(());
    }
    // Accounts are closed under the same lock: what is read here holds until the commit.
    tx.hold_log().await?;
    let users: Vec<i64> = users.into_iter().collect();
    let sql = "SELECT user_sn FROM accounts WHERE user_sn IN LIST($1) AND deactivated_at IS NOT NULL";
    let closed: Vec<UserSn> = tx.query(sql, params![&users], |row| row.get(0)).await?;
    let closed: BTreeSet<UserSn> = closed.into_iter().collect();
    let is_allowed = |change: &NewPresence| change.is_silent() || !closed.contains(&change.user_sn);
    changes.retain(|(change, ..)| is_allowed(change));
    let mut told = tx.claim_presence(&changes).await?;
    for (change, seen_at) in &mut told {
        *seen_at = seen.get(&change.user_sn).copied().unwrap_or(*seen_at);
    }
    write_changes(tx, &told).await
}

/// Writes changes of presence, in their order, without those that change nothing. A change that is taken back within them is not told.
async fn write_changes(tx: &mut Tx, changes: &[(NewPresence, Timestamp)]) -> Result<(), StorageError> {
    if changes.is_empty() {
        return Ok(());
    }
    let users: BTreeSet<i64> = changes.iter().map(|(change, _)| change.user_sn.0).collect();
    let users: Vec<i64> = users.into_iter().collect();
    let before: HashMap<UserSn, Presence> = tx
        .query(presence_query!("p.user_sn IN LIST($1)"), params![&users], |row| Ok((row.get(1)?, read(row)?)))
        .await?
        .into_iter()
        .collect();
    let mut after: BTreeMap<UserSn, (Presence, Timestamp)> = BTreeMap::new();
    for (change, now) in changes {
        let user_sn = change.user_sn;
        let known = after.remove(&user_sn).map(|(presence, _)| presence).or_else(|| before.get(&user_sn).cloned());
        after.insert(user_sn, (change.applied_to(known), *now));
    }

    let is_news = |presence: &Presence| {
        let shown = |presence: &Presence| (presence.state, presence.status_message.clone());
        before.get(&presence.user_sn).is_none_or(|before| shown(before) != shown(presence))
    };
    let news = after.values().filter(|(presence, _)| is_news(presence)).count();
    tx.reserve_positions(i64::try_from(news).unwrap_or(i64::MAX)).await?;
    for (presence, _) in after.values_mut() {
        if is_news(presence) {
            presence.position = tx.next_position().await?;
            tx.publish(LogEntry::Presence(Arc::new(presence.clone())));
        }
    }
    let rows = after.values().map(|(presence, now)| {
        let Presence { position, user_sn, state, status_message, last_active_at } = presence;
        let status_message = status_message.as_deref().into();
        vec![
            (*user_sn).into(),
            (*state).into(),
            status_message,
            (*last_active_at).into(),
            (*now).into(),
            (*position).into(),
        ]
    });
    let into = "presence (user_sn, state, status_message, last_active_at, seen_at, position) ON CONFLICT (user_sn) \
                DO UPDATE SET state = excluded.state, status_message = excluded.status_message, \
                last_active_at = excluded.last_active_at, seen_at = excluded.seen_at, position = excluded.position";
    for rows in rows.collect::<Vec<_>>().chunks(ROWS_AT_ONCE) {
        tx.insert_all(into, rows).await?;
    }
    Ok(())
}

impl NewPresence {
    /// Whether it does not show that the user is there.
    fn is_silent(&self) -> bool {
        self.state == PresenceState::Offline && !matches!(self.status_message, Some(Some(_)))
    }

    fn applied_to(&self, known: Option<Presence>) -> Presence {
        let status_message = match &self.status_message {
            Some(status_message) => status_message.clone(),
            None => known.as_ref().and_then(|known| known.status_message.clone()),
        };
        let last_active_at = self.last_active_at.or(known.as_ref().map(|known| known.last_active_at));
        Presence {
            position: known.map_or(Position::START, |known| known.position),
            user_sn: self.user_sn,
            state: self.state,
            status_message,
            last_active_at: last_active_at.unwrap_or(Timestamp(0)),
        }
    }
}
