//! The group-commit writer, on both engines.

#![expect(clippy::unwrap_used, reason = "the exception for tests does not reach the functions that tests share")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use homeserver_core::{Position, UserSn};
use storage::{Database, DatabaseOptions, LogEntry, LogObserver, StorageError, params};
use testing::{TestDatabase, on_both_databases};

async fn open(database: &TestDatabase) -> Database {
    Database::open(&DatabaseOptions::new(database.url())).await.unwrap()
}

async fn set(database: &Database, name: &str, value: &str) -> Result<(), StorageError> {
    let (name, value) = (name.to_owned(), value.to_owned());
    let sql = "INSERT INTO server_values (name, value) VALUES ($1, $2)";
    database.write(async move |tx| tx.execute(sql, params![&name, &value]).await.map(drop)).await
}

async fn names(database: &Database) -> Vec<String> {
    database.query("SELECT name FROM server_values ORDER BY name", &[], |row| row.get(0)).await.unwrap()
}

/// Remembers what it was told.
#[derive(Default)]
struct Witness(Mutex<Vec<Position>>);

impl LogObserver<LogEntry> for Witness {
    fn committed(&self, entries: &[LogEntry]) {
        self.0.lock().unwrap().extend(entries.iter().map(LogEntry::position));
    }
}

on_both_databases! {
    async fn writes_at_the_same_time_all_arrive(db: TestDatabase) {
        let database = open(&db).await;
        let writes = (0..200).map(|number| {
            let database = database.clone();
            tokio::spawn(async move { set(&database, &format!("{number:03}"), "x").await })
        });
        for write in futures::future::join_all(writes).await {
            write.unwrap().unwrap();
        }
        let expected: Vec<_> = (0..200).map(|number| format!("{number:03}")).collect();
        assert_eq!(names(&database).await, expected);
    }

    async fn a_write_that_fails_leaves_those_beside_it_alone(db: TestDatabase) {
        let database = open(&db).await;
        set(&database, "taken", "x").await.unwrap();
        let writes = (0..60).map(|number| {
            let database = database.clone();
            let name = if number % 7 == 3 { "taken".to_owned() } else { format!("free {number}") };
            tokio::spawn(async move { (name.clone(), set(&database, &name, "y").await) })
        });
        for write in futures::future::join_all(writes).await {
            let (name, outcome) = write.unwrap();
            match outcome {
                Ok(()) => assert_ne!(name, "taken"),
                Err(error) => {
                    assert_eq!(name, "taken");
                    assert!(matches!(error, StorageError::Constraint(_) | StorageError::Statement(_)), "{error}");
                }
            }
        }
        assert_eq!(names(&database).await.len(), 1 + 60 - (0..60).filter(|number| number % 7 == 3).count());
    }

    async fn a_write_that_panics_leaves_those_beside_it_alone_and_nothing_behind(db: TestDatabase) {
        let database = open(&db).await;
        let insert = "INSERT INTO server_values (name, value) VALUES ('half', 'x')";
        let panics = database.write(async move |tx| -> Result<(), StorageError> {
            tx.execute(insert, &[]).await?;
            panic!("a defect");
        });
        let writes = (0..20).map(|number| {
            let database = database.clone();
            async move { set(&database, &format!("{number:02}"), "x").await }
        });
        let (panicked, others) = futures::join!(panics, futures::future::join_all(writes));
        assert!(matches!(&panicked, Err(StorageError::Statement(_))), "{panicked:?}");
        assert!(others.iter().all(Result::is_ok), "{others:?}");
        set(&database, "later", "x").await.unwrap();
        let names = names(&database).await;
        assert_eq!(names.len(), 21, "{names:?}");
        assert!(!names.contains(&"half".to_owned()));
    }

    async fn a_failed_write_leaves_nothing_behind(db: TestDatabase) {
        let database = open(&db).await;
        let insert = "INSERT INTO server_values (name, value) VALUES ('half', 'x')";
        let outcome = database
            .write(async move |tx| {
                tx.execute(insert, &[]).await?;
                tx.execute("INSERT INTO no_such_table VALUES (1)", &[]).await.map(drop)
            })
            .await;
        assert!(outcome.is_err());
        assert!(names(&database).await.is_empty());
        set(&database, "after", "x").await.unwrap();
        assert_eq!(names(&database).await, ["after"]);
    }

    async fn positions_are_published_in_order_and_without_repetition(db: TestDatabase) {
        let database = open(&db).await;
        let witness = Arc::new(Witness::default());
        database.observe(witness.clone());
        let writes = (0..100).map(|number| {
            let database = database.clone();
            tokio::spawn(async move {
                database
                    .write(async move |tx| {
                        let position = tx.next_position().await?;
                        tx.publish(LogEntry::AccountData { position, user_sn: UserSn(number), room_sn: None });
                        Ok(position)
                    })
                    .await
            })
        });
        let mut given: Vec<_> = futures::future::join_all(writes).await.into_iter().map(|it| it.unwrap().unwrap()).collect();
        let published = witness.0.lock().unwrap().clone();
        assert!(published.is_sorted(), "{published:?}");
        given.sort();
        given.dedup();
        assert_eq!(given.len(), 100);
        assert_eq!(published, given);
        assert_eq!(database.position().await.unwrap(), *published.last().unwrap());
    }

    async fn what_was_written_is_there_after_opening_again(db: TestDatabase) {
        let database = open(&db).await;
        set(&database, "kept", "x").await.unwrap();
        database.close().await;
        assert!(matches!(set(&database, "late", "x").await, Err(StorageError::Unavailable(_))));
        let again = open(&db).await;
        assert_eq!(names(&again).await, ["kept"]);
        again.close().await;
    }

    async fn a_schema_from_the_future_is_refused(db: TestDatabase) {
        let database = open(&db).await;
        database
            .write(async |tx| tx.execute("INSERT INTO schema_versions (version) VALUES (9999)", &[]).await.map(drop))
            .await
            .unwrap();
        database.close().await;
        let error = Database::open(&DatabaseOptions::new(db.url())).await.err().unwrap();
        assert!(matches!(error, StorageError::SchemaTooNew { found: 9999, .. }), "{error}");
    }

    async fn the_same_text_has_the_same_number_for_everybody(db: TestDatabase) {
        let database = open(&db).await;
        let interned = Arc::new(storage::Interned::new(database.clone()));
        let lookups = (0..50).map(|_| {
            let interned = interned.clone();
            tokio::spawn(async move { interned.user("@alice:example.org").await.unwrap() })
        });
        let mut numbers: Vec<_> = futures::future::join_all(lookups).await.into_iter().map(|it| it.unwrap()).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), 1);
        let elsewhere = storage::Interned::new(database);
        assert_eq!(elsewhere.find_user("@alice:example.org").await.unwrap(), Some(numbers[0]));
        assert_eq!(&*elsewhere.user_id(numbers[0]).await.unwrap(), "@alice:example.org");
        assert_eq!(elsewhere.find_user("@bob:example.org").await.unwrap(), None);
        assert_eq!(elsewhere.find_user("nul\0byte").await.unwrap(), None);
    }

    async fn lists_and_every_type_of_value_go_there_and_back(db: TestDatabase) {
        let database = open(&db).await;
        let rows: Vec<(i64, &str)> = vec![(1, "one"), (2, "zw\u{f6}lf"), (3, "\"drei\"")];
        for (number, name) in rows {
            set(&database, name, &number.to_string()).await.unwrap();
        }
        let wanted = vec!["zw\u{f6}lf".to_owned(), "\"drei\"".to_owned()];
        let sql = "SELECT value FROM server_values WHERE name IN LIST($1) ORDER BY value";
        let found: Vec<String> = database.query(sql, params![&wanted], |row| row.get(0)).await.unwrap();
        assert_eq!(found, ["2", "3"]);
        let sql = "SELECT CAST($1 AS BIGINT) WHERE CAST($2 AS BIGINT) IN LIST($3)";
        let found: Vec<Option<i64>> =
            database.query(sql, params![None::<i64>, 4_i64, &vec![3_i64, 4]], |row| row.get(0)).await.unwrap();
        assert_eq!(found, [None]);
    }

    async fn the_log_begins_after_what_another_process_is_still_committing(db: TestDatabase) {
        let (before, after) = (open(&db).await, open(&db).await);
        let (begun, is_begun) = tokio::sync::oneshot::channel();
        let begun = Mutex::new(Some(begun));
        let committing = tokio::spawn(async move {
            let write = before.write(async move |tx| {
                let position = tx.next_position().await?;
                if let Some(begun) = begun.lock().unwrap().take() {
                    begun.send(()).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok(position)
            });
            write.await.unwrap()
        });
        is_begun.await.unwrap();
        let settled = after.settled_position().await.unwrap();
        assert_eq!(settled, committing.await.unwrap());
    }
}

/// Ends the runtime while a write runs. The process would end with it if the writer took that for a fault of its own.
#[test]
fn a_runtime_that_ends_during_a_write_ends_nothing_else() {
    let db = TestDatabase::sqlite();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let database = open(&db).await;
        let (begun, is_begun) = tokio::sync::oneshot::channel();
        let begun = Mutex::new(Some(begun));
        tokio::spawn(async move {
            let write = database.write(async move |_| {
                begun.lock().unwrap().take().map(|begun| begun.send(()));
                tokio::time::sleep(Duration::from_millis(200)).await;
                Ok(())
            });
            write.await
        });
        is_begun.await.unwrap();
    });
    drop(runtime);
    // Long enough for the writer to notice.
    std::thread::sleep(Duration::from_millis(500));
}
