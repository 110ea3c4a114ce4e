//! Appending events to rooms, on both engines.

#![expect(clippy::unwrap_used, reason = "the exception for tests does not reach the functions that tests share")]

use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::{DeviceSn, KeySn, RoomSn, TimelineOrder, Timestamp, TypeSn, UserSn};
use room_engine::state_map::Place;
use storage::{
    Append, AppendOutcome, Arrival, ClientTransaction, Database, DatabaseOptions, DirectoryEntry, EventNumber,
    Membership, NewAccount, NewEvent, Notice, Standing, StateEffect, TransactionEndpoint, TransactionSender, Unread,
    later_version,
};
use testing::{TestDatabase, on_both_databases};

const SEND: TransactionEndpoint = TransactionEndpoint::Send(TypeSn(1));

fn transaction(sender: TransactionSender, endpoint: TransactionEndpoint, id: &str) -> ClientTransaction {
    ClientTransaction { sender, endpoint, id: id.into() }
}

async fn open(database: &TestDatabase) -> Database {
    Database::open(&DatabaseOptions::new(database.url())).await.unwrap()
}

fn message(room_sn: i64, event_id: &str, expected_version: i64, transaction_id: &str) -> Append {
    Append {
        room_sn: RoomSn(room_sn),
        room_version: "12".into(),
        expected_version,
        new_version: expected_version + 1,
        events: vec![NewEvent {
            number: EventNumber::default(),
            event_id: event_id.into(),
            type_sn: TypeSn(1),
            state_key_sn: None,
            sender_sn: UserSn(1),
            origin_server_ts: Timestamp(1),
            depth: expected_version + 1,
            client_json: Bytes::from_static(b"{}"),
            federation_json: Bytes::from_static(b"{}"),
            unread: Arc::new(Unread { usual: Notice { notify: true, highlight: false }, ..Unread::default() }),
            replaces: None,
            membership: None,
            redacts: None,
            standing: Standing::Accepted,
            auth_events: Vec::new(),
            previous_in_chain: None,
            state_before: None,
            arrival: Arrival::default(),
        }],
        resolved: None,
        extremities: None,
        transaction: Some(transaction(TransactionSender::Device(DeviceSn(1)), SEND, transaction_id)),
        joined_change: 0,
        invited_change: 0,
        also: None,
        is_entry: false,
    }
}

/// A user comes into the room 1, as its next event.
fn join(user_sn: UserSn, expected_version: i64) -> Append {
    let mut append = message(1, &format!("$join of {}", user_sn.0), expected_version, &format!("join {}", user_sn.0));
    let event = append.events.first_mut().unwrap();
    (event.state_key_sn, event.type_sn) = (Some(KeySn(user_sn.0)), TypeSn(2));
    event.membership = Some((user_sn, Membership::Join));
    append.joined_change = 1;
    append
}

async fn make_account(database: &Database, user_id: &str) -> UserSn {
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

/// Appends all at once, so that they share transactions, and tells which were stored.
async fn append(database: &Database, appends: Vec<Append>) -> Vec<bool> {
    let mut outcomes = Vec::with_capacity(appends.len());
    for append in appends {
        outcomes.push(database.append(append).await.unwrap());
    }
    let mut stored = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        stored.push(matches!(outcome.await.unwrap().unwrap(), AppendOutcome::Appended(_)));
    }
    stored
}

async fn event_ids(database: &Database, room_sn: i64) -> Vec<Box<str>> {
    let events = database
        .timeline_forwards(RoomSn(room_sn), TimelineOrder::START, TimelineOrder::END, 1_000, None)
        .await
        .unwrap();
    events.into_iter().map(|event| event.event_id).collect()
}

on_both_databases! {
    async fn a_repeated_transaction_id_is_refused_and_leaves_others_alone(db: TestDatabase) {
        let database = open(&db).await;
        assert_eq!(append(&database, vec![message(1, "$a", 0, "first")]).await, [true]);
        let mut appends: Vec<_> = (2..40).map(|room| message(room, &format!("$other {room}"), 0, "first")).collect();
        appends.insert(20, message(1, "$b", 1, "first"));
        let stored = append(&database, appends).await;
        assert_eq!(stored.iter().filter(|stored| !**stored).count(), 1);
        assert!(!stored[20]);
        assert_eq!(event_ids(&database, 1).await, ["$a".into()]);
        assert_eq!(append(&database, vec![message(1, "$c", 1, "second")]).await, [true]);
    }

    async fn a_transaction_id_that_waits_twice_is_used_once(db: TestDatabase) {
        let database = open(&db).await;
        let appends = vec![message(1, "$a", 0, "same"), message(1, "$b", 1, "same"), message(1, "$c", 1, "other")];
        let stored = append(&database, appends).await;
        assert_eq!(stored, [true, false, true]);
        assert_eq!(event_ids(&database, 1).await, ["$a".into(), "$c".into()]);
    }

    async fn equal_transaction_ids_are_told_apart_by_who_used_them_on_which_endpoint(db: TestDatabase) {
        let database = open(&db).await;
        let scopes = [
            (TransactionSender::Device(DeviceSn(1)), SEND),
            (TransactionSender::Device(DeviceSn(2)), SEND),
            // A user without a device, with the number of a device.
            (TransactionSender::User(UserSn(1)), SEND),
            (TransactionSender::User(UserSn(1)), TransactionEndpoint::Send(TypeSn(2))),
            (TransactionSender::User(UserSn(1)), TransactionEndpoint::Redact(1)),
            (TransactionSender::User(UserSn(1)), TransactionEndpoint::Redact(2)),
        ];
        let mut version = 0;
        for (number, (sender, endpoint)) in scopes.into_iter().enumerate() {
            let key = transaction(sender, endpoint, "same");
            let sent = |event_id: String, version: i64| {
                let mut append = message(1, &event_id, version, "");
                append.transaction = Some(key.clone());
                append
            };
            assert_eq!(append(&database, vec![sent(format!("${number}"), version)]).await, [true], "{key:?}");
            version += 1;
            let again = sent(format!("$again {number}"), version);
            // Alone, and among others.
            let other = message(2, &format!("$other {number}"), i64::try_from(number).unwrap(), &number.to_string());
            assert_eq!(append(&database, vec![again, other]).await, [false, true], "{key:?}");
            let known = database.event_of_transaction(RoomSn(1), &key).await.unwrap();
            assert_eq!(known, Some(format!("${number}").into()));
        }
    }

    async fn an_append_that_was_built_on_an_old_end_is_stale(db: TestDatabase) {
        let database = open(&db).await;
        assert_eq!(append(&database, vec![message(1, "$a", 0, "1"), message(1, "$b", 0, "2")]).await, [true, false]);
        assert_eq!(append(&database, vec![message(1, "$c", 3, "3"), message(1, "$d", 1, "4")]).await, [false, true]);
    }

    async fn what_was_built_on_refused_appends_is_refused_however_many_others_there_were(db: TestDatabase) {
        let database = open(&db).await;
        // Two ends of the same room, read at the same time: each builds three events, one on the other.
        let chain = |name: &str| {
            let mut version = 0;
            let next = |number: i64| {
                let mut append = message(1, &format!("${name} {number}"), version, &format!("{name} {number}"));
                append.new_version = later_version(version);
                version = append.new_version;
                append
            };
            (1..=3).map(next).collect::<Vec<_>>()
        };
        let mut stored = chain("stored");
        let last = stored.pop().unwrap();
        assert_eq!(append(&database, stored).await, [true, true]);
        // Each of these expects as many events before it as there are by then.
        assert_eq!(append(&database, chain("refused")).await, [false, false, false]);
        assert_eq!(append(&database, vec![last]).await, [true]);
        let ids = ["$stored 1", "$stored 2", "$stored 3"].map(Into::into);
        assert_eq!(event_ids(&database, 1).await, ids);
    }

    async fn a_place_that_is_emptied_and_filled_again_in_one_transaction_is_filled(db: TestDatabase) {
        let database = open(&db).await;
        let place = Place::new(TypeSn(7), KeySn(8));
        let filled = |version: i64, replaces: Option<&EventNumber>| {
            let mut append = message(1, &format!("$state {version}"), version, &version.to_string());
            append.events[0].state_key_sn = Some(place.state_key);
            append.events[0].type_sn = place.event_type;
            let event = Some(append.events[0].number.clone());
            let replaces = replaces.map(EventNumber::sn);
            append.resolved = Some(vec![StateEffect { place, event, replaces, membership: None, membership_before: None }]);
            append
        };
        let emptied = |version: i64, replaces: &EventNumber| {
            let mut append = message(1, &format!("$message {version}"), version, &version.to_string());
            append.resolved =
                Some(vec![StateEffect { place, event: None, replaces: Some(replaces.sn()), membership: None, membership_before: None }]);
            append
        };
        let first = filled(0, None);
        let number = first.events[0].number.clone();
        assert_eq!(append(&database, vec![first]).await, [true]);
        let second = filled(2, None);
        let again = second.events[0].number.clone();
        // Both wait while a write holds the writer up, and share the transaction after it.
        let held_up = database.write(async |_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            Ok(())
        });
        let appended = append(&database, vec![emptied(1, &number), second]);
        let (held_up, appended) = tokio::join!(held_up, appended);
        held_up.unwrap();
        assert_eq!(appended, [true, true]);
        let state = database.stored_current_state(RoomSn(1)).await.unwrap();
        assert_eq!(state.iter().map(|(_, event_sn)| *event_sn).collect::<Vec<_>>(), [again.sn()]);
        assert_eq!(append(&database, vec![emptied(3, &again)]).await, [true]);
        assert!(database.stored_current_state(RoomSn(1)).await.unwrap().is_empty());
    }

    async fn two_processes_take_turns_at_the_same_room(db: TestDatabase) {
        let (one, two) = (open(&db).await, open(&db).await);
        for turn in 0..6 {
            let (writer, other) = if turn % 2 == 0 { (&one, &two) } else { (&two, &one) };
            let id = format!("{turn}");
            assert_eq!(append(writer, vec![message(1, &format!("${turn}"), turn, &id)]).await, [true]);
            let late = message(1, "$late", turn, &format!("late {turn}"));
            assert_eq!(append(other, vec![late]).await, [false], "turn {turn}");
        }
        let numbers: Vec<Box<str>> = (0..6).map(|turn| format!("${turn}").into()).collect();
        assert_eq!(event_ids(&two, 1).await, numbers);
        let counted = one.timeline_forwards(RoomSn(1), TimelineOrder::START, TimelineOrder::END, 10, None).await.unwrap();
        assert_eq!(counted.iter().map(|event| event.countable_total).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }

    async fn the_members_with_an_account_are_known_also_those_who_were_members_first(db: TestDatabase) {
        let database = open(&db).await;
        let (alice, elsewhere) = (make_account(&database, "@alice:localhost").await, UserSn(1_000));
        assert_eq!(append(&database, vec![join(alice, 0), join(elsewhere, 1)]).await, [true, true]);
        assert_eq!(database.local_members(RoomSn(1)).await.unwrap(), [alice]);
        // Her number is known before her account.
        let later = UserSn(alice.0 + 1);
        assert_eq!(append(&database, vec![join(later, 2)]).await, [true]);
        assert_eq!(database.local_members(RoomSn(1)).await.unwrap(), [alice]);
        assert_eq!(make_account(&database, "@later:localhost").await, later);
        assert_eq!(database.some_local_members(RoomSn(1), 10).await.unwrap(), [alice, later]);
        let audience = database.audience(RoomSn(1)).await.unwrap();
        assert_eq!(audience.iter().map(|member| member.user_sn).collect::<Vec<_>>(), [alice, later]);
    }

    async fn the_directory_is_read_in_pages_in_both_directions(db: TestDatabase) {
        let database = open(&db).await;
        // Of several sizes, and several of each; every third is not published.
        for room_sn in 1..=12 {
            let mut append_to = message(room_sn, &format!("$first of {room_sn}"), 0, &format!("{room_sn}"));
            append_to.joined_change = room_sn / 4;
            assert_eq!(append(&database, vec![append_to]).await, [true]);
            database.set_room_published(RoomSn(room_sn), room_sn % 3 != 0).await.unwrap();
        }
        let expected = [(2, 8), (2, 10), (2, 11), (1, 4), (1, 5), (1, 7), (0, 1), (0, 2)];
        let expected = expected.map(|(joined_count, room_sn)| (joined_count, RoomSn(room_sn)));
        assert_eq!(database.count_published_rooms(100).await.unwrap(), 8);
        assert_eq!(database.count_published_rooms(5).await.unwrap(), 5);

        let pair = |entry: &DirectoryEntry| (entry.joined_count, entry.room_sn);
        let (mut forwards, mut place) = (Vec::new(), DirectoryEntry { joined_count: i64::MAX, room_sn: RoomSn(0) });
        loop {
            let page = database.directory_after(place, 3).await.unwrap();
            forwards.extend(page.iter().map(pair));
            let Some(last) = page.last() else { break };
            place = *last;
        }
        assert_eq!(forwards, expected);
        let (mut backwards, mut place) = (Vec::new(), DirectoryEntry { joined_count: -1, room_sn: RoomSn(0) });
        loop {
            let page = database.directory_before(place, 3).await.unwrap();
            backwards.extend(page.iter().map(pair));
            let Some(last) = page.last() else { break };
            place = *last;
        }
        backwards.reverse();
        assert_eq!(backwards, expected);
        database.set_room_published(RoomSn(8), false).await.unwrap();
        assert!(!database.is_room_published(RoomSn(8)).await.unwrap());
        assert_eq!(database.count_published_rooms(100).await.unwrap(), 7);
    }
}
