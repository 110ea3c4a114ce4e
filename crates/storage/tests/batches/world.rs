//! A database whose statements are counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use homeserver_core::{KeySn, RoomSn, Timestamp, TypeSn, UserSn};
use storage::{
    Append, Arrival, Database, DatabaseObserver, DatabaseOptions, EventNumber, NewEvent, Notice, Standing,
    StatementTimes, StorageError, Unread, params,
};
use testing::TestDatabase;

/// Counts statements by what they do, and commits.
#[derive(Default)]
pub(crate) struct Counts {
    statements: Arc<Mutex<HashMap<String, usize>>>,
    commits: Mutex<Vec<usize>>,
}

impl Counts {
    /// How many statements of a kind there were, such as `SELECT room_heads`.
    pub(crate) fn of(&self, operation: &str) -> usize {
        self.statements.lock().unwrap().get(operation).copied().unwrap_or(0)
    }

    /// How many statements there were.
    pub(crate) fn statements(&self) -> usize {
        self.statements.lock().unwrap().values().sum()
    }

    /// How many writes each transaction held.
    pub(crate) fn commits(&self) -> Vec<usize> {
        self.commits.lock().unwrap().clone()
    }
}

impl DatabaseObserver for Counts {
    fn statements(&self, operation: &str) -> StatementTimes {
        let (counts, operation) = (self.statements.clone(), operation.to_owned());
        Arc::new(move |_| *counts.lock().unwrap().entry(operation.clone()).or_default() += 1)
    }

    fn connection_acquired(&self, _: Duration) {}

    fn connection_timed_out(&self) {}

    fn committed(&self, writes: usize, _: Duration, _: Duration) {
        self.commits.lock().unwrap().push(writes);
    }

    fn write_failed(&self) {}
}

pub(crate) async fn open(db: &TestDatabase) -> (Database, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let database = Database::open_observed(&DatabaseOptions::new(db.url()), counts.clone()).await.unwrap();
    (database, counts)
}

/// Holds the writer up for as long as it takes to hand it what comes next: that shares a transaction.
pub(crate) async fn hold_up(database: &Database) -> tokio::task::JoinHandle<()> {
    let (begun, is_begun) = tokio::sync::oneshot::channel();
    let begun = Mutex::new(Some(begun));
    let database = database.clone();
    let holding = tokio::spawn(async move {
        let write = database.write(async move |_| {
            if let Some(begun) = begun.lock().unwrap().take() {
                begun.send(()).unwrap();
            }
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        });
        write.await.unwrap();
    });
    is_begun.await.unwrap();
    holding
}

pub(crate) async fn set(database: &Database, name: &str, value: &str) -> Result<(), StorageError> {
    let (name, value) = (name.to_owned(), value.to_owned());
    let sql = "INSERT INTO server_values (name, value) VALUES ($1, $2)";
    database.write(async move |tx| tx.execute(sql, params![&name, &value]).await.map(drop)).await
}

/// A state event, which highlights and is permitted by `auth_event`.
pub(crate) fn state_event(room_sn: i64, event_id: &str, version: i64, auth_event: Option<&EventNumber>) -> Append {
    let unread = Unread { usual: Notice { notify: true, highlight: true }, ..Unread::default() };
    Append {
        room_sn: RoomSn(room_sn),
        room_version: "12".into(),
        expected_version: version,
        new_version: version + 1,
        events: vec![NewEvent {
            number: EventNumber::default(),
            event_id: event_id.into(),
            type_sn: TypeSn(1),
            state_key_sn: Some(KeySn(1)),
            sender_sn: UserSn(1),
            origin_server_ts: Timestamp(1),
            depth: version + 1,
            client_json: Bytes::from_static(b"{}"),
            federation_json: Bytes::from_static(b"{}"),
            unread: Arc::new(unread),
            replaces: None,
            membership: None,
            redacts: None,
            standing: Standing::Accepted,
            auth_events: auth_event.cloned().into_iter().collect(),
            previous_in_chain: auth_event.cloned(),
            state_before: None,
            arrival: Arrival::default(),
        }],
        resolved: None,
        extremities: None,
        transaction: None,
        joined_change: 0,
        invited_change: 0,
        also: None,
        is_entry: false,
    }
}
