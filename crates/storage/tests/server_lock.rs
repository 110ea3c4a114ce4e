//! One server at a time on a SQLite database, and none on one that cannot hold all texts.

#![expect(clippy::panic, reason = "a test may fail loudly in the functions around it too")]

use std::time::{Duration, Instant};

use storage::{Database, DatabaseOptions, ServerLock, StorageError};
use testing::TestDatabase;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_database_has_one_server_at_a_time() {
    let db = TestDatabase::sqlite();
    let lock = ServerLock::take(&options(db.url())).await.unwrap();
    let sentence = refusal(db.url()).await;
    assert!(sentence.contains("stop that one first") && sentence.contains("PostgreSQL"), "{sentence}");
    // Others may write, such as the command that makes an account.
    let database = Database::open(&options(db.url())).await.unwrap();
    database.write(async |tx| tx.set_server_value("a", "b").await).await.unwrap();
    database.close().await;
    refusal(db.url()).await;
    lock.release();
    ServerLock::take(&options(db.url())).await.unwrap().release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_database_has_as_many_servers_as_are_wanted() {
    let db = TestDatabase::postgres().await;
    let _first = ServerLock::take(&options(db.url())).await.unwrap();
    let _second = ServerLock::take(&options(db.url())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_dropped_is_free_at_once() {
    let db = TestDatabase::sqlite();
    for _ in 0..3 {
        let began = Instant::now();
        drop(ServerLock::take(&DatabaseOptions::new(db.url())).await.unwrap());
        assert!(began.elapsed() < AT_ONCE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_while_another_one_ends_waits_for_it() {
    let db = TestDatabase::sqlite();
    let lock = ServerLock::take(&options(db.url())).await.unwrap();
    let options = DatabaseOptions::new(db.url());
    let ending = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lock.release();
    };
    let (next, ()) = tokio::join!(ServerLock::take(&options), ending);
    next.unwrap().release();
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

/// A server of an earlier version holds this lock for as long as it runs.
const EARLIER_SERVER: &str = "SELECT pg_try_advisory_lock(1937309697, hashtext(COALESCE(current_schema()::text, '')))";
const EARLIER_SCHEMA: &str = "DELETE FROM schema_versions WHERE version > 17";

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_not_changed_under_a_server_of_an_earlier_version() {
    let db = TestDatabase::postgres().await;
    let earlier = Database::open(&DatabaseOptions { max_connections: 2, ..options(db.url()) }).await.unwrap();
    earlier.write(async |tx| tx.execute(EARLIER_SCHEMA, &[]).await).await.unwrap();
    let held = earlier.query(EARLIER_SERVER, &[], |row| row.get::<bool>(0)).await.unwrap();
    assert_eq!(held, [true]);
    let refused = Database::open(&options(db.url())).await.err().unwrap();
    assert!(matches!(&refused, StorageError::InUse(sentence) if sentence.contains("earlier version")), "{refused}");
    earlier.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_hold_all_texts_is_refused() {
    let db = TestDatabase::postgres_in("LATIN1").await;
    let error = Database::open(&options(db.url())).await.err().unwrap();
    assert!(matches!(error, StorageError::Unusable(_)), "{error}");
    assert!(error.to_string().contains("LATIN1") && error.to_string().contains("ENCODING 'UTF8'"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_reached_is_refused_with_the_reason() {
    let began = Instant::now();
    let error = Database::open(&options("postgres://nobody@127.0.0.1:1/nothing")).await.err().unwrap();
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(began.elapsed() < AT_ONCE, "it took {:?}", began.elapsed());
}
