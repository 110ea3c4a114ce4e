//! Which servers are not reached, and when they may be asked again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use homeserver_core::{Clock, Timestamp};
use parking_lot::Mutex;
use rand::Rng as _;
use ruma::{OwnedServerName, ServerName};
use storage::{Database, FailingServer};
use tokio::sync::broadcast;

/// The most servers that are kept in memory.
const MAX_SERVERS: usize = 100_000;
/// What other nodes know of a server is read again after this.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The pause after the second failure in a row, which doubles with each further one. After the first there is none.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Pauses are no longer than this, or a quarter of the time for which the server has not been reached.
const LONG_PAUSE: Duration = Duration::from_hours(1);
/// But never longer than this.
const LONGEST_PAUSE: Duration = Duration::from_hours(24);
/// While one request finds out whether a server is back, others are refused for so long.
const PROBE: Duration = Duration::from_secs(30);
/// Requests that a person waits for may try a failing server so often.
const INSISTENCE: Duration = Duration::from_secs(30);
/// Servers that were heard of and that nobody has taken notice of yet.
const HEARD_WAITING: usize = 1_024;

/// Which servers are not reached. All who ask servers share it, and through the database all nodes.
///
/// After two failures in a row a server is left alone for a while, which grows. It is asked again at the end of it, or once it makes a
/// request itself.
pub struct Reachability {
    database: Database,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<OwnedServerName, Record>>,
    heard: broadcast::Sender<OwnedServerName>,
}

/// What is known of one server.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// How often in a row it was not reached; 0 if it was.
    failures: u32,
    failing_since: Timestamp,
    next_attempt_at: Timestamp,
    last_failed_at: Timestamp,
    /// When a request that insists was let through.
    insisted_at: Timestamp,
    /// When the database was last looked at.
    read_at: Timestamp,
}

/// How much a request wants to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// It waits, or is left.
    Patient,
    /// A person waits for it: a failing server is tried once in a while.
    Insistent,
}

impl Record {
    fn reached(now: Timestamp) -> Self {
        let never = Timestamp(0);
        Self {
            failures: 0,
            failing_since: never,
            next_attempt_at: never,
            last_failed_at: never,
            insisted_at: never,
            read_at: now,
        }
    }

    fn is_paused(&self, now: Timestamp) -> bool {
        self.failures > 0 && now < self.next_attempt_at
    }
}

impl Reachability {
    /// Keeps what it knows in `database`.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock, known: Mutex::default(), heard: broadcast::Sender::new(HEARD_WAITING) }
    }

    /// Failing servers that have made a request, so that it may be worth while to ask them.
    #[must_use]
    pub fn heard(&self) -> broadcast::Receiver<OwnedServerName> {
        self.heard.subscribe()
    }

    /// The time by which pauses go.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How many servers are left alone at the moment, as far as this node knows.
    #[must_use]
    pub fn paused(&self) -> usize {
        let now = self.clock.now();
        self.known.lock().values().filter(|record| record.is_paused(now)).count()
    }

    /// Until when a server is left alone; `None` if it may be asked now.
    pub async fn paused_until(&self, server: &ServerName) -> Option<Timestamp> {
        let record = self.record(server).await;
        record.is_paused(self.clock.now()).then_some(record.next_attempt_at)
    }

    /// Whether a server may be asked. Of a failing one, one request at a time finds out whether it is back.
    pub(crate) async fn may_ask(&self, server: &ServerName, urgency: Urgency) -> bool {
        self.record(server).await;
        let now = self.clock.now();
        let mut known = self.known.lock();
        let Some(record) = known.get_mut(server) else { return true };
        if record.is_paused(now) {
            let may_insist = urgency == Urgency::Insistent && now.since(record.insisted_at) >= INSISTENCE;
            if may_insist {
                record.insisted_at = now;
            }
            return may_insist;
        }
        if record.failures > 1 {
            record.next_attempt_at = now.plus(PROBE);
        }
        true
    }

    /// A server has answered.
    pub(crate) async fn reached(&self, server: &ServerName) {
        let now = self.clock.now();
        let was_failing = {
            let mut known = self.known.lock();
            known.get_mut(server).is_some_and(|record| std::mem::replace(record, Record::reached(now)).failures > 0)
        };
        if was_failing && let Err(error) = self.database.remove_failing_server(server.to_string()).await {
            tracing::warn!(%server, %error, "it cannot be stored that a server is reached again");
        }
    }

    /// A request that began at `began` has not reached a server.
    pub async fn missed(&self, server: &ServerName, began: Timestamp) {
        let now = self.clock.now();
        let failing = {
            let mut known = self.known.lock();
            make_room(&mut known, now);
            let record = known.entry(server.to_owned()).or_insert_with(|| Record::reached(now));
            // Requests that ran at the same time are one failure.
            if record.failures > 0 && record.last_failed_at >= began {
                return;
            }
            if record.failures == 0 {
                record.failing_since = now;
            }
            record.failures = record.failures.saturating_add(1);
            record.last_failed_at = now;
            let pause = pause(record.failures, now.since(record.failing_since));
            record.next_attempt_at = now.plus(pause.mul_f64(rand::rng().random_range(0.75..1.25)));
            FailingServer {
                server_name: server.to_string(),
                failures: record.failures.into(),
                failing_since: record.failing_since,
                next_attempt_at: record.next_attempt_at,
            }
        };
        self.store(failing).await;
    }

    /// A server has proved that it is there, by a request of its own: it may be asked at once.
    pub(crate) async fn heard_from(&self, server: &ServerName) {
        if self.record(server).await.failures == 0 {
            return;
        }
        let now = self.clock.now();
        let failing = {
            let mut known = self.known.lock();
            let Some(record) = known.get_mut(server).filter(|record| record.is_paused(now)) else { return };
            record.next_attempt_at = now;
            FailingServer {
                server_name: server.to_string(),
                failures: record.failures.into(),
                failing_since: record.failing_since,
                next_attempt_at: now,
            }
        };
        self.store(failing).await;
        // Nobody may be listening.
        drop(self.heard.send(server.to_owned()));
    }

    /// For how long a failing server is left alone, but for chance.
    #[must_use]
    pub fn pause_of(failing: &FailingServer) -> Duration {
        let failing_for = failing.next_attempt_at.since(failing.failing_since);
        pause(u32::try_from(failing.failures).unwrap_or(u32::MAX), failing_for)
    }

    /// Lets a server be asked at once, as if it had never failed.
    pub async fn forgive(&self, server: &ServerName) {
        self.record(server).await;
        self.reached(server).await;
        drop(self.heard.send(server.to_owned()));
    }

    async fn store(&self, failing: FailingServer) {
        if let Err(error) = self.database.store_failing_server(failing).await {
            tracing::warn!(%error, "it cannot be stored that a server is not reached");
        }
    }

    /// What is known of a server, from memory or, now and then, from the database, where other nodes write too.
    async fn record(&self, server: &ServerName) -> Record {
        let now = self.clock.now();
        let known = self.known.lock().get(server).copied();
        if let Some(record) =
            known.filter(|record| now >= record.read_at && now.since(record.read_at) < READ_AGAIN_AFTER)
        {
            return record;
        }
        let stored = match self.database.failing_server(server.as_str()).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(%server, %error, "it cannot be read whether a server is reached");
                return known.unwrap_or_else(|| Record::reached(now));
            }
        };
        let insisted_at = known.map_or(Timestamp(0), |record| record.insisted_at);
        let record = stored.map_or_else(
            || Record::reached(now),
            |stored| Record {
                failures: u32::try_from(stored.failures).unwrap_or(u32::MAX),
                failing_since: stored.failing_since,
                next_attempt_at: stored.next_attempt_at,
                last_failed_at: known.map_or(stored.failing_since, |record| record.last_failed_at),
                insisted_at,
                read_at: now,
            },
        );
        let mut known = self.known.lock();
        make_room(&mut known, now);
        known.insert(server.to_owned(), record);
        record
    }
}

/// Keeps at most [`MAX_SERVERS`]: forgets the servers whose pause is over, and all servers if that is not enough.
fn make_room(known: &mut HashMap<OwnedServerName, Record>, now: Timestamp) {
    if known.len() < MAX_SERVERS {
        return;
    }
    known.retain(|_, record| record.is_paused(now));
    if known.len() >= MAX_SERVERS {
        known.clear();
    }
}

/// How long a server is left alone that was not reached so often in a row, for so long.
fn pause(failures: u32, failing_for: Duration) -> Duration {
    let Some(doublings) = failures.checked_sub(2) else { return Duration::ZERO };
    let grown = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
    grown.min(LONG_PAUSE.max(failing_for / 4)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use homeserver_core::FixedClock;
    use ruma::server_name;
    use testing::TestDatabase;

    use super::*;

    const START: Timestamp = Timestamp(1_700_000_000_000);

    #[test]
    fn pauses_grow_to_an_hour_and_to_a_day_for_servers_that_have_gone() {
        let seconds = |failures, hours| pause(failures, Duration::from_hours(hours)).as_secs();
        assert_eq!([0, 1, 2, 3, 4].map(|failures| seconds(failures, 0)), [0, 0, 2, 4, 8]);
        assert_eq!([13, 30, 40, 100, u32::MAX].map(|failures| seconds(failures, 2)), [3_600; 5]);
        assert_eq!([(20, 24), (40, 1_000)].map(|(failures, hours)| seconds(failures, hours)), [6 * 3_600, 24 * 3_600]);
    }

    async fn world(db: &TestDatabase) -> (Database, Arc<FixedClock>) {
        let database = Database::open(&storage::DatabaseOptions::new(db.url())).await.unwrap();
        (database, Arc::new(FixedClock::new(START)))
    }

    testing::on_both_databases! {
        async fn a_server_that_fails_twice_is_left_alone_until_the_pause_ends_or_it_is_heard_from(db: TestDatabase) {
            let (database, clock) = world(&db).await;
            let servers = Reachability::new(database.clone(), clock.clone());
            let (dead, other) = (server_name!("dead.example"), server_name!("other.example"));
            let mut heard = servers.heard();
            servers.missed(dead, clock.now()).await;
            assert!(servers.may_ask(dead, Urgency::Patient).await, "one failure is nothing");
            clock.advance(Duration::from_millis(1));
            servers.missed(dead, clock.now()).await;
            assert!(!servers.may_ask(dead, Urgency::Patient).await);
            assert!(servers.may_ask(other, Urgency::Patient).await);
            assert_eq!(servers.paused(), 1);

            assert!(servers.may_ask(dead, Urgency::Insistent).await, "a person may try");
            assert!(!servers.may_ask(dead, Urgency::Insistent).await, "but not again at once");
            clock.advance(Duration::from_secs(3));
            assert!(servers.may_ask(dead, Urgency::Patient).await, "the pause has ended");
            assert!(!servers.may_ask(dead, Urgency::Patient).await, "one request finds out");
            servers.missed(dead, clock.now()).await;
            servers.heard_from(other).await;
            servers.heard_from(dead).await;
            assert_eq!(heard.try_recv().unwrap(), dead);
            assert!(heard.try_recv().is_err());
            assert!(servers.may_ask(dead, Urgency::Patient).await);
            servers.reached(dead).await;
            assert_eq!(database.failing_server("dead.example").await.unwrap(), None);
            for _ in 0..3 {
                assert!(servers.may_ask(dead, Urgency::Patient).await);
            }
            database.close().await;
        }

        async fn nodes_and_later_processes_know_of_it_and_what_fails_at_once_is_one_failure(db: TestDatabase) {
            let (database, clock) = world(&db).await;
            let (one, other) = (Reachability::new(database.clone(), clock.clone()), Reachability::new(database.clone(), clock.clone()));
            let dead = server_name!("dead.example");
            let began = clock.now();
            for _ in 0..5 {
                one.missed(dead, began).await;
            }
            let stored = database.failing_server("dead.example").await.unwrap().unwrap();
            assert_eq!((stored.failures, stored.failing_since), (1, START));
            for _ in 0..4 {
                clock.advance(Duration::from_secs(1));
                one.missed(dead, clock.now()).await;
            }
            assert!(other.paused_until(dead).await.is_some());
            one.reached(dead).await;
            clock.advance(READ_AGAIN_AFTER);
            assert_eq!(other.paused_until(dead).await, None);
            database.close().await;
        }
    }
}
