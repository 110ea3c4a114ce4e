//! What other servers are sent: the events of this server's users, and what it passes on.
//!
//! Nothing is written for an event and a server. [`following`] reads the log and hands each event to the [`destination`]s that are in its
//! room, in memory. [`sending`] sends each destination one transaction at a time. A destination that is not reached, or too slow, is
//! *behind*: all that is kept of it is the position of the log up to which it has everything. Once it is reached again, [`catching_up`]
//! reads the rest from the log.
//!
//! One node has this [`duty`]. What it knows is written down every few seconds; after a crash some events are sent again, which their IDs make
//! harmless.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#transactions>

mod catching_up;
mod destination;
mod duty;
mod entitled;
mod following;
mod listing;
mod newcomers;
mod repeating;
mod sending;
mod state;
mod transaction;
mod waiting_edus;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use event_log::{LogTail, RoomServers};
use federation::{Client, Reachability};
use homeserver_core::Clock;
use parking_lot::Mutex;
use rand::Rng as _;
use ruma::OwnedServerName;
use storage::{Database, DeviceChange, Interned, LogEntry, LogObserver};
use tasks::loops::Loops;
use tokio::sync::{Notify, Semaphore};

pub use self::listing::{DestinationPage, DestinationStatus, Destinations, Failing, PageRequest};
use self::state::State;
use crate::edus::outbound::OutboundEdus;

/// Destinations that are behind and are caught up at once. Those that have everything do not wait for them.
const CAUGHT_UP_AT_ONCE: usize = 32;

/// What an [`Outbox`] is made of.
pub struct OutboxParts {
    /// Where events are, and how far destinations are.
    pub database: Database,
    /// The names of users and rooms.
    pub interned: Arc<Interned>,
    /// The newest part of the log.
    pub tail: Arc<LogTail>,
    /// Which servers are in which rooms.
    pub room_servers: Arc<RoomServers>,
    /// Asks other servers.
    pub client: Arc<Client>,
    /// Which of them are not reached.
    pub reachability: Arc<Reachability>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The name of this server.
    pub server_name: OwnedServerName,
    /// Makes EDUs of what is in the log.
    pub edus: OutboundEdus,
}

/// Sends events to other servers.
pub struct Outbox {
    parts: OutboxParts,
    state: Mutex<State>,
    /// Rung at every commit.
    bell: Notify,
    /// Whether messages to devices have been sent since this was looked at.
    has_messages: AtomicBool,
    /// Whether servers may have been overlooked since this was looked at.
    has_overlooked: AtomicBool,
    probes: Semaphore,
    /// Tells the transactions of this process from those of others.
    process: u64,
    transactions: AtomicU64,
    failures: AtomicU64,
}

/// How far the outbox is, for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct OutboxFigures {
    /// Servers that were sent something since the start, or are behind.
    pub destinations: usize,
    /// Those that are behind.
    pub behind: usize,
    /// Events that wait in memory, once for each destination.
    pub waiting: usize,
    /// Transactions that were delivered.
    pub transactions: u64,
    /// Transactions that were not.
    pub failures: u64,
}

impl Outbox {
    /// Begins to send, as soon as no other node does so.
    pub fn start(parts: OutboxParts, loops: &Loops) -> Arc<Self> {
        let outbox = Arc::new(Self {
            parts,
            state: Mutex::new(State::idle()),
            bell: Notify::new(),
            has_messages: AtomicBool::new(true),
            has_overlooked: AtomicBool::new(true),
            probes: Semaphore::new(CAUGHT_UP_AT_ONCE),
            process: rand::rng().random(),
            transactions: AtomicU64::default(),
            failures: AtomicU64::default(),
        });
        outbox.parts.database.observe(Arc::new(Bell(outbox.clone())));
        let running = outbox.clone();
        loops.spawn("outbox", move || {
            let outbox = running.clone();
            async move { outbox.run().await }
        });
        outbox
    }

    /// How far it is. A node without the duty has nothing to tell.
    #[must_use]
    pub fn figures(&self) -> OutboxFigures {
        let state = self.state.lock();
        let all = state.destinations.values();
        OutboxFigures {
            destinations: state.destinations.len(),
            behind: all.clone().filter(|destination| destination.sent_up_to().is_some()).count(),
            waiting: all.map(|destination| destination.waiting()).sum(),
            transactions: self.transactions.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

/// Rings when a transaction has committed.
struct Bell(Arc<Outbox>);

impl LogObserver<LogEntry> for Bell {
    fn committed(&self, entries: &[LogEntry]) {
        let is_message = |entry: &LogEntry| matches!(entry, LogEntry::Devices { change: DeviceChange::Messages, .. });
        if entries.iter().any(is_message) {
            self.0.has_messages.store(true, Ordering::Release);
        }
        // With all members of a room, servers become known that were in it all the time.
        if entries.iter().any(|entry| matches!(entry, LogEntry::StateKnown { is_whole: true, .. })) {
            self.0.has_overlooked.store(true, Ordering::Release);
        }
        self.0.bell.notify_one();
    }
}
