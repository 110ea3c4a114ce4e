//! One write that fails costs no other.

use std::time::Duration;

use homeserver_core::{RoomSn, TimelineOrder};
use storage::{AppendOutcome, Database, EventNumber, StorageError, params};
use testing::on_both_databases;

use crate::world::{hold_up, open, set, state_event};

const ROOMS: i64 = 200;

/// Appends one event to each room, which `last` are the last events of, beside `beside`. Returns the new last events, and
/// what became of each append.
async fn append_to_all(
    database: &Database,
    version: i64,
    last: &[EventNumber],
    beside: impl Future<Output = ()>,
) -> (Vec<EventNumber>, Vec<bool>) {
    let held_up = hold_up(database).await;
    let (mut numbers, mut outcomes) = (Vec::new(), Vec::new());
    for room in 1..=ROOMS {
        let auth_event = last.get(usize::try_from(room - 1).unwrap());
        let append = state_event(room, &format!("${room} {version}"), version, auth_event);
        numbers.extend(append.events.first().map(|event| event.number.clone()));
        outcomes.push(database.append(append).await.unwrap());
    }
    let (outcomes, ()) = futures::join!(futures::future::join_all(outcomes), beside);
    let stored = outcomes.into_iter().map(|it| matches!(it.unwrap(), Ok(AppendOutcome::Appended(_)))).collect();
    held_up.await.unwrap();
    (numbers, stored)
}

/// How many events highlight, as the last row of each room's totals says.
async fn highlights(database: &Database) -> Vec<i64> {
    let sql = "SELECT MAX(highlight_total) FROM unread_totals GROUP BY room_sn ORDER BY room_sn";
    database.query(sql, &[], |row| row.get(0)).await.unwrap()
}

on_both_databases! {
    async fn a_write_that_fails_beside_two_hundred_others_fails_alone_and_makes_nothing_unknown(db: TestDatabase) {
        let (database, counts) = open(&db).await;
        let (first, _) = append_to_all(&database, 0, &[], async {}).await;
        let commits = counts.commits().len();

        let poisoned = async {
            let taken = state_event(1_000, "$1 0", 0, None);
            let append = database.append(taken).await.unwrap();
            let closure = database.write(async |tx| {
                tx.next_position().await?;
                tx.execute("INSERT INTO no_such_table VALUES (1)", &[]).await
            });
            let (append, closure) = futures::join!(append, closure);
            assert!(matches!(append.unwrap(), Err(StorageError::Constraint(_))));
            assert!(matches!(closure, Err(StorageError::Statement(_))), "{closure:?}");
        };
        let (second, stored) = append_to_all(&database, 1, &first, poisoned).await;
        assert!(stored.into_iter().all(|stored| stored));
        // What held the writer up, and then all of them in one transaction.
        assert_eq!(counts.commits().len(), commits + 2);
        assert_eq!(*counts.commits().last().unwrap(), usize::try_from(ROOMS).unwrap());

        let reads = || ["room_heads", "auth_chain_events", "auth_chain_links", "unread_totals"].map(|table| counts.of(&format!("SELECT {table}")));
        let before = reads();
        let (_, stored) = append_to_all(&database, 2, &second, async {}).await;
        assert!(stored.into_iter().all(|stored| stored));
        assert_eq!(reads(), before, "nothing that the writer knew has to be read again");
        assert_eq!(highlights(&database).await, vec![3; usize::try_from(ROOMS).unwrap()]);
        let sql = "SELECT COUNT(*) FROM auth_chain_events WHERE seq = 3";
        assert_eq!(database.query_optional(sql, &[], |row| row.get::<i64>(0)).await.unwrap(), Some(ROOMS));
    }

    async fn what_fails_in_a_room_that_is_known_is_taken_back(db: TestDatabase) {
        let (database, counts) = open(&db).await;
        let (first, _) = append_to_all(&database, 0, &[], async {}).await;
        // The step comes after everything that is remembered of the event.
        let mut failing = state_event(7, "$failing", 1, first.get(6));
        failing.also = Some(Box::new(async |tx: &mut storage::Tx| {
            tx.execute("INSERT INTO no_such_table VALUES (1)", &[]).await.map(drop)
        }));
        assert!(database.append(failing).await.unwrap().await.unwrap().is_err());
        let before = counts.of("SELECT room_heads");
        let (_, stored) = append_to_all(&database, 1, &first, async {}).await;
        assert!(stored.into_iter().all(|stored| stored));
        assert_eq!(counts.of("SELECT room_heads"), before);
        assert_eq!(highlights(&database).await, vec![2; usize::try_from(ROOMS).unwrap()]);
        let ids = database.timeline_forwards(RoomSn(7), TimelineOrder::START, TimelineOrder::END, 10, None).await.unwrap();
        assert_eq!(ids.iter().map(|event| &*event.event_id).collect::<Vec<_>>(), ["$7 0", "$7 1"]);
        let sql = "SELECT COUNT(*) FROM auth_chain_events WHERE seq = 2";
        assert_eq!(database.query_optional(sql, &[], |row| row.get::<i64>(0)).await.unwrap(), Some(ROOMS));
    }

    async fn all_that_is_wrong_in_a_batch_is_found(db: TestDatabase) {
        let (database, _) = open(&db).await;
        set(&database, "taken", "x").await.unwrap();
        let held_up = hold_up(&database).await;
        let writes = (0..100).map(|number| {
            let database = &database;
            async move {
                if number % 3 == 0 { set(database, "taken", "x").await } else { set(database, &format!("{number}"), "x").await }
            }
        });
        let mut appends = Vec::new();
        for room in 1..=60 {
            let id = if room % 4 == 0 { "$4".to_owned() } else { format!("${room}") };
            appends.push(database.append(state_event(room, &id, 0, None)).await.unwrap());
        }
        let (written, appended) = futures::join!(futures::future::join_all(writes), futures::future::join_all(appends));
        held_up.await.unwrap();
        for (number, outcome) in written.into_iter().enumerate() {
            assert_eq!(outcome.is_err(), number % 3 == 0, "{number}: {outcome:?}");
        }
        // The first that has the ID keeps it.
        for (room, outcome) in (1..).zip(appended) {
            assert_eq!(outcome.unwrap().is_err(), room % 4 == 0 && room != 4, "{room}");
        }
    }

    async fn closures_without_end_leave_room_for_others(db: TestDatabase) {
        let (database, counts) = open(&db).await;
        let held_up = hold_up(&database).await;
        let before = counts.commits().len();
        let slow = (0..4).map(|number| {
            let database = database.clone();
            async move {
                let write = database.write(async move |tx| {
                    tokio::time::sleep(Duration::from_millis(1_100)).await;
                    let name = number.to_string();
                    tx.execute("INSERT INTO server_values (name, value) VALUES ($1, 'x')", params![&name]).await
                });
                write.await.unwrap()
            }
        });
        assert_eq!(futures::future::join_all(slow).await, [1; 4]);
        held_up.await.unwrap();
        assert_eq!(counts.commits()[before..], [1, 2, 2]);
    }
}
