//! Waiting for the appends that are under way.

use std::sync::Arc;
use std::time::Duration;

use storage::AppendOutcome;
use testing::on_both_databases;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::world::{hold_up, open, state_event};

on_both_databases! {
    async fn appends_are_settled_when_their_outcomes_are_there(db: TestDatabase) {
        let (database, _) = open(&db).await;
        let held_up = hold_up(&database).await;
        let mut stored = database.append(state_event(1, "$1", 0, None)).await.unwrap();
        // The room does not have this version.
        let mut refused = database.append(state_event(2, "$2", 7, None)).await.unwrap();
        database.appends_settled().await.unwrap();
        let (stored, refused) = (stored.try_recv().unwrap().unwrap(), refused.try_recv().unwrap().unwrap());
        assert!(matches!(stored, AppendOutcome::Appended(_)));
        assert!(matches!(refused, AppendOutcome::Stale));
        held_up.await.unwrap();
    }

    async fn what_waits_for_appends_has_no_transaction_when_none_is_under_way(db: TestDatabase) {
        let (database, counts) = open(&db).await;
        // Nobody waits for the outcome of the second.
        let stored = database.append(state_event(1, "$1", 0, None)).await.unwrap();
        drop(database.append(state_event(2, "$2", 0, None)).await.unwrap());
        stored.await.unwrap().unwrap();
        database.appends_settled().await.unwrap();

        let commits = counts.commits();
        database.appends_settled().await.unwrap();
        assert_eq!(counts.commits(), commits);
        // Other writes that are under way do not count: one that never ends is not waited for.
        let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begins, released) = (begun.clone(), release.clone());
        let holding = database.write(async move |_| {
            begins.notify_one();
            released.notified().await;
            Ok(())
        });
        let settled = async {
            begun.notified().await;
            let settled = timeout(Duration::from_secs(10), database.appends_settled()).await;
            release.notify_one();
            settled
        };
        let (held, settled) = futures::join!(holding, settled);
        held.unwrap();
        settled.expect("it does not wait for the writer").unwrap();
        assert_eq!(counts.commits().len(), commits.len() + 1);
    }
}
