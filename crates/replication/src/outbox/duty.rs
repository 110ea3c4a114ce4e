//! One node sends, and writes down how far it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ruma::{OwnedServerName, ServerName};
use storage::{Engine, Lease, StorageError};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::Outbox;
use super::state::State;

/// The name of the lease.
const LEASE: &str = "outbox";
/// For how long the duty is taken, and how often that is renewed.
const HELD_FOR: Duration = Duration::from_secs(20);
const RENEW_AFTER: Duration = Duration::from_secs(5);
/// How often what is new is written down.
const WRITE_AFTER: Duration = Duration::from_secs(2);
/// How often destinations are looked for that are to be tried again, and how many are tried then.
const TICK: Duration = Duration::from_millis(500);
const TRIED_AT_ONCE: usize = 100;
/// At the beginning of the duty, destinations that are behind are tried within this time.
const SPREAD: Duration = Duration::from_secs(10);
/// The most destinations that are tried at the very beginning.
const FEW: usize = 100;

impl Outbox {
    /// Sends for as long as this node has the duty, and waits for it otherwise.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            match self.take_lease().await {
                Ok(Some(lease)) => self.hold(lease).await,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "it cannot be found out who sends to other servers"),
            }
            sleep(RENEW_AFTER).await;
        }
    }

    async fn take_lease(&self) -> Result<Option<Lease>, StorageError> {
        let (database, now) = (&self.parts.database, self.parts.clock.now());
        // There is one server on a SQLite database, and it need not wait for itself after a crash.
        let holder = match database.engine() {
            Engine::Sqlite => "this server",
            Engine::Postgres => database.node(),
        };
        database.take_lease(LEASE.to_owned(), holder.to_owned(), now, now.plus(HELD_FOR)).await
    }

    /// Sends until the duty has been lost.
    async fn hold(self: &Arc<Self>, lease: Lease) {
        let ended = CancellationToken::new();
        let _guard = ended.clone().drop_guard();
        if let Err(error) = self.begin(ended).await {
            tracing::warn!(%error, "it cannot be read how far other servers are");
            return;
        }
        tracing::debug!("this node sends to other servers");
        tokio::select! {
            () = self.renew(&lease) => {}
            () = self.follow() => {}
            () = self.try_again() => {}
            () = self.repeat() => {}
            () = self.listen() => {}
            () = self.write_down(&lease) => {}
        }
        *self.state.lock() = State::idle();
        tracing::info!("another node sends to other servers");
    }

    async fn begin(&self, ended: CancellationToken) -> Result<(), StorageError> {
        let database = &self.parts.database;
        let (head, behind) = (database.outbox_head().await?, database.destinations_behind().await?);
        let named = behind.into_iter().filter_map(|(name, at)| Some((ServerName::parse(name).ok()?, at)));
        let behind: Vec<(OwnedServerName, _)> = named.collect();
        let (now, count) = (self.parts.clock.now(), u32::try_from(behind.len().max(1)).unwrap_or(u32::MAX));
        let step = if behind.len() <= FEW { Duration::ZERO } else { SPREAD / count };
        let due = behind.iter().zip(0_u32..).map(|((server, _), number)| (now.plus(step * number), server.clone()));
        let due = due.collect();
        self.has_overlooked.store(true, Ordering::Release);
        let mut state = State::begin(ended, head, behind);
        state.due = due;
        *self.state.lock() = state;
        Ok(())
    }

    /// Ends when the duty has been lost.
    async fn renew(&self, lease: &Lease) {
        let mut since = self.parts.clock.now();
        loop {
            sleep(RENEW_AFTER).await;
            let now = self.parts.clock.now();
            match self.parts.database.renew_lease(lease.clone(), now.plus(HELD_FOR)).await {
                Ok(true) => since = now,
                Ok(false) => return,
                Err(error) if now.since(since) < HELD_FOR => {
                    tracing::warn!(%error, "the duty to send to other servers cannot be renewed");
                }
                Err(_) => return,
            }
        }
    }

    /// Tries destinations that are behind, when their time has come.
    async fn try_again(self: &Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let due = self.state.lock().due(self.parts.clock.now(), TRIED_AT_ONCE);
            due.into_iter().for_each(|server| self.spawn(server));
        }
    }

    /// Tries destinations that are behind, when they make a request themselves.
    async fn listen(self: &Arc<Self>) {
        let mut heard = self.parts.reachability.heard();
        loop {
            match heard.recv().await {
                Ok(server) => {
                    let is_idle = self.state.lock().serve_if_behind(&server);
                    if is_idle {
                        self.spawn(server);
                    }
                }
                // They are tried when their time has come.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }

    /// Writes down how far destinations are, for the time after this process.
    async fn write_down(&self, lease: &Lease) {
        loop {
            sleep(WRITE_AFTER).await;
            let Some(progress) = self.state.lock().unwritten() else { continue };
            match self.parts.database.store_outbox_progress(lease.clone(), progress.clone()).await {
                Ok(()) => {}
                Err(StorageError::LeaseLost(_)) => return,
                Err(error) => {
                    tracing::warn!(%error, "it cannot be written down how far other servers are");
                    self.state.lock().not_written(&progress);
                }
            }
        }
    }
}
