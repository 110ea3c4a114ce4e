//! What only one node at a time may do.

use std::time::Duration;

use homeserver_core::Timestamp;
use storage::{Database, Lease, StorageError};
use testing::on_both_databases;

use crate::world::command;

const START: Timestamp = Timestamp(1_700_000_000_000);

fn after(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

async fn take(database: &Database, holder: &str, now: Timestamp, until: Timestamp) -> Option<Lease> {
    database.take_lease("duty".to_owned(), holder.to_owned(), now, until).await.unwrap()
}

async fn act(database: &Database, lease: &Lease) -> Result<(), StorageError> {
    let lease = lease.clone();
    database
        .write(async move |tx| {
            tx.require_lease(&lease).await?;
            tx.set_server_value("acted", &lease.holder).await
        })
        .await
}

on_both_databases! {
    async fn a_lease_is_held_by_one_and_taken_over_when_it_has_run_out(db: TestDatabase) {
        let database = command(&db).await;
        let first = take(&database, "a", START, after(10)).await.unwrap();
        assert!(take(&database, "b", after(9), after(20)).await.is_none());
        assert!(database.renew_lease(first.clone(), after(15)).await.unwrap());
        assert!(take(&database, "b", after(14), after(20)).await.is_none());
        let second = take(&database, "b", after(15), after(30)).await.unwrap();
        assert!(second.epoch > first.epoch);
        assert!(!database.renew_lease(first.clone(), after(40)).await.unwrap());
        // Giving back what somebody else has by now changes nothing.
        database.release_lease(first).await.unwrap();
        assert!(take(&database, "c", after(16), after(30)).await.is_none());
        database.release_lease(second).await.unwrap();
        assert!(take(&database, "c", after(16), after(30)).await.is_some());
    }

    async fn a_holder_that_was_suspended_does_not_act_any_more(db: TestDatabase) {
        let database = command(&db).await;
        let suspended = take(&database, "a", START, after(10)).await.unwrap();
        act(&database, &suspended).await.unwrap();
        // As long as nobody has taken it, nothing is wrong with a lease that has run out.
        act(&database, &suspended).await.unwrap();
        let other = take(&database, "b", after(11), after(20)).await.unwrap();
        let refused = act(&database, &suspended).await;
        assert!(matches!(refused, Err(StorageError::LeaseLost(_))), "{refused:?}");
        act(&database, &other).await.unwrap();
        assert_eq!(database.server_value("acted").await.unwrap().as_deref(), Some("b"));
        // The same holder again, but of another lease.
        let again = take(&database, "a", after(21), after(30)).await.unwrap();
        assert_ne!(again, suspended);
        assert!(act(&database, &suspended).await.is_err());
    }

    async fn whoever_holds_a_lease_keeps_it_by_taking_it(db: TestDatabase) {
        let database = command(&db).await;
        let first = take(&database, "a", START, after(10)).await.unwrap();
        assert_eq!(take(&database, "a", after(5), after(15)).await.unwrap(), first);
        assert!(take(&database, "b", after(14), after(20)).await.is_none());
    }

    async fn servers_are_known_until_they_leave_or_are_not_heard_of(db: TestDatabase) {
        let (first, second) = (command(&db).await, command(&db).await);
        let one = first.enter_node("one".to_owned(), START, after(30)).await.unwrap();
        let _two = second.enter_node("two".to_owned(), START, after(30)).await.unwrap();
        let names = async |now| -> Vec<String> {
            let nodes = first.nodes(now).await.unwrap();
            let mut names: Vec<_> = nodes.into_iter().map(|node| node.holder).collect();
            names.sort();
            names
        };
        assert_eq!(names(after(1)).await, ["one", "two"]);
        first.renew_node(&one, after(1), after(60)).await.unwrap();
        assert_eq!(names(after(31)).await, ["one"]);
        first.leave_node(&one).await.unwrap();
        assert!(names(after(32)).await.is_empty());
        assert_eq!(first.forget_old_nodes(after(100)).await.unwrap(), 2);
    }
}
