//! One server at a time on a database, and none on one that cannot hold all texts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly in the functions around it too")]

use std::time::{Duration, Instant};

use storage::{Database, DatabaseOptions, ServerLock, StorageError};
use testing::{TestDatabase, on_both_databases};

/// Far less than what a start waits that must be refused.
const AT_ONCE: Duration = Duration::from_secs(3);

fn options(url: &str) -> DatabaseOptions {
    DatabaseOptions { connect_timeout: Duration::from_millis(500), ..DatabaseOptions::new(url) }
}

async fn refusal(url: &str) -> String {
    match ServerLock::take(&options(url)).await {
        Err(StorageError::InUse(sentence)) => sentence,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two servers at once"),
    }
}

on_both_databases! {
    async fn a_database_has_one_server_at_a_time(db: TestDatabase) {
        let lock = ServerLock::take(&options(db.url())).await.unwrap();
        let sentence = refusal(db.url()).await;
        assert!(sentence.contains("stop that one first"), "{sentence}");
        // Others may write, such as the command that makes an account.
        let database = Database::open(&options(db.url())).await.unwrap();
        database.write(async |tx| tx.set_server_value("a", "b").await).await.unwrap();
        database.close().await;
        refusal(db.url()).await;
        lock.release().await;
        ServerLock::take(&options(db.url())).await.unwrap().release().await;
    }

    async fn a_lock_that_is_dropped_is_free_at_once(db: TestDatabase) {
        for _ in 0..3 {
            let began = Instant::now();
            let options = DatabaseOptions::new(db.url());
            drop(ServerLock::take(&options).await.unwrap());
            assert!(began.elapsed() < AT_ONCE);
        }
    }

    async fn whoever_comes_while_another_one_ends_waits_for_it(db: TestDatabase) {
        let lock = ServerLock::take(&options(db.url())).await.unwrap();
        let options = DatabaseOptions::new(db.url());
        let ending = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            lock.release().await;
        };
        let (next, ()) = tokio::join!(ServerLock::take(&options), ending);
        next.unwrap().release().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_one_lock_by_whichever_path_it_is_reached() {
    let db = TestDatabase::sqlite();
    let folder = db.folder().display();
    Database::open(&options(db.url())).await.unwrap().close().await;
    let link = db.folder().join("link.db");
    std::os::unix::fs::symlink(db.folder().join("homeserver.db"), &link).unwrap();
    let _lock = ServerLock::take(&options(&format!("sqlite://{folder}/./homeserver.db"))).await.unwrap();
    for url in [db.url().to_owned(), format!("sqlite:{folder}/homeserver.db"), format!("sqlite://{}", link.display())] {
        refusal(&url).await;
    }
}

/// Ends connections of a database from outside, as its administrator may.
async fn end_connections(db: &TestDatabase, which: &'static str) {
    let database = Database::open(&options(db.url())).await.unwrap();
    database.query(which, &[], |_| Ok(())).await.unwrap();
    database.close().await;
}

const END_LOCK: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                        WHERE datname = current_database() AND application_name = 'synapse-rust lock'";
const END_OTHERS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                          WHERE datname = current_database() AND pid <> pg_backend_pid()";

struct Unobserved;
impl storage::DatabaseObserver for Unobserved {
    fn statements(&self, _: &str) -> storage::StatementTimes {
        std::sync::Arc::new(|_| ())
    }
    fn connection_acquired(&self, _: Duration) {}
    fn connection_timed_out(&self) {}
    fn committed(&self, _: usize, _: Duration, _: Duration) {}
    fn write_failed(&self) {}
}

async fn serve(db: &TestDatabase) -> (ServerLock, Database) {
    let lock = ServerLock::take(&DatabaseOptions::new(db.url())).await.unwrap();
    let observer = std::sync::Arc::new(Unobserved);
    let database = Database::open_for_server(&DatabaseOptions::new(db.url()), observer, &lock).await.unwrap();
    (lock, database)
}

async fn write(database: &Database) -> Result<(), StorageError> {
    database.write(async |tx| tx.set_server_value("a", "b").await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_lost_its_connections_gets_them_back() {
    let db = TestDatabase::postgres().await;
    let (lock, database) = serve(&db).await;
    end_connections(&db, END_LOCK).await;
    // The writer's connection keeps others out meanwhile.
    refusal(db.url()).await;
    write(&database).await.unwrap();
    end_connections(&db, END_OTHERS).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!lock.taken_over().is_cancelled());
    // The first finds the lost connection; the second has a new one.
    let _ = write(&database).await;
    write(&database).await.unwrap();
    refusal(db.url()).await;
    database.close().await;
    lock.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_succeeded_writes_nothing_more_and_learns_of_it() {
    let db = TestDatabase::postgres().await;
    let (lock, database) = serve(&db).await;
    end_connections(&db, END_OTHERS).await;
    // At once: the first has not noticed yet.
    let (next_lock, next) = serve(&db).await;
    write(&next).await.unwrap();
    for _ in 0..3 {
        let error = write(&database).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
    }
    let learned = tokio::time::timeout(Duration::from_secs(60), lock.taken_over().cancelled_owned()).await;
    assert!(learned.is_ok(), "it goes on as if nothing had happened");
    assert!(!next_lock.taken_over().is_cancelled());
    write(&next).await.unwrap();
    next.close().await;
    next_lock.release().await;
    // Nor after the other one has gone: what it knows is old.
    write(&database).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_hold_all_texts_is_refused() {
    let db = TestDatabase::postgres_in("LATIN1").await;
    let error = Database::open(&options(db.url())).await.err().unwrap();
    assert!(matches!(error, StorageError::Unusable(_)), "{error}");
    assert!(error.to_string().contains("LATIN1") && error.to_string().contains("ENCODING 'UTF8'"), "{error}");
    assert!(ServerLock::take(&options(db.url())).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_reached_is_refused_with_the_reason() {
    let began = Instant::now();
    let error = Database::open(&options("postgres://nobody@127.0.0.1:1/nothing")).await.err().unwrap();
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
}
