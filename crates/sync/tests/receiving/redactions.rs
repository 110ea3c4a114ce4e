//! Redactions by users of other servers.

use room_engine::RoomVersion;
use serde_json::json;
use storage::{LogEntry, Standing};
use testing::on_both_databases;

use super::room::{Event, Room, join, message, redaction, topic};
use super::server::Server;

/// A room with `@bob:two`, who has power, and `@carol:three` and `@dave:three`, who have none.
async fn room_of_four(server: &Server, version: RoomVersion) -> (Room, Event) {
    let room = Room::with_levels(server, version, &json!({ "users": { "@bob:two": 50 } })).await;
    let mut end = room.end().await;
    for user in ["@bob:two", "@carol:three", "@dave:three"] {
        end = room.accept(&join(user), &[&end]).await;
    }
    (room, end)
}

impl Room {
    pub(super) async fn is_redacted(&self, event: &Event) -> bool {
        self.parse(&self.stored(event).await).content().as_bytes() == b"{}"
    }
}

on_both_databases! {
    async fn with_power_or_from_the_same_server_an_event_is_redacted(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, mut end) = room_of_four(&server, version).await;
            for (author, redactor) in [("@carol:three", "@bob:two"), ("@carol:three", "@carol:three"), ("@carol:three", "@dave:three")] {
                let target = room.accept(&message(author, "oops"), &[&end]).await;
                server.log.news();
                end = room.accept(&redaction(redactor, target.id()), &[&target]).await;
                assert!(room.is_redacted(&target).await, "{version:?} {redactor}");
                let news = server.log.news();
                let [LogEntry::Event(told)] = news.as_slice() else { panic!("{news:?}") };
                assert_eq!(told.redacts.as_ref().map(|it| it.sn), Some(room.stored(&target).await.stored.sn));
            }
        }
    }

    async fn without_power_an_event_of_another_server_is_not_redacted(db: TestDatabase) {
        let server = Server::new(&db).await;
        for version in RoomVersion::ALL {
            let (room, end) = room_of_four(&server, version).await;
            let target = room.accept(&message("@bob:two", "stay"), &[&end]).await;
            let event = room.build(&redaction("@carol:three", target.id()), &[&target]);
            // The first versions have it in their rules; the others take the event in without effect.
            let expected = if version <= RoomVersion::V2 { Standing::Rejected } else { Standing::Accepted };
            assert_eq!(room.standing(&event).await, expected, "{version:?}");
            assert!(!room.is_redacted(&target).await);
        }
    }

    async fn redacted_state_stays_in_its_place(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, end) = room_of_four(&server, RoomVersion::V11).await;
        let set = room.accept(&topic("@bob:two", "oops"), &[&end]).await;
        let gone = room.accept(&redaction("@bob:two", set.id()), &[&set]).await;
        let current = room.current_state().await;
        let topic = &current[&("m.room.topic".to_owned(), String::new())];
        assert_eq!((topic.event_id(), topic.content().as_bytes()), (set.id(), &b"{}"[..]));
        let local = room.send(&message("@alice:one", "gone")).await;
        assert_eq!(local.pdu.prev_events(), [gone.id().to_owned()]);
    }

    async fn an_event_of_another_room_cannot_be_redacted(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, end) = room_of_four(&server, RoomVersion::V11).await;
        let (other, there) = room_of_four(&server, RoomVersion::V11).await;
        let target = other.accept(&message("@carol:three", "safe"), &[&there]).await;
        room.accept(&redaction("@bob:two", target.id()), &[&end]).await;
        assert!(!other.is_redacted(&target).await);
    }

    async fn a_redaction_that_does_not_count_redacts_nothing(db: TestDatabase) {
        let server = Server::new(&db).await;
        let (room, end) = room_of_four(&server, RoomVersion::V11).await;
        let target = room.accept(&message("@carol:three", "stay"), &[&end]).await;
        room.send(&super::room::member("@alice:one", "@bob:two", "ban")).await;
        let late = room.build(&redaction("@bob:two", target.id()), &[&target]);
        assert_eq!(room.standing(&late).await, Standing::SoftFailed);
        assert!(!room.is_redacted(&target).await);
    }
}
