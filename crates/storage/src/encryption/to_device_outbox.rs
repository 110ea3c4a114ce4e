//! Messages to devices of users of other servers, which wait until the server has acknowledged them.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use homeserver_core::{Position, ServerSn};

use crate::{Database, Row, StorageError, Tx, Value, params};

/// What waits for a server.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ServerQueue {
    /// How many EDUs.
    pub messages: i64,
    /// How many bytes of all together.
    pub bytes: i64,
}

/// An EDU for another server.
#[derive(Clone, Debug)]
pub struct ToDeviceForServer {
    /// The server.
    pub server_sn: ServerSn,
    /// The EDU as it is sent: `edu_type` and `content`.
    pub edu: Bytes,
}

impl Database {
    /// What waits for some servers; nothing waits for those that are left out.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn to_device_server_queues(
        &self,
        servers: &[i64],
    ) -> Result<HashMap<ServerSn, ServerQueue>, StorageError> {
        let sql = "SELECT server_sn, messages, bytes FROM to_device_outbox_queues WHERE server_sn IN LIST($1)";
        let read = |row: &Row<'_>| Ok((row.get(0)?, ServerQueue { messages: row.get(1)?, bytes: row.get(2)? }));
        Ok(self.query(sql, params![servers], read).await?.into_iter().collect())
    }

    /// The servers for which messages wait that were sent after `after` and up to `until`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn servers_with_to_device(
        &self,
        after: Position,
        until: Position,
    ) -> Result<Vec<ServerSn>, StorageError> {
        let sql = "SELECT DISTINCT server_sn FROM to_device_outbox WHERE position > $1 AND position <= $2";
        self.query(sql, params![after, until], |row| row.get(0)).await
    }

    /// The first `limit` EDUs that wait for a server, the oldest first, with the position of each.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn to_device_for_server(
        &self,
        server_sn: ServerSn,
        limit: i64,
    ) -> Result<Vec<(Position, Bytes)>, StorageError> {
        let sql = "SELECT position, edu FROM to_device_outbox WHERE server_sn = $1 ORDER BY position LIMIT $2";
        self.query(sql, params![server_sn, limit], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// A server has acknowledged all that was sent up to `until`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn remove_to_device_for_server(&self, server_sn: ServerSn, until: Position) -> Result<(), StorageError> {
        let delete = "DELETE FROM to_device_outbox WHERE server_sn = $1 AND position <= $2 \
                      RETURNING CAST(LENGTH(edu) AS BIGINT)";
        let count =
            "UPDATE to_device_outbox_queues SET messages = messages - $2, bytes = bytes - $3 WHERE server_sn = $1";
        self.write(async move |tx| {
            // What is sent is counted under the same lock.
            tx.hold_log().await?;
            let removed: Vec<i64> = tx.query(delete, params![server_sn, until], |row| row.get(0)).await?;
            let messages = i64::try_from(removed.len()).unwrap_or(i64::MAX);
            tx.execute(count, params![server_sn, messages, removed.iter().sum::<i64>()]).await.map(drop)
        })
        .await
    }
}

/// Writes EDUs for other servers, each at the position of its request. The log is held.
pub(super) async fn write(tx: &mut Tx, edus: &[(Position, &ToDeviceForServer)]) -> Result<(), StorageError> {
    if edus.is_empty() {
        return Ok(());
    }
    let mut queues: BTreeMap<ServerSn, (i64, i64)> = BTreeMap::new();
    let mut rows: Vec<Vec<Value<'_>>> = Vec::with_capacity(edus.len());
    for (position, ToDeviceForServer { server_sn, edu }) in edus {
        rows.push(vec![(*server_sn).into(), (*position).into(), edu.into()]);
        let (messages, bytes) = queues.entry(*server_sn).or_default();
        *messages += 1;
        *bytes += i64::try_from(edu.len()).unwrap_or(i64::MAX);
    }
    tx.insert_all("to_device_outbox (server_sn, position, edu)", &rows).await?;
    let rows = queues.into_iter().map(|(server_sn, (messages, bytes))| -> Vec<Value<'_>> {
        vec![server_sn.into(), messages.into(), bytes.into()]
    });
    let into = "to_device_outbox_queues (server_sn, messages, bytes) ON CONFLICT (server_sn) DO UPDATE SET \
                messages = to_device_outbox_queues.messages + excluded.messages, \
                bytes = to_device_outbox_queues.bytes + excluded.bytes";
    tx.insert_all(into, &rows.collect::<Vec<_>>()).await
}
