//! How much one other server may ask for.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homeserver_core::Live;
use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};
use tasks::limits::{Limit, LimitSize, Permit, Unobserved};
use tokio::time::{Instant, sleep};

/// As many servers are known before those who have been quiet are forgotten.
const FEW_SERVERS: usize = 1_000;
/// Nobody waits longer than this for those of the same server that run.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The figures, with the meanings that Synapse gives them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerRate {
    /// The time in which requests are counted.
    pub window: Duration,
    /// Requests in that time before further ones are delayed.
    pub sleep_limit: usize,
    /// By how long.
    pub sleep_delay: Duration,
    /// Requests that wait before further ones are refused.
    pub reject_limit: usize,
    /// Requests that run at once.
    pub concurrent: NonZeroUsize,
}

/// A server asks for too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("Your server asks for too much at a time")]
pub struct TooMany {
    /// When it may ask again.
    pub retry_after: Duration,
}

/// Limits the requests of each server. Without a rate there is no limit.
pub struct ServerRates {
    rate: Live<Option<ServerRate>>,
    servers: Mutex<Servers>,
    refused: AtomicU64,
}

struct Servers {
    known: HashMap<OwnedServerName, Arc<Server>>,
    /// How many there may be before the quiet ones are looked for.
    many: usize,
}

/// One server.
struct Server {
    /// When the last requests came, up to one more than may come without a delay.
    lately: Mutex<VecDeque<Instant>>,
    /// Those who run, and wait for those.
    running: Arc<Limit>,
    /// Those who are delayed.
    delayed: Arc<Limit>,
}

/// A place among the requests of a server, free again when this is dropped.
#[must_use = "the place is free again when the admission is dropped"]
pub struct Admission {
    _running: Option<Permit>,
}

impl ServerRates {
    /// Limits by `rate`.
    #[must_use]
    pub fn new(rate: Option<ServerRate>) -> Self {
        let servers = Servers { known: HashMap::new(), many: FEW_SERVERS };
        Self { rate: Live::new(rate), servers: Mutex::new(servers), refused: AtomicU64::new(0) }
    }

    /// Limits by another rate from now on.
    pub fn reconfigure(&self, rate: Option<ServerRate>) {
        self.rate.replace(rate);
        for server in self.servers.lock().known.values() {
            if let Some(rate) = rate {
                server.running.resize(running(&rate));
                server.delayed.resize(delayed(&rate));
            }
        }
    }

    /// How many requests were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Lets a request in, at once or when it is its turn.
    ///
    /// # Errors
    /// [`TooMany`] if too many of the same server wait already.
    pub async fn admit(&self, server: &ServerName) -> Result<Admission, TooMany> {
        let Some(rate) = *self.rate.snapshot() else { return Ok(Admission { _running: None }) };
        let server = self.servers.lock().of(server, &rate);
        if server.is_over(&rate) {
            let place = server.delayed.enter().await.map_err(|_| self.refuse(&rate))?;
            sleep(rate.sleep_delay).await;
            drop(place);
        }
        let running = server.running.enter().await.map_err(|_| self.refuse(&rate))?;
        Ok(Admission { _running: Some(running) })
    }

    fn refuse(&self, rate: &ServerRate) -> TooMany {
        self.refused.fetch_add(1, Ordering::Relaxed);
        TooMany { retry_after: rate.window.max(Duration::from_millis(1)) }
    }
}

impl Servers {
    fn of(&mut self, name: &ServerName, rate: &ServerRate) -> Arc<Server> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        if self.known.len() >= self.many {
            self.known.retain(|_, server| !server.is_quiet(rate));
            self.many = FEW_SERVERS.max(2 * self.known.len());
        }
        let limit = |size| Arc::new(Limit::new("server", size, Arc::new(Unobserved)));
        let server = Server { lately: Mutex::default(), running: limit(running(rate)), delayed: limit(delayed(rate)) };
        self.known.entry(name.to_owned()).or_insert(Arc::new(server)).clone()
    }
}

impl Server {
    /// Counts a request; whether there were too many lately.
    fn is_over(&self, rate: &ServerRate) -> bool {
        let now = Instant::now();
        let mut lately = self.lately.lock();
        lately.push_back(now);
        while lately.len() > rate.sleep_limit.saturating_add(1)
            || lately.front().is_some_and(|at| now - *at > rate.window)
        {
            lately.pop_front();
        }
        lately.len() > rate.sleep_limit
    }

    fn is_quiet(&self, rate: &ServerRate) -> bool {
        let is_past = self.lately.lock().back().is_none_or(|at| at.elapsed() > rate.window);
        is_past && [&self.running, &self.delayed].iter().all(|limit| limit.running() + limit.waiting() == 0)
    }
}

fn running(rate: &ServerRate) -> LimitSize {
    LimitSize { running: rate.concurrent, waiting: rate.reject_limit, longest_wait: LONGEST_WAIT }
}

/// Whoever is delayed waits for nobody else: there is a place, or there is not.
fn delayed(rate: &ServerRate) -> LimitSize {
    let running = NonZeroUsize::new(rate.reject_limit).unwrap_or(NonZeroUsize::MIN);
    LimitSize { running, waiting: 0, longest_wait: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use ruma::server_name;

    use super::*;

    const RATE: ServerRate = ServerRate {
        window: Duration::from_secs(1),
        sleep_limit: 3,
        sleep_delay: Duration::from_millis(500),
        reject_limit: 2,
        concurrent: NonZeroUsize::new(2).unwrap(),
    };

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_much_is_delayed_and_then_refused_and_others_are_not() {
        let rates = ServerRates::new(Some(RATE));
        let (busy, quiet) = (server_name!("busy.example"), server_name!("quiet.example"));
        for _ in 0..3 {
            assert!(rates.admit(busy).now_or_never().is_some_and(|admitted| admitted.is_ok()), "at once");
        }
        let before = Instant::now();
        let (one, other, third) = tokio::join!(rates.admit(busy), rates.admit(busy), rates.admit(busy));
        assert!(one.is_ok() && other.is_ok());
        assert_eq!(before.elapsed(), RATE.sleep_delay);
        assert_eq!(third.err(), Some(TooMany { retry_after: RATE.window }));
        assert_eq!(rates.refused(), 1);
        assert!(rates.admit(quiet).now_or_never().is_some_and(|admitted| admitted.is_ok()));
        drop((one, other));
        sleep(Duration::from_millis(1_001)).await;
        assert!(rates.admit(busy).now_or_never().is_some_and(|admitted| admitted.is_ok()), "it was quiet for a while");
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_run_at_once_and_so_many_wait() {
        let rates = ServerRates::new(Some(ServerRate { sleep_limit: 100, ..RATE }));
        let server = server_name!("slow.example");
        let running = [rates.admit(server).await, rates.admit(server).await];
        let (mut third, mut fourth) = (Box::pin(rates.admit(server)), Box::pin(rates.admit(server)));
        assert!((&mut third).now_or_never().is_none() && (&mut fourth).now_or_never().is_none());
        assert!(rates.admit(server).await.is_err(), "two wait already");
        drop(running);
        assert!(third.await.is_ok() && fourth.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn rates_change_while_requests_run_and_can_be_none() {
        let rates = ServerRates::new(Some(RATE));
        let server = server_name!("a.example");
        let running = [rates.admit(server).await, rates.admit(server).await];
        let mut third = Box::pin(rates.admit(server));
        assert!((&mut third).now_or_never().is_none());
        rates.reconfigure(Some(ServerRate { concurrent: NonZeroUsize::new(3).unwrap(), ..RATE }));
        assert!(third.await.is_ok());
        rates.reconfigure(None);
        for _ in 0..100 {
            assert!(rates.admit(server).now_or_never().is_some_and(|admitted| admitted.is_ok()));
        }
        drop(running);
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_have_gone_are_forgotten() {
        let rates = ServerRates::new(Some(RATE));
        for number in 0..3 * FEW_SERVERS {
            if number % FEW_SERVERS == 0 {
                sleep(2 * RATE.window).await;
            }
            let name = ServerName::parse(format!("s{number}.example")).unwrap();
            drop(rates.admit(&name).await);
        }
        assert!(rates.servers.lock().known.len() <= FEW_SERVERS);
    }
}
