//! Frequent writes of many requests are written together.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use homeserver_core::{DeviceSn, EventSn, Position, RoomSn, Timestamp, UserSn};
use storage::{
    Database, DevicePresence, LastSeen, LogEntry, LogObserver, NewAccount, NewPresence, NewReceipt, PresenceState,
    ReceiptThread, ReceiptType, params,
};
use testing::on_both_databases;

use crate::world::{hold_up, open, state_event};

/// Remembers what it was told.
#[derive(Default)]
struct Witness(Mutex<Vec<String>>);

impl LogObserver<LogEntry> for Witness {
    fn committed(&self, entries: &[LogEntry]) {
        let told = entries.iter().map(|entry| match entry {
            LogEntry::Receipt(receipt) => format!("{} has read {}", receipt.user_sn, receipt.event_sn),
            LogEntry::Typing { user_sn, has_ended, .. } => format!("{user_sn} types: {}", !has_ended),
            LogEntry::Presence(presence) => format!("{} is {}", presence.user_sn, presence.state.as_str()),
            LogEntry::AccountData { user_sn, .. } => format!("{user_sn} has account data"),
            _ => String::new(),
        });
        self.0.lock().unwrap().extend(told);
    }
}

fn witness(database: &Database) -> Arc<Witness> {
    let witness = Arc::new(Witness::default());
    database.observe(witness.clone());
    witness
}

fn receipt(event_sn: i64) -> NewReceipt {
    NewReceipt {
        receipt_type: ReceiptType::Read,
        thread: ReceiptThread::Unthreaded,
        event_sn: EventSn(event_sn),
        event_id: format!("${event_sn}").into(),
        received_at: Timestamp(event_sn),
    }
}

fn presence(user: i64, state: PresenceState) -> NewPresence {
    let asked_at = Timestamp(user);
    let devices = vec![DevicePresence { device_sn: None, wants: state, state, asked_at }];
    NewPresence { user_sn: UserSn(user), state, devices, status_message: None, last_active_at: Some(asked_at) }
}

async fn account(database: &Database, user_id: &str) -> UserSn {
    let account = NewAccount {
        user_id: user_id.to_owned(),
        password_hash: None,
        created_at: Timestamp(1),
        is_admin: false,
        is_guest: false,
        user_type: None,
    };
    database.write(async move |tx| tx.create_account(&account).await).await.unwrap().unwrap()
}

on_both_databases! {
    async fn receipts_of_many_users_are_written_with_a_few_statements(db: TestDatabase) {
        let (database, counts) = open(&db).await;
        let sn = database.append(state_event(1, "$1", 0, None)).await.unwrap().await.unwrap().unwrap();
        let storage::AppendOutcome::Appended(events) = sn else { panic!("not appended") };
        let event_sn = events[0].sn.0;
        let held_up = hold_up(&database).await;
        let before = counts.statements();
        let writes = (1..=300).map(|user| {
            let fully_read = Some((EventSn(event_sn), Bytes::from_static(b"{}")));
            database.add_receipts(RoomSn(1), UserSn(user), vec![receipt(event_sn)], fully_read)
        });
        assert!(futures::future::join_all(writes).await.iter().all(Result::is_ok));
        held_up.await.unwrap();
        // On SQLite a statement runs for each row, too, but counts once.
        assert!(counts.statements() - before <= 12, "{}", counts.statements() - before);
        let rooms = vec![1];
        let until = database.position().await.unwrap();
        let found = database.receipts(&rooms, UserSn(1), Position(0), until, 1_000).await.unwrap();
        assert_eq!(found.len(), 300);
        let mut positions: Vec<_> = found.iter().map(|receipt| receipt.position).collect();
        positions.dedup();
        assert_eq!(positions.len(), 300);
        let content = database.account_data(UserSn(300), Some(RoomSn(1)), "m.fully_read").await.unwrap();
        assert_eq!(content.as_deref(), Some(&b"{}"[..]));
    }

    async fn the_readers_own_receipts_are_told_however_old_they_are(db: TestDatabase) {
        let (database, counts) = open(&db).await;
        let mut rooms = Vec::new();
        for room_sn in [1, 2] {
            let appended = database.append(state_event(room_sn, &format!("${room_sn}"), 0, None)).await.unwrap();
            let storage::AppendOutcome::Appended(events) = appended.await.unwrap().unwrap() else { panic!("not appended") };
            for user in 1..=2 + room_sn {
                let receipts = vec![receipt(events[0].sn.0)];
                database.add_receipts(RoomSn(room_sn), UserSn(user), receipts, None).await.unwrap();
            }
            rooms.push(room_sn);
        }
        let until = database.position().await.unwrap();
        let all = vec![(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (2, 4)];
        let newest = vec![(1, 1), (1, 2), (1, 3), (2, 1), (2, 3), (2, 4)];
        // What may have been left out is asked for, and only then.
        for (limit, expected, statements) in [(2, &newest, 2), (4, &all, 2), (5, &all, 1)] {
            let before = counts.statements();
            let found = database.receipts(&rooms, UserSn(1), Position(0), until, limit).await.unwrap();
            let found: Vec<_> = found.iter().map(|receipt| (receipt.room_sn.0, receipt.user_sn.0)).collect();
            assert_eq!(found, *expected, "{limit}");
            assert_eq!(counts.statements() - before, statements, "{limit}");
        }
    }

    async fn the_receipt_that_is_furthest_ahead_counts(db: TestDatabase) {
        let (database, _) = open(&db).await;
        let floor = "INSERT INTO unread_floors (user_sn, room_sn, position) VALUES (1, 1, 0)";
        database.write(async move |tx| tx.execute(floor, &[]).await).await.unwrap();
        let witness = witness(&database);
        let held_up = hold_up(&database).await;
        let read = |event_sn| database.add_receipts(RoomSn(1), UserSn(1), vec![receipt(event_sn)], None);
        let (one, two, three) = futures::join!(read(5), read(9), read(7));
        one.and(two).and(three).unwrap();
        held_up.await.unwrap();
        read(8).await.unwrap();
        assert_eq!(*witness.0.lock().unwrap(), ["1 has read 9"]);
        let floors = database.query("SELECT position FROM unread_floors", &[], |row| row.get::<i64>(0)).await;
        assert_eq!(floors.unwrap(), [9]);
    }

    async fn an_unthreaded_receipt_removes_what_counted_the_events_before_it(db: TestDatabase) {
        let (database, _) = open(&db).await;
        database.write(async |tx| {
            for event_sn in [3, 5, 8] {
                let sql = "INSERT INTO unread_differences (user_sn, room_sn, thread_sn, event_sn, notify_total, highlight_total) \
                           VALUES ($2, 1, 0, $1, 1, 1)";
                for user in [1_i64, 2] {
                    tx.execute(sql, params![event_sn, user]).await?;
                }
            }
            let sql = "INSERT INTO unread_silences (user_sn, room_sn, since, until) VALUES (1, 1, 0, 4), (1, 1, 5, 9), (2, 1, 0, 4)";
            tx.execute(sql, &[]).await
        }).await.unwrap();
        database.add_receipts(RoomSn(1), UserSn(1), vec![receipt(6)], None).await.unwrap();
        let read = async |sql| database.query(sql, &[], |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?))).await.unwrap();
        let differences = read("SELECT user_sn, event_sn FROM unread_differences ORDER BY user_sn, event_sn").await;
        assert_eq!(differences, [(1, 5), (1, 8), (2, 3), (2, 5), (2, 8)]);
        let silences = read("SELECT user_sn, since FROM unread_silences ORDER BY user_sn, since").await;
        assert_eq!(silences, [(1, 5), (2, 0)]);
    }

    async fn ten_thousand_devices_are_seen_with_a_few_statements(db: TestDatabase) {
        let (database, counts) = open(&db).await;
        let devices = database.write(async |tx| {
            let mut devices = Vec::new();
            for number in 0..50 {
                devices.push(tx.ensure_device(UserSn(1), &format!("D{number}"), None, None, Timestamp(1)).await?);
            }
            Ok(devices)
        }).await.unwrap();
        let seen = |device_sn, at, address: Option<&str>| LastSeen { device_sn, at: Timestamp(at), address: address.map(str::to_owned) };
        let mut all: Vec<LastSeen> = (0..10_000).map(|number| seen(DeviceSn(1_000 + number), 5, None)).collect();
        all.extend(devices.iter().map(|device_sn| seen(*device_sn, 9, Some("127.0.0.1"))));
        let held_up = hold_up(&database).await;
        let before = counts.statements();
        let late = database.record_last_seen(vec![seen(devices[0], 7, None)]);
        let (all, late) = futures::join!(database.record_last_seen(all), late);
        all.and(late).unwrap();
        held_up.await.unwrap();
        assert!(counts.statements() - before <= 12, "{}", counts.statements() - before);
        for device in database.devices(UserSn(1)).await.unwrap() {
            assert_eq!(device.last_seen_at, Some(Timestamp(9)), "{}", device.device_id);
            assert_eq!(device.last_seen_address.as_deref(), Some("127.0.0.1"));
        }
    }

    async fn presence_is_told_when_what_others_see_has_changed(db: TestDatabase) {
        let (database, counts) = open(&db).await;
        let witness = witness(&database);
        let held_up = hold_up(&database).await;
        let before = counts.statements();
        let set = |changes| database.set_presence(changes, Timestamp(1));
        let many = set((1..=500).map(|user| presence(user, PresenceState::Online)).collect());
        let changed = set(vec![presence(1, PresenceState::Offline)]);
        let back = set(vec![presence(2, PresenceState::Offline), presence(2, PresenceState::Online)]);
        let (many, changed, back) = futures::join!(many, changed, back);
        many.and(changed).and(back).unwrap();
        held_up.await.unwrap();
        assert!(counts.statements() - before <= 12, "{}", counts.statements() - before);
        let told = std::mem::take(&mut *witness.0.lock().unwrap());
        assert_eq!(told.len(), 500);
        assert_eq!(told[..2], ["1 is offline", "2 is online"]);

        let position = database.position().await.unwrap();
        set(vec![presence(2, PresenceState::Online)]).await.unwrap();
        assert!(witness.0.lock().unwrap().is_empty());
        assert_eq!(database.position().await.unwrap(), position, "what is no news takes no position");
    }

    async fn a_closed_account_is_not_there_and_says_nothing(db: TestDatabase) {
        let (database, _) = open(&db).await;
        let (alice, bob) = (account(&database, "@alice:localhost").await, account(&database, "@bob:localhost").await);
        let online = |user_sn: UserSn| vec![presence(user_sn.0, PresenceState::Online)];
        let says = |user_sn: UserSn| {
            let status_message = Some(Some("leaving".into()));
            vec![NewPresence { status_message, ..presence(user_sn.0, PresenceState::Offline) }]
        };
        let close = |user_sn| database.write(async move |tx| tx.deactivate_account(user_sn, Timestamp(2), false).await);
        let set = |changes| database.set_presence(changes, Timestamp(1));
        set(online(alice)).await.unwrap();

        let witness = witness(&database);
        let held_up = hold_up(&database).await;
        let all = futures::join!(set(says(alice)), close(alice), set(online(alice)), close(bob), set(says(bob)), set(online(bob)));
        all.0.and(all.2).and(all.4).and(all.5).unwrap();
        all.1.and(all.3).unwrap();
        held_up.await.unwrap();
        let shown = async || {
            let sql = "SELECT state, status_message FROM presence WHERE state > 1 OR status_message IS NOT NULL";
            database.query(sql, &[], |row| Ok((row.get::<i64>(0)?, row.get::<Option<String>>(1)?))).await.unwrap()
        };
        assert_eq!(shown().await, []);

        witness.0.lock().unwrap().clear();
        let carol = account(&database, "@carol:localhost").await;
        set([online(alice), says(alice), online(carol), online(bob), says(bob)].concat()).await.unwrap();
        assert_eq!(*witness.0.lock().unwrap(), [format!("{carol} is online")]);
        assert_eq!(shown().await, [(3, None)]);
    }

    async fn a_closed_account_that_was_left_behind_as_online_becomes_offline(db: TestDatabase) {
        let (database, _) = open(&db).await;
        let alice = account(&database, "@alice:localhost").await;
        database.set_presence(vec![presence(alice.0, PresenceState::Online)], Timestamp(1)).await.unwrap();
        let sql = "UPDATE accounts SET deactivated_at = 2 WHERE user_sn = $1";
        database.write(async move |tx| tx.execute(sql, params![alice]).await).await.unwrap();
        let offline = NewPresence { last_active_at: None, ..presence(alice.0, PresenceState::Offline) };
        database.set_presence(vec![offline], Timestamp(3)).await.unwrap();
        assert!(database.present_users().await.unwrap().is_empty());
    }

    async fn typing_is_told_when_it_begins_and_ends(db: TestDatabase) {
        let (database, _) = open(&db).await;
        let witness = witness(&database);
        let (room, user) = (RoomSn(1), UserSn(1));
        let told = || std::mem::take(&mut *witness.0.lock().unwrap());
        database.start_typing(room, user, Timestamp(10)).await.unwrap();
        database.start_typing(room, user, Timestamp(20)).await.unwrap();
        assert_eq!(told(), ["1 types: true"]);
        // Not before its time.
        database.end_expired_typing(Timestamp(15), Timestamp(100), 10).await.unwrap();
        assert!(told().is_empty());
        let held_up = hold_up(&database).await;
        let (stop, start) = futures::join!(
            database.stop_typing(vec![(room, user), (RoomSn(2), user)], Timestamp(16)),
            database.start_typing(room, UserSn(2), Timestamp(30)),
        );
        stop.and(start).unwrap();
        held_up.await.unwrap();
        assert_eq!(told(), ["1 types: false", "2 types: true"]);
        assert_eq!(database.typing().await.unwrap(), [(room, UserSn(2))]);
        database.end_expired_typing(Timestamp(31), Timestamp(100), 10).await.unwrap();
        assert_eq!(told(), ["2 types: false"]);
    }
}
