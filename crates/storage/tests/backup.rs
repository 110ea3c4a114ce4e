//! A copy of a SQLite database that is in use.

use storage::{Database, DatabaseOptions, back_up_sqlite, params};
use testing::TestDatabase;

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_holds_what_was_committed_before_it_began() {
    let db = TestDatabase::sqlite();
    let url = |name: &str| format!("sqlite://{}", db.folder().join(name).display());
    let database = Database::open(&DatabaseOptions::new(url("a.db"))).await.unwrap();
    let add = |number: i64| {
        database.write(async move |tx| {
            let sql = "INSERT INTO state_chunks (chunk_id, bytes, written_at) VALUES ($1, $2, 0)";
            tx.execute(sql, params![&number.to_be_bytes()[..], &[7_u8; 1000][..]]).await
        })
    };
    for number in 0..100 {
        add(number).await.unwrap();
    }
    let target = db.folder().join("b.db");
    let (from, to) = (url("a.db"), target.clone());
    let copying = tokio::task::spawn_blocking(move || back_up_sqlite(&from, &to));
    let mut number = 100;
    while !copying.is_finished() {
        add(number).await.unwrap();
        number += 1;
    }
    copying.await.unwrap().unwrap();

    let copy = Database::open(&DatabaseOptions::new(url("b.db"))).await.unwrap();
    let count = copy.query_optional("SELECT count(*) FROM state_chunks", &[], |row| row.get::<i64>(0)).await;
    assert!((100..=number).contains(&count.unwrap().unwrap()));
    copy.close().await;
    database.close().await;
}

#[test]
fn a_database_that_is_not_there_is_not_made() {
    let db = TestDatabase::sqlite();
    let error = back_up_sqlite(db.url(), &db.folder().join("b.db")).unwrap_err();
    assert!(error.to_string().contains("homeserver.db"), "{error}");
    assert!(!db.folder().join("homeserver.db").exists());
}
