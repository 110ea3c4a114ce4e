//! Everything that any process writes is told to every server, in the same order.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use homeserver_core::{Position, RoomSn, Timestamp, UserSn};
use storage::{Database, DevicePresence, NewPresence, PresenceState};
use testing::{TestDatabase, on_both_databases};

use crate::world::{add, command, serve, take_position};

const END_LISTENERS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                             WHERE datname = current_database() AND application_name = 'synapse-rust listener'";
const COUNT_LISTENERS: &str = "SELECT COUNT(*) FROM pg_stat_activity \
                               WHERE datname = current_database() AND application_name = 'synapse-rust listener'";

async fn listeners(database: &Database) -> i64 {
    database.query_optional(COUNT_LISTENERS, &[], |row| row.get(0)).await.unwrap().unwrap()
}

/// Waits until so many servers listen.
async fn are_listening(database: &Database, count: i64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while listeners(database).await != count {
        assert!(Instant::now() < deadline, "{} servers listen", listeners(database).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

on_both_databases! {
    async fn a_server_is_told_what_a_command_beside_it_writes(db: TestDatabase) {
        let (server, witness) = serve(&db).await;
        let beside = command(&db).await;
        add(&server, 1).await.unwrap();
        add(&beside, 2).await.unwrap();
        witness.is_told(2).await;
        assert_eq!(witness.elsewhere(), 1);
        // Also before what the server itself writes next.
        take_position(&beside).await;
        let third = add(&beside, 3).await.unwrap();
        let fourth = add(&server, 4).await.unwrap();
        assert_eq!(third, Position(fourth.0 - 1));
        let told = witness.told();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[2].contains("UserSn(3)") && told[3].contains("UserSn(4)"), "{told:?}");
        assert_eq!(witness.up_to(), fourth);
        assert!(server.lost_log().is_none());
    }

    async fn a_server_that_starts_is_told_of_nothing_old(db: TestDatabase) {
        let beside = command(&db).await;
        let old = add(&beside, 1).await.unwrap();
        let (server, witness) = serve(&db).await;
        assert!(server.catch_up(old, Duration::from_secs(5)).await.unwrap());
        assert!(!server.catch_up(Position(old.0 + 1), Duration::from_secs(5)).await.unwrap());
        assert!(witness.told().is_empty());
        let new = add(&beside, 2).await.unwrap();
        assert!(server.catch_up(new, Duration::from_secs(5)).await.unwrap());
        assert_eq!(witness.told().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_write_at_once_are_told_the_same() {
    let db = TestDatabase::postgres().await;
    let servers = [serve(&db).await, serve(&db).await, serve(&db).await];
    let writes = servers.iter().enumerate().flat_map(|(number, (database, _))| {
        (0..100).map(move |count| {
            let (database, number) = (database.clone(), i64::try_from(number * 1_000 + count).unwrap());
            tokio::spawn(async move {
                // Some take positions of which there is nothing to tell, and some fail.
                match number % 7 {
                    0 => drop(take_position(&database).await),
                    1 => {
                        let failing = database.write(async |tx: &mut storage::Tx| {
                            tx.next_position().await?;
                            tx.execute("INSERT INTO no_such_table VALUES (1)", &[]).await
                        });
                        failing.await.unwrap_err();
                    }
                    _ => drop(add(&database, number).await.unwrap()),
                }
            })
        })
    });
    for write in join_all(writes).await {
        write.unwrap();
    }
    let end = servers[0].0.position().await.unwrap();
    for (database, _) in &servers {
        assert!(database.catch_up(end, Duration::from_secs(10)).await.unwrap());
        assert!(database.lost_log().is_none());
    }
    let [first, second, third] = servers.each_ref().map(|(_, witness)| witness.told());
    let numbers = (0..300).filter(|number| (number / 100 * 1_000 + number % 100) % 7 > 1).count();
    assert_eq!(first.len(), numbers);
    assert_eq!(first, second);
    assert_eq!(first, third);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_told_by_others_when_it_cannot_be_woken_and_after_that() {
    let db = TestDatabase::postgres().await;
    let ((first, _), (_second, witness)) = (serve(&db).await, serve(&db).await);
    are_listening(&first, 2).await;
    let mut count = 0;
    for _ in 0..3 {
        let _ = first.query(END_LISTENERS, &[], |_| Ok(())).await.unwrap();
        for number in 0..20 {
            add(&first, number).await.unwrap();
            count += 1;
        }
        witness.is_told(count).await;
        are_listening(&first, 2).await;
        add(&first, 99).await.unwrap();
        count += 1;
        witness.is_told(count).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_other_kinds_is_whole() {
    let db = TestDatabase::postgres().await;
    let ((first, told_there), (_second, witness)) = (serve(&db).await, serve(&db).await);
    let (room_sn, user_sn, now) = (RoomSn(3), UserSn(4), Timestamp(1_700_000_000_000));
    let content = Bytes::from_static(b"{\"a\":\"it's \\\\ \\u0000\"}");
    first.set_account_data(user_sn, Some(room_sn), "it's".to_owned(), content.clone()).await.unwrap();
    first.set_account_data(user_sn, None, "m.ignored_user_list".to_owned(), content).await.unwrap();
    first.start_typing(room_sn, user_sn, now.plus(Duration::from_secs(30))).await.unwrap();
    first.stop_typing(vec![(room_sn, user_sn)], now).await.unwrap();
    let status_message = Some(Some("'quotes'; \\ and \u{10ffff} and \0".into()));
    let state = PresenceState::Online;
    let devices = vec![DevicePresence { device_sn: None, wants: state, state, asked_at: now }];
    let presence = NewPresence { user_sn, state, devices, status_message, last_active_at: Some(now) };
    first.set_presence(vec![presence], now).await.unwrap();
    first.write(async move |tx| tx.note_account_change(user_sn).await).await.unwrap();
    // Account data, the ignored users twice, typing twice, presence, the account.
    witness.is_told(7).await;
    assert_eq!(witness.told(), told_there.told());
    assert_eq!((witness.elsewhere(), told_there.elsewhere()), (7, 0));
}
