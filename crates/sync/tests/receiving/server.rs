//! The server under test, and the keys of those around it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use homeserver_core::Identity;
use homeserver_core::{FixedClock, Timestamp, UserSn};
use parking_lot::Mutex;
use push::unread::Audiences;
use room_engine::receipt::{KeyRing, VerifyKey};
use rooms::Timeline;
use ruma::signatures::Ed25519KeyPair;
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId, owned_server_name};
use storage::{Database, DatabaseOptions, Interned, LogEntry, LogObserver, NewAccount, RoomStates, Synchronous};
use tasks::limits::{Limit, LimitSize, Unobserved};
use testing::TestDatabase;
use tokio_util::sync::CancellationToken;

/// When everything here happens.
pub(crate) const NOW: i64 = 1_700_000_000_000;
/// The servers whose keys the server under test knows; it is the first of them.
pub(crate) const SERVERS: [&str; 3] = ["one", "two", "three"];

/// What stands before the seed of an Ed25519 key in [PKCS#8](https://www.rfc-editor.org/rfc/rfc8410#section-7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The key of a server, always the same.
pub(crate) fn key_pair(server: &ServerName) -> Ed25519KeyPair {
    let seed = [server.as_str().bytes().fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)); 32];
    Ed25519KeyPair::from_der(&[PKCS8_PREFIX.as_slice(), &seed].concat(), "k".to_owned()).unwrap()
}

/// The keys that the server under test has.
pub(crate) fn key_ring() -> KeyRing {
    let mut keys = KeyRing::new();
    for server in SERVERS {
        let server = ServerName::parse(server).unwrap();
        let public = STANDARD_NO_PAD.encode(key_pair(&server).public_key());
        let day = 24 * 60 * 60 * 1000;
        keys.insert(&server, "ed25519:k", VerifyKey::current(&public, NOW + day, NOW).unwrap());
    }
    keys
}

/// The log, as those who follow it see it.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<LogEntry>>);

impl Log {
    /// What was told since this was asked the last time.
    pub(crate) fn news(&self) -> Vec<LogEntry> {
        std::mem::take(&mut self.0.lock())
    }
}

impl LogObserver<LogEntry> for Log {
    fn committed(&self, entries: &[LogEntry]) {
        self.0.lock().extend_from_slice(entries);
    }
}

/// The server under test.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) database: Database,
    pub(crate) interned: Arc<Interned>,
    pub(crate) states: Arc<RoomStates>,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) log: Arc<Log>,
    pub(crate) keys: Arc<KeyRing>,
    /// How many rooms were made here.
    pub(crate) rooms: Arc<AtomicI64>,
}

impl Server {
    pub(crate) async fn new(db: &TestDatabase) -> Self {
        let options = DatabaseOptions { synchronous: Synchronous::Normal, ..DatabaseOptions::new(db.url()) };
        let database = Database::open(&options).await.unwrap();
        let log = Arc::new(Log::default());
        database.observe(log.clone());
        let interned = Arc::new(Interned::new(database.clone()));
        let server_name: OwnedServerName = owned_server_name!("one");
        let key_pair = Arc::new(key_pair(&server_name));
        let clock = Arc::new(FixedClock::new(Timestamp(NOW)));
        let (patience, stopping) = (Duration::from_secs(1), CancellationToken::new());
        let states = RoomStates::follow(&database, server_name.as_str(), patience, stopping).await.unwrap();
        let identity = Arc::new(Identity { server_name, key_pair });
        let size = LimitSize { running: NonZeroUsize::MIN, waiting: 1_000, longest_wait: Duration::from_secs(10) };
        let checks = Arc::new(Limit::new("signature_checks", size, Arc::new(Unobserved)));
        let audiences = Audiences::follow(&database, interned.clone());
        let (states_of, rooms) = (states.clone(), interned.clone());
        let timeline = Timeline::new(database.clone(), rooms, states_of, identity, clock, checks, audiences);
        let timeline = Arc::new(timeline);
        Self { database, interned, states, timeline, log, keys: Arc::new(key_ring()), rooms: Arc::default() }
    }

    /// Makes an account, if there is none yet.
    pub(crate) async fn register(&self, user_id: &str) -> (UserSn, OwnedUserId) {
        let account = NewAccount {
            user_id: user_id.to_owned(),
            password_hash: None,
            created_at: Timestamp(NOW),
            is_admin: false,
            is_guest: false,
            user_type: None,
        };
        self.database.write(async move |tx| tx.create_account(&account).await).await.unwrap();
        (self.interned.user(user_id).await.unwrap(), UserId::parse(user_id).unwrap())
    }
}
