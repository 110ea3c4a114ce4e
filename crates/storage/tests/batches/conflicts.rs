//! Transactions of two processes that are in each other's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use storage::{Database, StorageError, params};
use testing::on_both_databases;

use crate::world::{open, set};

/// Changes two values in this order, with time for somebody else in between.
async fn change(database: &Database, names: [&'static str; 2]) -> Result<(), StorageError> {
    let sql = "UPDATE server_values SET value = value || '+' WHERE name = $1";
    let write = database.write(async move |tx| {
        tx.execute(sql, params![names[0]]).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        tx.execute(sql, params![names[1]]).await.map(drop)
    });
    write.await
}

on_both_databases! {
    async fn two_that_wait_for_each_other_both_come_to_an_end(db: TestDatabase) {
        let ((one, _), (two, _)) = (open(&db).await, open(&db).await);
        set(&one, "a", "").await.unwrap();
        set(&one, "b", "").await.unwrap();
        let (first, second) = futures::join!(change(&one, ["a", "b"]), change(&two, ["b", "a"]));
        first.unwrap();
        second.unwrap();
        let values = one.query("SELECT value FROM server_values ORDER BY name", &[], |row| row.get::<String>(0)).await;
        assert_eq!(values.unwrap(), ["++", "++"]);
    }

    async fn what_is_always_in_the_way_ends_as_unavailable(db: TestDatabase) {
        let (database, _) = open(&db).await;
        let attempts = Arc::new(AtomicU32::new(0));
        let counted = attempts.clone();
        let outcome = database.write(async move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(StorageError::Conflict("a test".to_owned()))
        });
        assert!(matches!(outcome.await, Err(StorageError::Unavailable(_))));
        assert!((2..=10).contains(&attempts.load(Ordering::Relaxed)));
        set(&database, "after", "x").await.unwrap();
    }
}
