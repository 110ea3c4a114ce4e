//! Rooms with many ends.

use std::sync::atomic::Ordering;

use room_engine::RoomVersion;
use rooms::Reception;
use serde_json::json;
use storage::{LogEntry, Standing};
use testing::on_both_databases;

use super::room::{Event, Plan, Room, join, member, message, state, topic};
use super::server::Server;

/// Events that join ends and say nothing.
const JOINT: &str = "org.matrix.dummy_event";

async fn room_of_two(server: &Server, version: RoomVersion) -> (Room, Event) {
    server.register("@alice:one").await;
    let room = Room::with_levels(server, version, &json!({ "users": { "@bob:two": 100 } })).await;
    let bob = room.accept(&join("@bob:two"), &[&room.end().await]).await;
    (room, bob)
}

on_both_databases! {
    async fn ten_ends_are_joined_by_an_event_that_nobody_sees(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in [RoomVersion::V1, RoomVersion::V6, RoomVersion::V12] {
            let (room, bob) = room_of_two(&server, version).await;
            let mut events = Vec::new();
            for n in 0..9 {
                events.push(room.accept(&topic("@bob:two", &format!("{n}")), &[&bob]).await);
            }
            assert_eq!(room.ends().await.len(), 9);
            let shown = room.timeline().await.len();
            server.log.news();
            events.push(room.accept(&message("@bob:two", "ten"), &[&bob]).await);
            let end = room.end().await;
            assert_eq!((end.pdu.event_type(), end.pdu.sender().as_str()), (JOINT, "@alice:one"));
            assert_eq!(end.pdu.prev_events().len(), 10);
            assert_eq!(room.stored(&end).await.standing, Standing::Hidden);
            assert_eq!(room.timeline().await.len(), shown + 1);
            let news = server.log.news();
            assert!(matches!(news.as_slice(), [LogEntry::Event(event)] if *event.event_id == *events[9].id().as_str()), "{news:?}");
            assert!(server.database.event_by_id(end.id().as_str()).await.unwrap().is_none());
            assert_eq!(room.head().await.countable_total, 1);
            room.send(&message("@alice:one", "on one end")).await;
            room.assert_consistent().await;
        }
    }

    async fn a_member_who_may_speak_joins_the_ends(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, _) = room_of_two(&server, RoomVersion::V11).await;
        let dan = server.register("@dan:one").await;
        room.send_as(&dan, &join("@dan:one")).await;
        // Alice gives up her power.
        let users = json!({ "@bob:two": 100, "@dan:one": 60 });
        let levels = json!({ "users": users, "events": { JOINT: 60 } });
        let quiet = room.send(&state("@alice:one", "m.room.power_levels", "", levels)).await;
        for n in 0..10 {
            room.accept(&message("@bob:two", &format!("{n}")), &[&quiet]).await;
        }
        let end = room.end().await;
        assert_eq!((end.pdu.event_type(), end.pdu.sender().as_str()), (JOINT, "@dan:one"));
    }

    async fn without_a_local_member_a_room_has_twenty_ends_at_most(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in [RoomVersion::V1, RoomVersion::V11] {
            let (room, bob) = room_of_two(&server, version).await;
            let left = room.accept(&member("@alice:one", "@alice:one", "leave"), &[&bob]).await;
            room.gives_up_ends.store(true, Ordering::Relaxed);
            let mut events = Vec::new();
            for n in 0..25 {
                let plan = if n % 2 == 0 { topic("@bob:two", &format!("{n}")) } else { message("@bob:two", &format!("{n}")) };
                events.push(room.accept(&plan, &[&left]).await);
                assert_eq!(room.ends().await.len(), events.len().min(20));
            }
            let kept: Vec<&Event> = events[5..].iter().collect();
            room.assert_ends(&kept).await;
            let joined = room.accept(&message("@bob:two", "all"), &kept).await;
            room.assert_ends(&[&joined]).await;
        }
    }

    async fn joints_of_other_servers_are_hidden_too(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, bob) = room_of_two(&server, RoomVersion::V11).await;
        let left = room.accept(&message("@bob:two", "left"), &[&bob]).await;
        let right = room.accept(&message("@bob:two", "right"), &[&bob]).await;
        let joint = Plan { event_type: JOINT.to_owned(), content: json!({}), ..message("@bob:two", "") };
        let joint = room.build(&joint, &[&left, &right]);
        server.log.news();
        assert!(matches!(room.receive(&joint).await, Reception::Stored(Standing::Hidden, None)));
        assert!(server.log.news().is_empty());
        room.assert_ends(&[&joint]).await;
        assert!(!room.timeline().await.contains(&joint.id().to_string()));
        let next = room.send(&message("@alice:one", "next")).await;
        assert_eq!(next.pdu.prev_events(), [joint.id().to_owned()]);
        room.assert_consistent().await;
    }
}
