use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{MARK, POLL_INTERVAL, POSTGRES_PATIENCE, in_use};
use crate::{StorageError, postgres};

/// The first halves of the keys of the two locks; the second half is a hash of the schema, so that two servers in two schemas of one
/// database do not get into each other's way.
const SERVER: i32 = 0x7379_0001;
const WRITER: i32 = 0x7379_0002;

/// Settings by which PostgreSQL notices within about 11 seconds that whoever had a connection is gone without a word.
pub(crate) const KEEPALIVE: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

/// How often the connection that holds the lock is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// How long it may take to answer, or to be opened again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

const TRY: &str = "SELECT pg_try_advisory_lock($1, hashtext(COALESCE(current_schema()::text, '')))";
const UNLOCK: &str = "SELECT pg_advisory_unlock($1, hashtext(COALESCE(current_schema()::text, '')))";
const WHO_AM_I: &str = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()";
const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2";
const FIND_MARK: &str = "SELECT value FROM server_values WHERE name = $1";

/// A lock that a connection of its own holds.
pub(super) struct PostgresLock {
    fence: Arc<Fence>,
    released: CancellationToken,
    watching: Mutex<Option<JoinHandle<()>>>,
}

impl PostgresLock {
    pub(super) async fn take(
        target: PgConnectOptions,
        patience: Duration,
        connect_timeout: Duration,
        taken_over: CancellationToken,
    ) -> Result<Self, StorageError> {
        let target = target.application_name("synapse-rust lock").options(KEEPALIVE);
        let mut connection = postgres::first_connection(&target, connect_timeout).await?;
        let deadline = Instant::now() + patience;
        let mut has_told = false;
        while !try_both(&mut connection).await? {
            if Instant::now() >= deadline {
                return Err(in_use("another server"));
            }
            if !has_told {
                tracing::warn!("another server has this database: waiting {patience:?} at most for it to end");
                has_told = true;
            }
            sleep(POLL_INTERVAL).await;
        }
        let (fence, released) = (Arc::new(Fence::default()), CancellationToken::new());
        let held = Held { me: who(&mut connection).await?, connection };
        let watcher = Watcher { target, fence: fence.clone() };
        let watching = tokio::spawn(watcher.watch(held, released.clone(), taken_over));
        Ok(Self { fence, released, watching: Mutex::new(Some(watching)) })
    }

    pub(super) fn fence(&self) -> Arc<Fence> {
        self.fence.clone()
    }

    pub(super) async fn release(&self) {
        self.released.cancel();
        let watching = self.watching.lock().take();
        if let Some(watching) = watching {
            // It says itself what goes wrong.
            drop(watching.await);
        }
    }
}

impl Drop for PostgresLock {
    fn drop(&mut self) {
        self.released.cancel();
    }
}

/// Whether the connection has the server's lock now, and no other server writes any more.
async fn try_both(connection: &mut PgConnection) -> Result<bool, StorageError> {
    if !try_lock(connection, SERVER).await? {
        return Ok(false);
    }
    let is_free = try_lock(connection, WRITER).await?;
    let unlocked = if is_free { WRITER } else { SERVER };
    sqlx::query(UNLOCK).bind(unlocked).execute(connection).await?;
    Ok(is_free)
}

async fn try_lock(connection: &mut PgConnection, lock: i32) -> Result<bool, StorageError> {
    Ok(sqlx::query_scalar(TRY).bind(lock).fetch_one(connection).await?)
}

/// A connection as PostgreSQL knows it: the process ID, and when it began.
type Backend = (i32, String);

async fn who(connection: &mut PgConnection) -> Result<Backend, StorageError> {
    Ok(sqlx::query_as(WHO_AM_I).fetch_one(connection).await?)
}

/// Ends a former connection of this process that PostgreSQL has not noticed to be gone.
async fn end(connection: &mut PgConnection, former: &Backend) {
    let ended = sqlx::query(END).bind(former.0).bind(&former.1).execute(connection).await;
    if let Err(error) = ended {
        tracing::debug!(%error, "a former connection to the database could not be ended");
    }
}

async fn in_time<T>(asking: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
    timeout(ANSWER_TIMEOUT, asking).await.unwrap_or_else(|_| Err(postgres::no_answer("no answer", ANSWER_TIMEOUT)))
}

/// What the writer's connection holds: while it does, no other server writes.
#[derive(Default)]
pub(crate) struct Fence {
    /// What this server has left in the database when it started.
    mark: Mutex<Option<String>>,
    /// The writer's last connection.
    last: Mutex<Option<Backend>>,
}

impl Fence {
    pub(super) fn marked(&self, mark: String) {
        *self.mark.lock() = Some(mark);
    }

    /// Has a new connection of the writer hold the lock, before anything is written by it.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if another server writes, or has written since this one started.
    pub(crate) async fn enter(&self, connection: &mut PgConnection) -> Result<(), StorageError> {
        if !try_lock(connection, WRITER).await? {
            let former = self.last.lock().clone();
            if let Some(former) = former {
                end(connection, &former).await;
            }
            let deadline = Instant::now() + ANSWER_TIMEOUT / 4;
            while !try_lock(connection, WRITER).await? {
                if Instant::now() >= deadline {
                    return Err(StorageError::Unavailable("another server writes to it".to_owned()));
                }
                sleep(POLL_INTERVAL).await;
            }
        }
        if !self.is_ours(connection).await? {
            return Err(StorageError::Unavailable("another server has taken it over".to_owned()));
        }
        let backend = who(connection).await?;
        *self.last.lock() = Some(backend);
        Ok(())
    }

    /// Whether no other server has started on the database since this one did.
    async fn is_ours(&self, connection: &mut PgConnection) -> Result<bool, StorageError> {
        let Some(mark) = self.mark.lock().clone() else { return Ok(true) };
        let found: Option<String> = sqlx::query_scalar(FIND_MARK).bind(MARK).fetch_optional(connection).await?;
        Ok(found == Some(mark))
    }
}

struct Held {
    connection: PgConnection,
    me: Backend,
}

/// Sees to it that the lock is held, as long as it is not released.
struct Watcher {
    target: PgConnectOptions,
    fence: Arc<Fence>,
}

impl Watcher {
    async fn watch(self, mut held: Held, released: CancellationToken, taken_over: CancellationToken) {
        let watching = async {
            loop {
                sleep(WATCH_INTERVAL).await;
                if let Err(error) = in_time(async { Ok(held.connection.ping().await?) }).await {
                    tracing::warn!(%error, "the connection that holds the server's lock is lost");
                    match self.take_again(held.me.clone()).await {
                        Some(again) => held = again,
                        None => return,
                    }
                    tracing::info!("this server has its lock again");
                }
            }
        };
        if released.run_until_cancelled(watching).await.is_some() {
            tracing::error!("another server has taken over the database; this one stops");
            taken_over.cancel();
            return;
        }
        if let Err(error) = in_time(async { Ok(held.connection.close().await?) }).await {
            tracing::debug!(%error, "the connection that holds the server's lock was not closed in order");
        }
    }

    /// The lock, on a new connection; `None` if another server has it or had it meanwhile. As long as the database cannot be
    /// reached nobody has it.
    async fn take_again(&self, former: Backend) -> Option<Held> {
        let mut deadline = None;
        loop {
            match in_time(self.try_again(&former)).await {
                Ok(Attempt::Held(held)) => return Some(held),
                Ok(Attempt::TakenOver) => return None,
                Ok(Attempt::NotFree) => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + POSTGRES_PATIENCE);
                    if Instant::now() >= deadline {
                        return None;
                    }
                }
                Err(error) => tracing::debug!(%error, "the server's lock cannot be taken again yet"),
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn try_again(&self, former: &Backend) -> Result<Attempt, StorageError> {
        let mut connection = PgConnection::connect_with(&self.target).await?;
        if !try_lock(&mut connection, SERVER).await? {
            // It may be held by the connection that was lost.
            end(&mut connection, former).await;
            return Ok(Attempt::NotFree);
        }
        if !self.fence.is_ours(&mut connection).await? {
            return Ok(Attempt::TakenOver);
        }
        let me = who(&mut connection).await?;
        Ok(Attempt::Held(Held { connection, me }))
    }
}

enum Attempt {
    Held(Held),
    NotFree,
    TakenOver,
}
