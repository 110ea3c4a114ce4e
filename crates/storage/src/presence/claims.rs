//! What each node says of the users whose clients it serves. A user is there for others as the node says that says most.
//!
//! The clients of a user may be at several nodes, and one client may go from one to another. A node for which a user has gone does not
//! know of the others: it takes back what it has said, and what others say stays. On SQLite there is one node, and nothing of
//! this is written.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use database::ROWS_AT_ONCE;
use homeserver_core::{Timestamp, UserSn};

use super::{NewPresence, PresenceState};
use crate::{Database, Engine, StorageError, Tx, Value, params};

/// How long a claim of a node counts that it does not repeat.
const GOOD_FOR: Duration = Duration::from_secs(15 * 60);

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
        let sql = "SELECT user_sn, MAX(state) FROM presence_on_nodes WHERE user_sn IN LIST($1) AND seen_at >= $2 \
                   GROUP BY user_sn";
        let read = |row: &crate::Row<'_>| Ok((row.get::<UserSn>(0)?, row.get::<PresenceState>(1)?));
        let said = self.query(sql, params![&users, now.minus(GOOD_FOR)], read).await?;
        let said: HashMap<UserSn, PresenceState> = said.into_iter().collect();
        let told = changes.iter().map(|(change, node, now)| {
            let said = said.get(&change.user_sn).copied().unwrap_or(PresenceState::Offline);
            // Of a node's own word there is a row.
            let state = if node.is_some() { said } else { said.max(change.state) };
            (NewPresence { state, ..(*change).clone() }, *now)
        });
        Ok(told.collect())
    }

    async fn write_claims(&mut self, changes: &[(&NewPresence, Option<&str>, Timestamp)]) -> Result<(), StorageError> {
        let mut last = BTreeMap::new();
        for (change, node, now) in changes {
            if let Some(node) = node {
                last.insert((change.user_sn, *node), (change.state, *now));
            }
        }
        let rows = last.into_iter().map(|((user_sn, node), (state, now))| {
            let row: Vec<Value<'_>> = vec![user_sn.into(), node.into(), state.into(), now.into()];
            row
        });
        let into = "presence_on_nodes (user_sn, node, state, seen_at) ON CONFLICT (user_sn, node) \
                    DO UPDATE SET state = excluded.state, seen_at = excluded.seen_at";
        for rows in rows.collect::<Vec<_>>().chunks(ROWS_AT_ONCE) {
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
        let find = "SELECT user_sn, node FROM presence_on_nodes WHERE seen_at < $1 OR state = 1 OR node NOT IN (\
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
