//! Removing what is of no use any more, a little at a time: what to remove is found by reading, so that the writer is
//! needed for no more than the removal.

use std::collections::BTreeSet;

use homeserver_core::{DeviceSn, Position, Timestamp, UserSn};

use crate::tokens::TokenHash;
use crate::{Database, StorageError, params};

/// What one step has looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Swept<K> {
    /// Where the next step goes on; `None` at the end.
    pub next: Option<K>,
    /// What was removed.
    pub removed: u64,
}

impl Database {
    /// Removes those of the next `limit` access tokens after `after` that expired before `expired_before` and cannot be
    /// refreshed. One that can is kept: its client is to learn that it may refresh it.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn sweep_access_tokens(
        &self,
        after: &[u8],
        expired_before: Timestamp,
        limit: i64,
    ) -> Result<Swept<Vec<u8>>, StorageError> {
        let sql = "SELECT t.token_hash, CASE WHEN t.expires_at < $2 AND r.token_hash IS NULL THEN TRUE ELSE FALSE END \
                   FROM access_tokens t LEFT JOIN refresh_tokens r ON r.token_hash = t.refresh_hash \
                   WHERE t.token_hash > $1 ORDER BY t.token_hash LIMIT $3";
        let read = |row: &crate::Row<'_>| Ok((row.get::<Vec<u8>>(0)?, row.get::<bool>(1)?));
        let found = self.query(sql, params![after, expired_before, limit], read).await?;
        let next = next_after(&found, limit, |(hash, _)| hash.clone());
        let dead: Vec<Vec<u8>> = found.into_iter().filter(|(_, is_dead)| *is_dead).map(|(hash, _)| hash).collect();
        if dead.is_empty() {
            return Ok(Swept { next, removed: 0 });
        }
        let sql = "DELETE FROM access_tokens WHERE token_hash IN BLOBS($1) AND expires_at < $2 AND NOT EXISTS \
                   (SELECT 1 FROM refresh_tokens r WHERE r.token_hash = access_tokens.refresh_hash)";
        let delete = async move |tx: &mut crate::Tx| {
            let dead: Vec<&[u8]> = dead.iter().map(Vec::as_slice).collect();
            tx.execute(sql, params![&dead, expired_before]).await
        };
        Ok(Swept { next, removed: self.write(delete).await? })
    }

    /// Removes registration tokens that expired before `expired_before`, or that were used as often as they may be.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_spent_registration_tokens(
        &self,
        expired_before: Timestamp,
        limit: i64,
    ) -> Result<u64, StorageError> {
        let find = "SELECT token FROM registration_tokens WHERE expires_at < $1 \
                    OR (uses_completed >= uses_allowed AND uses_pending = 0) LIMIT $2";
        let found: Vec<String> = self.query(find, params![expired_before, limit], |row| row.get(0)).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let sql = "DELETE FROM registration_tokens WHERE token IN LIST($1) \
                   AND (expires_at < $2 OR (uses_completed >= uses_allowed AND uses_pending = 0))";
        self.write(async move |tx| tx.execute(sql, params![&found, expired_before]).await).await
    }

    /// Ends sessions of user-interactive authentication that were opened before `opened_before`.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_old_uia_sessions(&self, opened_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT session_id FROM uia_sessions WHERE created_at < $1 ORDER BY created_at LIMIT $2";
        let found: Vec<String> = self.query(find, params![opened_before, limit], |row| row.get(0)).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let sql = "DELETE FROM uia_sessions WHERE session_id IN LIST($1)";
        self.write(async move |tx| tx.execute(sql, params![&found]).await).await
    }

    /// Forgets the transaction IDs of the oldest events that were sent with one, if they were sent before `sent_before`.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_old_transactions(&self, sent_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT t.event_sn, COALESCE(e.origin_server_ts, 0) FROM client_transactions t \
                    LEFT JOIN events e ON e.event_sn = t.event_sn ORDER BY t.event_sn LIMIT $1";
        let read = |row: &crate::Row<'_>| Ok((row.get::<i64>(0)?, row.get::<Timestamp>(1)?));
        let found = self.query(find, params![limit], read).await?;
        // Events are numbered in the order in which they came: the first one that is young enough ends it.
        let old: Vec<i64> =
            found.into_iter().take_while(|(_, sent_at)| *sent_at < sent_before).map(|(event_sn, _)| event_sn).collect();
        if old.is_empty() {
            return Ok(0);
        }
        let sql = "DELETE FROM client_transactions WHERE event_sn IN LIST($1)";
        self.write(async move |tx| tx.execute(sql, params![&old]).await).await
    }

    /// Removes the oldest keys of servers that were fetched before `fetched_before`, of servers that never shared a room with this one.
    /// What others have signed in rooms can be checked again without asking them.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_keys_of_strangers(&self, fetched_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT k.server_sn FROM server_keys k WHERE k.fetched_at < $1 AND NOT EXISTS \
                    (SELECT 1 FROM room_servers r WHERE r.server_sn = k.server_sn) ORDER BY k.fetched_at LIMIT $2";
        let found: Vec<i64> = self.query(find, params![fetched_before, limit], |row| row.get(0)).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let sql = "DELETE FROM server_keys WHERE server_sn IN LIST($1) AND fetched_at < $2";
        self.write(async move |tx| tx.execute(sql, params![&found, fetched_before]).await).await
    }

    /// Forgets the oldest events that were passed on for other servers, once all servers have them that were reached after `failing_since`.
    /// The others ask for what they miss when they are back.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_forwarded_events(&self, failing_since: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let behind = "SELECT MIN(d.sent_up_to) FROM destinations d LEFT JOIN failing_servers f ON f.server_sn = d.server_sn \
                      WHERE f.failing_since IS NULL OR f.failing_since >= $1";
        let head = self.outbox_head().await?;
        let behind: Option<Option<Position>> =
            self.query_optional(behind, params![failing_since], |row| row.get(0)).await?;
        let all_have = behind.flatten().map_or(head, |behind| behind.min(head));
        let sql = "DELETE FROM forwarded_events WHERE position IN \
                   (SELECT position FROM forwarded_events WHERE position <= $1 ORDER BY position LIMIT $2)";
        self.write(async move |tx| tx.execute(sql, params![all_have, limit]).await).await
    }

    /// Deletes those of the next `limit` devices after `after` that were not used since `unseen_since`, with their tokens.
    /// Returns the hashes of the access tokens, too.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn sweep_unseen_devices(
        &self,
        after: DeviceSn,
        unseen_since: Timestamp,
        limit: i64,
    ) -> Result<(Swept<DeviceSn>, Vec<TokenHash>), StorageError> {
        // A device that is kept for clients to come is not used until then.
        let sql = "SELECT device_sn, COALESCE(last_seen_at, created_at), CASE WHEN EXISTS (SELECT 1 \
                   FROM dehydrated_devices h WHERE h.device_sn = devices.device_sn) THEN TRUE ELSE FALSE END \
                   FROM devices WHERE device_sn > $1 ORDER BY device_sn LIMIT $2";
        let read = |row: &crate::Row<'_>| Ok((row.get::<DeviceSn>(0)?, row.get::<Timestamp>(1)?, row.get::<bool>(2)?));
        let found = self.query(sql, params![after, limit], read).await?;
        let next = next_after(&found, limit, |(device_sn, ..)| *device_sn);
        let unseen: Vec<i64> = found
            .into_iter()
            .filter(|(_, seen_at, is_kept)| *seen_at < unseen_since && !is_kept)
            .map(|(device_sn, ..)| device_sn.0)
            .collect();
        if unseen.is_empty() {
            return Ok((Swept { next, removed: 0 }, Vec::new()));
        }
        let still = "SELECT device_sn, user_sn FROM devices WHERE device_sn IN LIST($1) AND COALESCE(last_seen_at, created_at) < $2 FOR_UPDATE";
        let (removed, revoked) = self
            .write(async move |tx| {
                // The log is locked before the rows of an account, on every node.
                tx.hold_log().await?;
                let read = |row: &crate::Row<'_>| Ok((row.get::<i64>(0)?, row.get::<UserSn>(1)?));
                let unseen = tx.query(still, params![&unseen, unseen_since], read).await?;
                let (unseen, users): (Vec<i64>, BTreeSet<UserSn>) = unseen.into_iter().unzip();
                for user_sn in users {
                    tx.note_account_change(user_sn).await?;
                }
                Ok((unseen.len() as u64, tx.delete_devices(&unseen).await?))
            })
            .await?;
        Ok((Swept { next, removed }, revoked))
    }
}

fn next_after<T, K>(found: &[T], limit: i64, key: impl Fn(&T) -> K) -> Option<K> {
    let is_full = i64::try_from(found.len()).is_ok_and(|found| found >= limit);
    found.last().filter(|_| is_full).map(key)
}
