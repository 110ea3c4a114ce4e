//! Rooms whose members come to be known after everything else, on both engines.

#![expect(clippy::unwrap_used, reason = "the exception for tests does not reach the functions that tests share")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use homeserver_core::{KeySn, Position, RoomSn, Timestamp, TypeSn, UserSn};
use storage::{
    Append, AppendOutcome, Arrival, Database, DatabaseOptions, EventNumber, FullState, Membership, NewEvent,
    RoomStates, Standing, Step, Tx,
};
use testing::{TestDatabase, on_both_databases};
use tokio_util::sync::CancellationToken;

const ROOM: RoomSn = RoomSn(1);
const MEMBER: TypeSn = TypeSn(1);
const TOPIC: TypeSn = TypeSn(2);

async fn open(database: &TestDatabase) -> Database {
    Database::open(&DatabaseOptions::new(database.url())).await.unwrap()
}

async fn follow(database: &Database) -> Arc<RoomStates> {
    RoomStates::follow(database, "here", Duration::from_millis(50), CancellationToken::new()).await.unwrap()
}

fn event(type_sn: TypeSn, key: i64, replaces: Option<&EventNumber>) -> NewEvent {
    NewEvent {
        number: EventNumber::default(),
        event_id: "".into(),
        type_sn,
        state_key_sn: Some(KeySn(key)),
        sender_sn: UserSn(1),
        origin_server_ts: Timestamp(1),
        depth: 1,
        client_json: Bytes::from_static(b"{}"),
        federation_json: Bytes::from_static(b"{}"),
        unread: std::sync::Arc::default(),
        replaces: replaces.map(|number| (number.clone(), Bytes::from_static(b"{}"))),
        membership: (type_sn == MEMBER).then_some((UserSn(key), Membership::Join)),
        redacts: None,
        standing: Standing::Accepted,
        auth_events: Vec::new(),
        previous_in_chain: None,
        state_before: None,
        arrival: Arrival::default(),
    }
}

/// Appends the events together with a further write, and returns their numbers.
async fn append(
    database: &Database,
    version: i64,
    mut events: Vec<NewEvent>,
    also: Option<Box<dyn Step>>,
) -> Vec<EventNumber> {
    for (index, event) in events.iter_mut().enumerate() {
        event.event_id = format!("$event {index} on version {version}").into();
    }
    let numbers: Vec<_> = events.iter().map(|event| event.number.clone()).collect();
    let joined_change = i64::try_from(events.iter().filter(|event| event.type_sn == MEMBER).count()).unwrap();
    let append = Append {
        room_sn: ROOM,
        room_version: "12".into(),
        expected_version: version,
        new_version: version + 1,
        events,
        resolved: None,
        extremities: None,
        transaction: None,
        joined_change,
        invited_change: 0,
        also,
        is_entry: false,
    };
    let outcome = database.append(append).await.unwrap().await.unwrap().unwrap();
    assert!(matches!(outcome, AppendOutcome::Appended(_)));
    numbers
}

/// Of what type and state key the state was at a position, and by which event.
async fn state_at(database: &Database, full: &FullState, at: Position) -> Vec<(i64, i64, i64)> {
    let entries = database.state_at(full, MEMBER, at).await.unwrap();
    let mut found: Vec<_> =
        entries.into_iter().map(|entry| (entry.type_sn.0, entry.key_sn.0, entry.event_sn.0)).collect();
    found.sort_unstable();
    found
}

async fn members_at(database: &Database, full: &FullState, at: Position) -> Vec<i64> {
    let events = database.members_at(full, MEMBER, at).await.unwrap();
    events.into_iter().map(|event| event.sn.0).collect()
}

on_both_databases! {
    async fn members_who_become_known_later_were_there_all_the_time(db: TestDatabase) {
        let database = open(&db).await;
        let states = follow(&database).await;
        let partial = async |tx: &mut Tx| tx.mark_state_partial(ROOM).await;
        let first = vec![event(MEMBER, 10, None), event(TOPIC, 1, None)];
        let first = append(&database, 0, first, Some(Box::new(partial))).await;
        assert!(states.of(ROOM).full().is_none());
        states.full(ROOM).await.unwrap_err();
        let at = database.position().await.unwrap();

        let later = vec![event(MEMBER, 10, first.first()), event(TOPIC, 1, first.get(1)), event(TOPIC, 2, None)];
        append(&database, 1, later, None).await;
        let whole = async |tx: &mut Tx| tx.mark_state_whole(ROOM).await;
        let others = append(&database, 2, vec![event(MEMBER, 20, None)], Some(Box::new(whole))).await;
        let full = states.full(ROOM).await.unwrap();
        let afterwards = append(&database, 3, vec![event(MEMBER, 20, others.first()), event(MEMBER, 30, None)], None).await;

        let [own, topic, other] = [&first[0], &first[1], &others[0]].map(|number| number.sn().0);
        assert_eq!(state_at(&database, &full, at).await, [(1, 10, own), (1, 20, other), (2, 1, topic)]);
        assert_eq!(members_at(&database, &full, at).await, [own, other]);
        let now = database.position().await.unwrap();
        assert_eq!(state_at(&database, &full, now).await.len(), 5);
        assert_eq!(members_at(&database, &full, now).await.len(), 3);
        assert_eq!(members_at(&database, &full, now).await[1..], afterwards.iter().map(|it| it.sn().0).collect::<Vec<_>>());
        let entries = database.state_without_members_at(&states.of(ROOM), MEMBER, at).await.unwrap();
        assert_eq!(entries.iter().map(|entry| entry.event_sn.0).collect::<Vec<_>>(), [topic]);
        assert_eq!(database.room_head(ROOM).await.unwrap().unwrap().members(&full).joined, 5);
    }

    async fn a_room_stays_partial_while_events_are_added_and_the_process_starts_anew(db: TestDatabase) {
        let database = open(&db).await;
        let states = follow(&database).await;
        append(&database, 0, vec![event(MEMBER, 10, None)], None).await;
        assert_eq!(database.room_head(ROOM).await.unwrap().unwrap().state_whole_since, Some(Position::START));
        database.write(async |tx| tx.mark_state_partial(ROOM).await).await.unwrap();
        append(&database, 1, vec![event(TOPIC, 1, None)], None).await;
        assert_eq!(database.room_head(ROOM).await.unwrap().unwrap().state_whole_since, None);
        assert!(states.of(ROOM).full().is_none());

        let again = open(&db).await;
        let states = follow(&again).await;
        assert!(states.of(ROOM).full().is_none());
        again.write(async |tx| tx.mark_state_whole(ROOM).await).await.unwrap();
        let whole_since = again.position().await.unwrap();
        assert_eq!(again.room_head(ROOM).await.unwrap().unwrap().state_whole_since, Some(whole_since));
        assert!(states.of(ROOM).was_full_at(whole_since) && states.of(ROOM).became_full_after(Position(whole_since.0 - 1)));
    }

    async fn a_mark_that_is_not_committed_is_told_to_nobody(db: TestDatabase) {
        let database = open(&db).await;
        let states = follow(&database).await;
        append(&database, 0, vec![event(MEMBER, 10, None)], None).await;
        let failing = async |tx: &mut Tx| {
            tx.mark_state_partial(ROOM).await?;
            Err::<(), _>(storage::StorageError::Statement("no".to_owned()))
        };
        database.write(failing).await.unwrap_err();
        assert!(states.of(ROOM).full().is_some());
        assert!(follow(&database).await.of(ROOM).full().is_some());
    }
}
