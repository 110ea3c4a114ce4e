use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use homeserver_core::{Position, UserSn};
use storage::{Database, DatabaseObserver, DatabaseOptions, LogEntry, LogObserver, StatementTimes, StorageError};
use testing::TestDatabase;

/// How long anything may take that happens soon.
const PATIENCE: Duration = Duration::from_secs(20);

struct Unobserved;

impl DatabaseObserver for Unobserved {
    fn statements(&self, _: &str) -> StatementTimes {
        Arc::new(|_| ())
    }
    fn connection_acquired(&self, _: Duration) {}
    fn connection_timed_out(&self) {}
    fn committed(&self, _: usize, _: Duration, _: Duration) {}
    fn write_failed(&self) {}
}

/// Remembers what it was told, and by whom it was written.
#[derive(Default)]
pub(crate) struct Witness {
    told: Mutex<Vec<String>>,
    elsewhere: Mutex<usize>,
    up_to: Mutex<i64>,
}

impl LogObserver<LogEntry> for Witness {
    fn committed(&self, entries: &[LogEntry]) {
        self.told.lock().unwrap().extend(entries.iter().map(|entry| format!("{entry:?}")));
    }

    fn committed_elsewhere(&self, entries: &[LogEntry]) {
        *self.elsewhere.lock().unwrap() += entries.len();
    }

    fn told_up_to(&self, position: Position) {
        *self.up_to.lock().unwrap() = position.0;
    }
}

impl Witness {
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// How many of the entries others have written.
    pub(crate) fn elsewhere(&self) -> usize {
        *self.elsewhere.lock().unwrap()
    }

    pub(crate) fn up_to(&self) -> Position {
        Position(*self.up_to.lock().unwrap())
    }

    /// Waits until it was told of so many entries.
    pub(crate) async fn is_told(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.told().len() < count {
            assert!(Instant::now() < deadline, "told of {} instead of {count}", self.told().len());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A server, and what it is told.
pub(crate) async fn serve(db: &TestDatabase) -> (Database, Arc<Witness>) {
    let database = Database::open_for_server(&DatabaseOptions::new(db.url()), Arc::new(Unobserved)).await.unwrap();
    let witness = observe(&database);
    (database, witness)
}

/// What is told from now on.
pub(crate) fn observe(database: &Database) -> Arc<Witness> {
    let witness = Arc::new(Witness::default());
    database.observe(witness.clone());
    witness
}

/// A command beside a server.
pub(crate) async fn command(db: &TestDatabase) -> Database {
    Database::open(&DatabaseOptions::new(db.url())).await.unwrap()
}

/// Adds an entry to the log.
pub(crate) async fn add(database: &Database, number: i64) -> Result<Position, StorageError> {
    let write = async move |tx: &mut storage::Tx| {
        let position = tx.next_position().await?;
        tx.publish(LogEntry::AccountData { position, user_sn: UserSn(number), room_sn: None });
        Ok(position)
    };
    database.write(write).await
}

/// Takes a position and says nothing.
pub(crate) async fn take_position(database: &Database) -> Position {
    database.write(async |tx| tx.next_position().await).await.unwrap()
}
