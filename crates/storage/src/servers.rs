//! Other servers: their numbers, their keys, and which of them are not reached.

use homeserver_core::Timestamp;

use crate::{Database, Row, StorageError, Tx, Value, params};

/// The keys that another server has published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredServerKeys {
    /// The server.
    pub server_name: String,
    /// The last signed document, as it was received.
    pub document: Vec<u8>,
    /// Keys of earlier documents that are not in it, as JSON, in the form of its `old_verify_keys`.
    pub dropped: String,
    /// When the document was received.
    pub fetched_at: Timestamp,
}

/// A server that was not reached when it was last asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailingServer {
    /// The server.
    pub server_name: String,
    /// How often in a row it was not reached.
    pub failures: i64,
    /// Since when.
    pub failing_since: Timestamp,
    /// When it may be asked again.
    pub next_attempt_at: Timestamp,
}

fn read_failing(row: &Row<'_>) -> Result<FailingServer, StorageError> {
    Ok(FailingServer {
        server_name: row.get(0)?,
        failures: row.get(1)?,
        failing_since: row.get(2)?,
        next_attempt_at: row.get(3)?,
    })
}

impl Database {
    /// The stored keys of those of these servers of which there are any.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn server_keys(&self, servers: &[String]) -> Result<Vec<StoredServerKeys>, StorageError> {
        let sql = "SELECT s.server_name, k.document, k.dropped, k.fetched_at FROM servers s \
                   JOIN server_keys k ON k.server_sn = s.server_sn WHERE s.server_name IN LIST($1)";
        let read = |row: &Row<'_>| {
            let (server_name, document) = (row.get(0)?, row.get(1)?);
            Ok(StoredServerKeys { server_name, document, dropped: row.get(2)?, fetched_at: row.get(3)? })
        };
        self.query(sql, params![servers], read).await
    }

    /// Stores keys of servers in place of older ones; of each server once.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn store_server_keys(&self, mut keys: Vec<StoredServerKeys>) -> Result<(), StorageError> {
        let sql = "INSERT INTO server_keys (server_sn, document, dropped, fetched_at) \
                   SELECT s.server_sn, r.document, r.dropped, r.fetched_at \
                   FROM ROWS(server_name, document, dropped, fetched_at) r JOIN servers s ON s.server_name = r.server_name \
                   WHERE TRUE ON CONFLICT (server_sn) DO UPDATE SET document = excluded.document, \
                   dropped = excluded.dropped, fetched_at = excluded.fetched_at \
                   WHERE excluded.fetched_at > server_keys.fetched_at";
        keys.sort_by(|one, other| one.server_name.cmp(&other.server_name));
        let store = async move |tx: &mut Tx| {
            tx.intern_servers(keys.iter().map(|keys| keys.server_name.as_str())).await?;
            let rows = keys.iter().map(|keys| {
                let (name, document) = (keys.server_name.as_str().into(), keys.document.as_slice().into());
                vec![name, document, keys.dropped.as_str().into(), keys.fetched_at.into()]
            });
            let rows: Vec<Vec<Value<'_>>> = rows.collect();
            tx.execute_rows(sql, &rows).await
        };
        self.write(store).await
    }

    /// What is known of a server that was not reached when it was last asked.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn failing_server(&self, server: &str) -> Result<Option<FailingServer>, StorageError> {
        let sql = "SELECT s.server_name, f.failures, f.failing_since, f.next_attempt_at FROM servers s \
                   JOIN failing_servers f ON f.server_sn = s.server_sn WHERE s.server_name = $1";
        self.query_optional(sql, params![server], read_failing).await
    }

    /// Notes that a server was not reached.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn store_failing_server(&self, failing: FailingServer) -> Result<(), StorageError> {
        let sql = "INSERT INTO failing_servers (server_sn, failures, failing_since, next_attempt_at) \
                   SELECT server_sn, $2, $3, $4 FROM servers WHERE server_name = $1 \
                   ON CONFLICT (server_sn) DO UPDATE SET failures = excluded.failures, \
                   failing_since = excluded.failing_since, next_attempt_at = excluded.next_attempt_at";
        let store = async move |tx: &mut Tx| {
            let FailingServer { server_name, failures, failing_since, next_attempt_at } = &failing;
            tx.intern_servers([server_name.as_str()].into_iter()).await?;
            tx.execute(sql, params![server_name, *failures, *failing_since, *next_attempt_at]).await.map(drop)
        };
        self.write(store).await
    }

    /// Notes that a server is reached again.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn remove_failing_server(&self, server: String) -> Result<(), StorageError> {
        let sql =
            "DELETE FROM failing_servers WHERE server_sn IN (SELECT server_sn FROM servers WHERE server_name = $1)";
        self.write(async move |tx| tx.execute(sql, params![&server]).await.map(drop)).await
    }
}

impl Tx {
    /// Gives numbers to the servers that have none. The names come in their order, so that processes that do this at once do not wait
    /// for each other in a circle.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn intern_servers(&mut self, names: impl Iterator<Item = &str>) -> Result<(), StorageError> {
        let rows: Vec<Vec<Value<'_>>> = names.map(|name| vec![name.into()]).collect();
        self.insert_all("servers (server_name) ON CONFLICT DO NOTHING", &rows).await
    }
}
