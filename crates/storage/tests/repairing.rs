//! Putting a large room right, on both engines.

#![expect(clippy::unwrap_used, reason = "the exception for tests does not reach the functions that tests share")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use homeserver_core::{EventSn, KeySn, RoomSn, Timestamp, TypeSn, UserSn};
use room_engine::auth_chain::IndexedEvent;
use room_engine::state_map::{MemoryChunks, Place, StateMap};
use storage::{
    Append, Arrival, Database, DatabaseObserver, DatabaseOptions, EventNumber, NewEvent, RepairedState, RoomRepair,
    Standing, StatementTimes,
};
use testing::on_both_databases;

const ROOM: RoomSn = RoomSn(1);
const EVENTS: usize = 3_000;

/// Counts statements and transactions.
#[derive(Default)]
struct Counts {
    statements: Arc<AtomicUsize>,
    commits: AtomicUsize,
}

impl DatabaseObserver for Counts {
    fn statements(&self, _: &str) -> StatementTimes {
        let statements = self.statements.clone();
        Arc::new(move |_| {
            statements.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn connection_acquired(&self, _: Duration) {}

    fn connection_timed_out(&self) {}

    fn committed(&self, _: usize, _: Duration, _: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    fn write_failed(&self) {}
}

fn event(number: usize) -> NewEvent {
    NewEvent {
        number: EventNumber::default(),
        event_id: format!("${number}").into(),
        type_sn: TypeSn(1),
        state_key_sn: Some(KeySn(i64::try_from(number % 50).unwrap())),
        sender_sn: UserSn(1),
        origin_server_ts: Timestamp(1),
        depth: 1,
        client_json: Bytes::from_static(b"{}"),
        federation_json: Bytes::from_static(b"{}"),
        unread: Arc::default(),
        replaces: None,
        membership: None,
        redacts: None,
        standing: Standing::Accepted,
        auth_events: Vec::new(),
        previous_in_chain: None,
        state_before: None,
        arrival: Arrival::default(),
    }
}

/// A large room, and the numbers of its events.
async fn large_room(database: &Database) -> Vec<EventSn> {
    let events: Vec<NewEvent> = (0..EVENTS).map(event).collect();
    let numbers: Vec<EventNumber> = events.iter().map(|event| event.number.clone()).collect();
    let append = Append {
        room_sn: ROOM,
        room_version: "12".into(),
        expected_version: 0,
        new_version: 1,
        events,
        resolved: None,
        extremities: None,
        transaction: None,
        joined_change: 0,
        invited_change: 0,
        also: None,
        is_entry: false,
    };
    database.append(append).await.unwrap().await.unwrap().unwrap();
    numbers.iter().map(EventNumber::sn).collect()
}

/// A repair that stores the states after all events again.
fn repair(events: &[EventSn], expected_version: i64, is_replacement: bool) -> RoomRepair {
    let mut known = MemoryChunks::default();
    let mut state = StateMap::EMPTY;
    let mut states = Vec::with_capacity(events.len());
    for (number, event_sn) in (0_i64..).zip(events) {
        let place = Place::new(TypeSn(1), KeySn(number % 50));
        let applied = state.apply(&known, &[(place, Some(*event_sn))]).unwrap();
        known.extend(applied.new_chunks.iter().cloned());
        state = applied.map;
        states.push(RepairedState { event_sn: *event_sn, state, chunks: applied.new_chunks, is_replacement });
    }
    RoomRepair {
        room_sn: ROOM,
        expected_version,
        states,
        standings: events.iter().map(|event_sn| (*event_sn, Standing::Accepted)).collect(),
        chunks: Vec::new(),
        current: state,
        effects: Vec::new(),
        memberships: Vec::new(),
        extremities: events.last().copied().into_iter().collect(),
        depth: 1,
        joined_count: 0,
        invited_count: 0,
        is_completion: false,
    }
}

async fn roots(database: &Database) -> Vec<Option<Vec<u8>>> {
    database.query("SELECT state_root FROM events ORDER BY event_sn", &[], |row| row.get(0)).await.unwrap()
}

on_both_databases! {
    async fn a_large_room_is_put_right_in_transactions_of_bounded_size(db: TestDatabase) {
        let counts = Arc::new(Counts::default());
        let database = Database::open_observed(&DatabaseOptions::new(db.url()), counts.clone()).await.unwrap();
        let events = large_room(&database).await;
        let expected = roots(&database).await;
        for is_replacement in [false, true] {
            let forget = "UPDATE events SET state_root = NULL, standing = 2";
            database.write(async move |tx| tx.execute(forget, &[]).await).await.unwrap();
            let version = database.room_head(ROOM).await.unwrap().unwrap().version;
            let before = (counts.statements.load(Ordering::Relaxed), counts.commits.load(Ordering::Relaxed));
            assert!(database.repair_room(repair(&events, version, is_replacement)).await.unwrap());
            let transactions = counts.commits.load(Ordering::Relaxed) - before.1;
            assert!((5..=12).contains(&transactions), "{transactions} transactions");
            let statements = counts.statements.load(Ordering::Relaxed) - before.0;
            assert!(statements <= 12 * transactions, "{statements} statements");
            assert_eq!(roots(&database).await, expected);
        }
        let of_accepted = "SELECT COUNT(*) FROM events WHERE standing = 0";
        let accepted = database.query_optional(of_accepted, &[], |row| row.get::<i64>(0)).await.unwrap().unwrap();
        assert_eq!(usize::try_from(accepted).unwrap(), EVENTS);
    }

    async fn what_was_worked_out_from_a_room_that_has_moved_on_is_not_stored_as_its_present(db: TestDatabase) {
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        let events = large_room(&database).await;
        let before = database.room_head(ROOM).await.unwrap().unwrap();
        assert!(!database.repair_room(repair(&events, before.version + 1, true)).await.unwrap());
        assert_eq!(database.room_head(ROOM).await.unwrap().unwrap().version, before.version);
    }

    async fn the_auth_chains_of_a_large_room_are_indexed_step_by_step(db: TestDatabase) {
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        let events = large_room(&database).await;
        let read = async || {
            let sql = "SELECT event_sn, chain, seq FROM auth_chain_events ORDER BY event_sn";
            let row = |row: &storage::Row<'_>| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, row.get::<i64>(2)?));
            database.query(sql, &[], row).await.unwrap()
        };
        let version = database.room_head(ROOM).await.unwrap().unwrap().version;
        let indexed = |event_sn: &EventSn| IndexedEvent { event_sn: *event_sn, auth_events: Default::default(), replaces: None };
        let expected = read().await;
        assert_eq!(expected.len(), EVENTS);
        assert!(database.rebuild_auth_chains(ROOM, version, events.iter().map(indexed).collect()).await.unwrap());
        assert_eq!(read().await, expected);
        assert!(!database.rebuild_auth_chains(ROOM, version + 1, vec![indexed(&events[0])]).await.unwrap());
        assert_eq!(read().await, expected);
    }
}
