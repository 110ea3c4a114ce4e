//! The end of a room in memory, when the room has more state than is remembered there.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use homeserver_core::UserSn;
use room_engine::RoomVersion;
use rooms::{Draft, RoomError};
use ruma::OwnedUserId;
use serde_json::json;
use testing::on_both_databases;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::room::{Plan, Room, canonical, join, member, message, redaction, state};
use super::server::Server;

type Person = (UserSn, OwnedUserId);

/// More than a head remembers.
const MANY: usize = 2_100;

/// Stages one event and drops it again: whether the rules allow it.
async fn refusal(room: &Room, person: &Person, plan: &Plan) -> Option<RoomError> {
    let mut open = room.server.timeline.open(room.sn).await.unwrap();
    let draft = Draft {
        event_type: plan.event_type.clone(),
        state_key: plan.state_key.clone(),
        content: canonical(&plan.content),
        redacts: plan.redacts.clone(),
    };
    let staged = open.stage(person.0, &person.1, &draft).await;
    staged.err()
}

/// Puts more into the state of the room than its head remembers.
async fn fill(room: &Room) {
    let mut open = room.server.timeline.open(room.sn).await.unwrap();
    for number in 0..MANY {
        let draft = Draft::state("org.example.entry", number.to_string(), canonical(&json!({ "number": number })));
        open.stage(room.alice.0, &room.alice.1, &draft).await.unwrap();
    }
    open.submit(None).await.unwrap().stored().await.unwrap();
}

async fn person(server: &Server, user_id: &str) -> Person {
    (server.interned.user(user_id).await.unwrap(), OwnedUserId::try_from(user_id).unwrap())
}

/// Holds the server's writer up until it is released.
async fn hold_up(server: &Server) -> (Arc<Notify>, JoinHandle<()>) {
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, released, database) = (begun.clone(), release.clone(), server.database.clone());
    let holding = tokio::spawn(async move {
        let write = database.write(async move |_| {
            begins.notify_one();
            released.notified().await;
            Ok(())
        });
        write.await.unwrap();
    });
    begun.notified().await;
    (release, holding)
}

on_both_databases! {
    async fn what_changed_since_a_head_was_read_is_not_forgotten_with_the_rest(db: TestDatabase) {
        let first = Server::new(&db).await;
        let created = Room::create(&first, RoomVersion::V11).await;
        created.send_as(&person(&first, "@bob:one").await, &join("@bob:one")).await;
        created.send_as(&person(&first, "@dora:one").await, &join("@dora:one")).await;

        // A process that reads the head now, and whose caches keep nothing.
        let server = Server::new(&db).await;
        server.database.memory().set_time_to_live(Some(Duration::from_millis(1)));
        let room = created.at(&server, created.sn);
        let [bob, carol, dora] =
            [person(&server, "@bob:one").await, person(&server, "@carol:one").await, person(&server, "@dora:one").await];
        room.send(&member("@alice:one", "@bob:one", "ban")).await;
        room.send_as(&carol, &join("@carol:one")).await;
        room.send_as(&dora, &member("@dora:one", "@dora:one", "leave")).await;
        let joined = room.head().await.known_members().joined;
        fill(&room).await;
        fill(&room).await;
        tokio::time::sleep(Duration::from_millis(20)).await;

        assert!(matches!(refusal(&room, &bob, &join("@bob:one")).await, Some(RoomError::Refused(_))), "he is banned");
        assert!(matches!(refusal(&room, &dora, &message("@dora:one", "")).await, Some(RoomError::Refused(_))), "she left");
        assert!(refusal(&room, &carol, &message("@carol:one", "hello")).await.is_none(), "she is here");
        let rename = state("@carol:one", "m.room.member", "@carol:one", json!({ "membership": "join", "displayname": "C" }));
        room.send_as(&carol, &rename).await;
        assert_eq!(room.head().await.known_members().joined, joined, "nobody came");
        room.send(&member("@alice:one", "@bob:one", "leave")).await;
        room.send_as(&bob, &join("@bob:one")).await;
        assert_eq!(room.head().await.known_members().joined, joined + 1);
        room.assert_consistent().await;
    }

    async fn a_head_has_a_redacted_event_as_it_is_now_though_it_was_not_asked_for(db: TestDatabase) {
        let first = Server::new(&db).await;
        let created = Room::create(&first, RoomVersion::V11).await;
        let secret = created.send(&state("@alice:one", "m.room.topic", "", json!({ "topic": "secret" }))).await;
        let server = Server::new(&db).await;
        let room = created.at(&server, created.sn);
        let mut open = server.timeline.open(room.sn).await.unwrap();
        let gone = redaction("@alice:one", secret.id());
        let draft = Draft { redacts: gone.redacts, ..Draft::message("m.room.redaction", canonical(&gone.content)) };
        open.stage(room.alice.0, &room.alice.1, &draft).await.unwrap();
        // The redaction is not stored yet.
        let seen = open.state("m.room.topic", "").await.unwrap().unwrap();
        assert_eq!(seen.content().as_bytes(), b"{}");
    }

    async fn a_head_that_is_read_again_has_what_is_under_way(db: TestDatabase) {
        let server = Server::new(&db).await;
        let room = Room::create(&server, RoomVersion::V11).await;
        let bob = person(&server, "@bob:one").await;
        // What is not known yet would have to be written first.
        server.interned.state_key("@bob:one").await.unwrap();
        let hello = message("@bob:one", "hello");

        let (release, held_up) = hold_up(&server).await;
        let mut open = server.timeline.open(room.sn).await.unwrap();
        let draft = Draft::state("m.room.member", "@bob:one", canonical(&json!({ "membership": "join" })));
        open.stage(bob.0, &bob.1, &draft).await.unwrap();
        let joined = open.submit(None).await.unwrap();
        // What is staged and dropped has the head read again.
        assert!(refusal(&room, &bob, &hello).await.is_none(), "the head in memory has the join");
        let mut asked_again = pin!(refusal(&room, &bob, &hello));
        let early = timeout(Duration::from_millis(300), &mut asked_again).await;
        release.notify_one();
        assert!(early.is_err(), "the head was read before the join was stored: {early:?}");
        let refused = asked_again.await;
        assert!(refused.is_none(), "{refused:?}");
        joined.stored().await.unwrap();
        held_up.await.unwrap();
        room.send_as(&bob, &hello).await;
        room.assert_consistent().await;
    }
}
