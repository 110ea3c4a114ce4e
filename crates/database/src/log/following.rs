//! Looks for what other processes have written.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::publisher::Publisher;
use crate::StorageError;
use crate::domain::Entry;
use crate::postgres_only::Listening;

/// How often the follower looks without being woken: on SQLite, where commands beside the server write, and on PostgreSQL in case a
/// wake-up was lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same while this node has no connection that wakes it.
const LOOK_EVERY_UNLESS_WOKEN: Duration = Duration::from_millis(100);
/// How long it may take until the other nodes know of one that has started. They wake only nodes that they know.
const UNKNOWN_FOR: Duration = Duration::from_secs(20);
/// How often the connection is tested.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// Pauses between attempts to listen: doubled from the first to the second.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Follows until `closing` is cancelled. `target` is where to listen, on PostgreSQL.
pub(crate) async fn follow<E: Entry>(
    publisher: Arc<Publisher<E>>,
    target: Option<PgConnectOptions>,
    closing: CancellationToken,
) {
    let following = async {
        match target {
            Some(target) => Follower::new(publisher).on_postgres(&target).await,
            None => Follower::new(publisher).on_sqlite().await,
        }
    };
    closing.run_until_cancelled(following).await;
}

struct Follower<E> {
    publisher: Arc<Publisher<E>>,
    started: Instant,
    /// Whether the last look failed, which is said once.
    is_failing: bool,
}

impl<E: Entry> Follower<E> {
    fn new(publisher: Arc<Publisher<E>>) -> Self {
        Self { publisher, started: Instant::now(), is_failing: false }
    }

    async fn on_sqlite(mut self) {
        loop {
            self.wait_for_bell(Instant::now() + LOOK_EVERY).await;
            self.look().await;
        }
    }

    async fn on_postgres(mut self, target: &PgConnectOptions) {
        let (first, longest) = RETRY_AFTER;
        let mut retry_after = first;
        loop {
            match Listening::begin(target).await {
                Ok(listening) => {
                    retry_after = first;
                    // What was written before this node listened.
                    self.look().await;
                    let error = self.woken_by(listening).await;
                    tracing::warn!(%error, "this server is not told what other ones write, and looks for it meanwhile");
                }
                Err(error) => tracing::debug!(%error, "this server is not told yet what other ones write"),
            }
            let retry_at = Instant::now() + retry_after;
            while Instant::now() < retry_at {
                self.look().await;
                self.wait_for_bell(Instant::now() + LOOK_EVERY_UNLESS_WOKEN).await;
            }
            retry_after = longest.min(retry_after * 2);
        }
    }

    /// Looks whenever another node has written, until the connection is lost.
    async fn woken_by(&mut self, mut listening: Listening) -> StorageError {
        let mut check_at = Instant::now() + CHECK_EVERY;
        loop {
            let is_known = self.started.elapsed() > UNKNOWN_FOR;
            let look_at = Instant::now() + if is_known { LOOK_EVERY } else { LOOK_EVERY_UNLESS_WOKEN };
            let is_news = loop {
                tokio::select! {
                    woken = listening.woken() => match woken {
                        Ok(node) if *node == **self.publisher.node() => {}
                        Ok(_) => break true,
                        Err(error) => return error,
                    },
                    () = self.publisher.bell.notified() => break true,
                    () = sleep(look_at.saturating_duration_since(Instant::now())) => break false,
                }
            };
            self.look().await;
            if !is_news && Instant::now() >= check_at {
                if let Err(error) = listening.check().await {
                    return error;
                }
                check_at = Instant::now() + CHECK_EVERY;
            }
        }
    }

    async fn wait_for_bell(&self, until: Instant) {
        // Whether the bell rang or the time is up, the follower looks next.
        let _ = timeout_at(until, self.publisher.bell.notified()).await;
    }

    async fn look(&mut self) {
        match self.publisher.follow().await {
            Ok(_) if self.is_failing => {
                tracing::info!("what other servers write can be read again");
                self.is_failing = false;
            }
            Ok(_) => {}
            Err(error) => {
                if !self.is_failing {
                    tracing::warn!(%error, "what other servers write cannot be read");
                }
                self.is_failing = true;
                sleep(LOOK_EVERY_UNLESS_WOKEN).await;
            }
        }
    }
}
