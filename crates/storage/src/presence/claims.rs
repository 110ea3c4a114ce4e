//! What each node says of the devices that it serves, by which others are told whether their user is there.
//!
//! The devices of a user may be at several nodes, and one device may go from one to another, with every request where a proxy sends
//! it. A node keeps a device as present for some time after its last request, so several nodes may speak of it: what it said itself
//! last counts, and it is idle only if every node says so. A node for which a device has gone takes back what it has said. On SQLite
//! there is one node, and nothing of this is written.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use database::ROWS_AT_ONCE;
use homeserver_core::{Timestamp, UserSn};

use super::{DevicePresence, NewPresence, PresenceState};
use crate::{Database, Engine, StorageError, Tx, Value, params};

/// How long a claim of a node counts that it does not repeat.
const GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// The number that stands for a client without a device.
const NO_DEVICE: i64 = 0;

/// What is said of a device, by one node or by several.
#[derive(Clone, Copy)]
struct DeviceState {
    wants: PresenceState,
    state: PresenceState,
    asked_at: Timestamp,
}

impl DeviceState {
    /// What two nodes together say.
    fn and(self, other: Self) -> Self {
        let newer = if other.asked_at > self.asked_at { other } else { self };
        Self { state: self.state.max(other.state), ..newer }
    }
}

impl Tx {
    /// Writes what nodes say, and has each change say what comes of all that is said of the user.
    pub(super) async fn claim_presence(
        &mut self,
        changes: &[(&NewPresence, Option<&str>, Timestamp)],
    ) -> Result<Vec<(NewPresence, Timestamp)>, StorageError> {
        let unchanged = || changes.iter().map(|(change, _, now)| ((*change).clone(), *now)).collect();
        let Some(now) = changes.iter().map(|(.., now)| *now).max() else { return Ok(Vec::new()) };
        if self.engine() == Engine::Sqlite {
            return Ok(unchanged());
        }
        self.write_claims(changes).await?;
        let users: Vec<i64> = changes.iter().map(|(change, ..)| change.user_sn.0).collect();
        let said = self.claimed_states(&users, now).await?;
        let told = changes.iter().map(|(change, node, now)| {
            let said = said.get(&change.user_sn).copied().unwrap_or(PresenceState::Offline);
            // Of a node's own word there are rows.
            let state = if node.is_some() { said } else { said.max(change.state) };
            (NewPresence { state, ..(*change).clone() }, *now)
        });
        Ok(told.collect())
    }

    /// Whether users are there, by all that nodes say of their devices.
    async fn claimed_states(
        &mut self,
        users: &[i64],
        now: Timestamp,
    ) -> Result<HashMap<UserSn, PresenceState>, StorageError> {
        let sql = "SELECT user_sn, device_sn, wants, state, asked_at FROM presence_on_nodes \
                   WHERE user_sn IN LIST($1) AND seen_at >= $2";
        let read = |row: &crate::Row<'_>| {
            let of = (row.get::<UserSn>(0)?, row.get::<i64>(1)?);
            Ok((of, DeviceState { wants: row.get(2)?, state: row.get(3)?, asked_at: row.get(4)? }))
        };
        let mut devices: HashMap<(UserSn, i64), DeviceState> = HashMap::new();
        for (of, said) in self.query(sql, params![users, now.minus(GOOD_FOR)], read).await? {
            devices.entry(of).and_modify(|known| *known = known.and(said)).or_insert(said);
        }
        let mut states = HashMap::new();
        for ((user_sn, _), device) in devices {
            let state = states.entry(user_sn).or_insert(PresenceState::Offline);
            *state = device.state.min(device.wants).max(*state);
        }
        Ok(states)
    }

    /// Replaces what nodes say of the devices of these users.
    async fn write_claims(&mut self, changes: &[(&NewPresence, Option<&str>, Timestamp)]) -> Result<(), StorageError> {
        // Of several changes of a user in one batch the last one counts.
        let mut last = BTreeMap::new();
        for (change, node, now) in changes {
            if let Some(node) = node {
                last.insert((*node, change.user_sn), (&change.devices, *now));
            }
        }
        let owned: Vec<Vec<Value<'_>>> =
            last.keys().map(|(node, user_sn)| vec![(*user_sn).into(), (*node).into()]).collect();
        let rows = last.iter().flat_map(|((node, user_sn), (devices, now))| {
            devices.iter().map(move |device| -> Vec<Value<'_>> {
                let DevicePresence { device_sn, wants, state, asked_at } = *device;
                let device_sn = device_sn.map_or(NO_DEVICE, |device_sn| device_sn.0);
                let user_sn = *user_sn;
                vec![
                    user_sn.into(),
                    (*node).into(),
                    device_sn.into(),
                    wants.into(),
                    state.into(),
                    asked_at.into(),
                    (*now).into(),
                ]
            })
        });
        let rows: Vec<Vec<Value<'_>>> = rows.collect();
        let remove = "DELETE FROM presence_on_nodes WHERE (user_sn, node) IN \
                      (SELECT r.user_sn, r.node FROM ROWS(user_sn, node) r)";
        for owned in owned.chunks(ROWS_AT_ONCE) {
            self.execute_rows(remove, owned).await?;
        }
        let into = "presence_on_nodes (user_sn, node, device_sn, wants, state, asked_at, seen_at)";
        for rows in rows.chunks(ROWS_AT_ONCE) {
            self.insert_all(into, rows).await?;
        }
        Ok(())
    }

    /// No node says anything of a user any more.
    pub(super) async fn end_claims(&mut self, user_sn: UserSn) -> Result<(), StorageError> {
        if self.engine() == Engine::Sqlite {
            return Ok(());
        }
        self.execute("DELETE FROM presence_on_nodes WHERE user_sn = $1", params![user_sn]).await.map(drop)
    }

    /// A node repeats what it says of these users.
    pub(super) async fn repeat_claims(
        &mut self,
        users: &[i64],
        node: &str,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        if self.engine() == Engine::Sqlite {
            return Ok(());
        }
        let sql = "UPDATE presence_on_nodes SET seen_at = $3 WHERE user_sn IN LIST($1) AND node = $2";
        self.execute(sql, params![users, node, now]).await.map(drop)
    }
}

impl Database {
    /// Removes up to `limit` of what nodes have said that have not repeated it, or do not run any more, and of what says nothing. Returns of
    /// whom it was.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn remove_old_presence_claims(&self, now: Timestamp, limit: i64) -> Result<Vec<UserSn>, StorageError> {
        if self.engine() == Engine::Sqlite {
            return Ok(Vec::new());
        }
        let find = "SELECT DISTINCT user_sn, node FROM presence_on_nodes WHERE seen_at < $1 OR wants = 1 OR node NOT IN (\
                    SELECT SUBSTR(name, 6) FROM leases WHERE name LIKE 'node %' AND held_until > $2) LIMIT $3";
        let read = |row: &crate::Row<'_>| Ok((row.get::<UserSn>(0)?, row.get::<String>(1)?));
        let old = self.query(find, params![now.minus(GOOD_FOR), now, limit], read).await?;
        if old.is_empty() {
            return Ok(Vec::new());
        }
        let users = old.iter().map(|(user_sn, _)| *user_sn).collect();
        let sql = "DELETE FROM presence_on_nodes WHERE (user_sn, node) IN (SELECT r.user_sn, r.node FROM ROWS(user_sn, node) r)";
        self.write(async move |tx| {
            let rows: Vec<Vec<Value<'_>>> =
                old.iter().map(|(user_sn, node)| vec![(*user_sn).into(), node.into()]).collect();
            tx.execute_rows(sql, &rows).await
        })
        .await?;
        Ok(users)
    }

    /// This node, which stops, says nothing of anybody any more: the clients go to other nodes.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn end_presence_claims(&self) -> Result<(), StorageError> {
        if self.engine() == Engine::Sqlite {
            return Ok(());
        }
        let node = self.node().to_owned();
        let sql = "DELETE FROM presence_on_nodes WHERE node = $1";
        self.write(async move |tx| tx.execute(sql, params![&node]).await.map(drop)).await
    }
}
