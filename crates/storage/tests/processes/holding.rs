//! Holding the log while events are built.

use std::time::Duration;

use bytes::Bytes;
use homeserver_core::{RoomSn, Timestamp, TypeSn, UserSn};
use storage::{Append, AppendOutcome, Arrival, EventNumber, NewEvent, Standing};
use testing::on_both_databases;
use tokio::time::{sleep, timeout};

use crate::world::{add, command, serve};

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn message(room_sn: i64, version: i64) -> Append {
    Append {
        room_sn: RoomSn(room_sn),
        room_version: "12".into(),
        expected_version: version,
        new_version: version + 1,
        events: vec![NewEvent {
            number: EventNumber::default(),
            event_id: format!("$event{version}").into(),
            type_sn: TypeSn(1),
            state_key_sn: None,
            sender_sn: UserSn(1),
            origin_server_ts: Timestamp(1),
            depth: version + 1,
            client_json: Bytes::from_static(b"{}"),
            federation_json: Bytes::from_static(b"{}"),
            unread: std::sync::Arc::default(),
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
        transaction: None,
        joined_change: 0,
        invited_change: 0,
        also: None,
        is_entry: false,
    }
}

on_both_databases! {
    async fn nobody_writes_while_the_log_is_held(db: TestDatabase) {
        let ((server, witness), other) = (serve(&db).await, command(&db).await);
        let first = server.append(message(1, 0)).await.unwrap().await.unwrap().unwrap();
        assert!(matches!(first, AppendOutcome::Appended(_)));
        let held = server.hold_log().await.unwrap();
        let elsewhere = tokio::spawn(async move { add(&other, 2).await.unwrap() });
        let here = { let server = server.clone(); tokio::spawn(async move { add(&server, 3).await.unwrap() }) };
        sleep(Duration::from_millis(200)).await;
        assert!(!elsewhere.is_finished() && !here.is_finished());
        let appended = held.append(message(1, 1)).unwrap().await.unwrap().unwrap();
        let AppendOutcome::Appended(events) = appended else { panic!("it is refused") };
        timeout(PATIENCE, async { tokio::join!(elsewhere, here) }).await.unwrap().0.unwrap();
        witness.is_told(4).await;
        assert!(witness.told()[1].contains(&*events[0].event_id));
        // What is built on an old head is refused all the same.
        let refused = server.hold_log().await.unwrap().append(message(1, 1)).unwrap().await.unwrap().unwrap();
        assert!(matches!(refused, AppendOutcome::Stale));
    }

    async fn the_log_is_not_held_for_long(db: TestDatabase) {
        let ((server, _), other) = (serve(&db).await, command(&db).await);
        let held = server.hold_log().await.unwrap();
        timeout(PATIENCE, add(&other, 1)).await.expect("the log is held for ever").unwrap();
        let too_late = held.append(message(1, 0));
        assert!(too_late.is_err_and(|error| error.is_unavailable()));
        // Nor when nothing comes of it.
        drop(server.hold_log().await.unwrap());
        timeout(Duration::from_millis(900), add(&other, 2)).await.expect("it is held though nobody holds it").unwrap();
        add(&server, 3).await.unwrap();
    }
}
