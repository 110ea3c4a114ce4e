//! What only PostgreSQL itself has, of all databases that speak its protocol.
//!
//! Everything else is plain SQL. To replace PostgreSQL by another database that speaks its protocol, replace these:
//!
//! | what | what for | without it |
//! |---|---|---|
//! | `LISTEN`, `NOTIFY` | wakes the other nodes at a commit | they look for what is new by themselves, ten times a second |
//! | advisory locks | one node at a time changes the schema, and none while a server of an earlier version runs | nodes are to be upgraded one after the other |
//!
//! Rows that are locked (`FOR UPDATE`, `SKIP LOCKED`), arrays as parameters (`UNNEST`) and partial indexes are not here: others have them.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{Executor as _, PgConnection};
use tokio::time::timeout;

use crate::StorageError;
use crate::postgres::{no_answer, quoted};

/// The channel on which nodes wake each other. All schemas of a database share it: a node may be woken in vain.
const CHANNEL: &str = "synapse_rust_log";

/// The lock that keeps two nodes from changing the schema at once.
const MIGRATION_LOCK: i64 = 0x7379_6e61;
/// The first halves of the keys of the locks that a server of an earlier version holds, which does not write down what it does. The
/// second half is a hash of the schema.
const EARLIER_SERVER: [i32; 2] = [0x7379_0001, 0x7379_0002];

const TRY_EARLIER: &str = "SELECT pg_try_advisory_xact_lock($1, hashtext(COALESCE(current_schema()::text, '')))";

/// How long the connection that listens may take to be made, or to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// The statement that wakes all nodes at the commit, and says which one has written.
pub(crate) fn notify(node: &str) -> String {
    format!("NOTIFY {CHANNEL}, {}", quoted(node))
}

/// The connection on which a node is woken.
pub(crate) struct Listening(PgListener);

impl Listening {
    /// Begins to listen.
    pub(crate) async fn begin(target: &PgConnectOptions) -> Result<Self, StorageError> {
        let target = target.clone().application_name("synapse-rust listener");
        let begin = async {
            // Of one connection: it is needed for as long as the node runs.
            let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
            let pool = pool.acquire_timeout(ANSWER_TIMEOUT).connect_with(target).await?;
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(Self(listener))
        };
        timeout(ANSWER_TIMEOUT, begin).await.unwrap_or_else(|_| Err(no_answer("no answer", ANSWER_TIMEOUT)))
    }

    /// Waits until a node has written, and tells which one.
    ///
    /// # Errors
    /// [`StorageError`] if the connection is lost: what was written meanwhile has to be looked for.
    pub(crate) async fn woken(&mut self) -> Result<Box<str>, StorageError> {
        let notification = self.0.try_recv().await?;
        let lost = || StorageError::Unavailable("the connection that listens is lost".to_owned());
        Ok(notification.ok_or_else(lost)?.payload().into())
    }

    /// Fails if the connection is lost. A network that swallows packets breaks none by itself.
    pub(crate) async fn check(&mut self) -> Result<(), StorageError> {
        let asked = timeout(ANSWER_TIMEOUT, self.0.execute("SELECT 1")).await;
        asked.map_err(|_| no_answer("no answer", ANSWER_TIMEOUT))??;
        Ok(())
    }
}

/// Keeps other nodes from changing the schema until the transaction of `connection` ends.
pub(crate) async fn lock_migrations(connection: &mut PgConnection) -> Result<(), StorageError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK).execute(connection).await?;
    Ok(())
}

/// Whether a server of an earlier version, beside which no other one may run, has the database. If not, none gets it until the transaction
/// of `connection` ends.
pub(crate) async fn has_earlier_server(connection: &mut PgConnection) -> Result<bool, StorageError> {
    for lock in EARLIER_SERVER {
        let is_free: bool = sqlx::query_scalar(TRY_EARLIER).bind(lock).fetch_one(&mut *connection).await?;
        if !is_free {
            return Ok(true);
        }
    }
    Ok(false)
}
