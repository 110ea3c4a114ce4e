//! Connections to PostgreSQL that broke while nobody used them, or are all in use.

use std::time::Duration;

use storage::{AppendOutcome, Database, DatabaseOptions, params};
use testing::TestDatabase;
use tokio::time::timeout;

use crate::holding::message;
use crate::world::{add, command, serve};

/// How long anything may take that happens soon.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends all connections to the database but the one that asks, as a restart of PostgreSQL does.
async fn end_connections(beside: &Database) {
    let sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let ended = beside.query(sql, &[], |row| row.get::<bool>(0)).await.unwrap();
    assert!(!ended.is_empty() && ended.into_iter().all(|ended| ended));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_of_any_kind_gets_a_new_connection_if_the_old_one_broke_while_idle() {
    let db = TestDatabase::postgres().await;
    let (server, witness) = serve(&db).await;
    let beside = command(&db).await;
    for round in 0..3 {
        end_connections(&beside).await;
        add(&server, round).await.expect("a closure");
        end_connections(&beside).await;
        let appended = server.append(message(1, 2 * round)).await.unwrap().await.unwrap().expect("an append");
        assert!(matches!(appended, AppendOutcome::Appended(_)));
        end_connections(&beside).await;
        let held = server.hold_log().await.expect("a hold of the log");
        let appended = held.append(message(1, 2 * round + 1)).unwrap().await.unwrap().unwrap();
        assert!(matches!(appended, AppendOutcome::Appended(_)));
        end_connections(&beside).await;
        // Many at once lose nothing either.
        let many = (0..20).map(|number| add(&server, number));
        let many = futures::future::join_all(many).await;
        assert!(many.iter().all(Result::is_ok), "{many:?}");
    }
    witness.is_told(3 * 23).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closure_whose_connection_breaks_fails_alone() {
    let db = TestDatabase::postgres().await;
    let (server, _) = serve(&db).await;
    let broken = server.write(async |tx| {
        let sql = "SELECT pg_terminate_backend(pg_backend_pid())";
        tx.query(sql, &[], |_| Ok(())).await.map(drop)
    });
    let (broken, kept) = tokio::join!(broken, add(&server, 1));
    assert!(broken.is_err_and(|error| error.is_unavailable()));
    kept.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_does_not_wait_for_those_who_read() {
    let db = TestDatabase::postgres().await;
    let options = DatabaseOptions { max_connections: 2, ..DatabaseOptions::new(db.url()) };
    let server = Database::open(&options).await.unwrap();
    let witness = crate::world::observe(&server);
    add(&server, 0).await.unwrap();
    let readers: Vec<_> = (0..2_i64)
        .map(|number| {
            let server = server.clone();
            let sql = "SELECT $1 FROM pg_sleep(6)";
            tokio::spawn(async move { server.query(sql, params![number], |_| Ok(())).await.map(drop) })
        })
        .collect();
    // The follower's next look waits for a connection, too.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for number in 1..4 {
        timeout(PATIENCE, add(&server, number)).await.expect("a write waits").unwrap();
    }
    assert!(readers.iter().all(|reader| !reader.is_finished()), "the write has waited for a reader");
    assert_eq!(witness.told().len(), 4);
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
}
