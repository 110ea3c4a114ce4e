//! `room check`: what is stored of a room is compared with what follows from its events, and put right.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly in the functions around it too")]

use serde_json::{Value, json};
use storage::{Database, DatabaseOptions};
use testing::{ServerProcess, TestDatabase, TestServer, User, eventually, on_both_databases, path_segment};

const PROGRAM: &str = env!("CARGO_BIN_EXE_synapse-rust");

/// A room with some history, on a server that has been stopped.
struct Stopped {
    server: ServerProcess,
    alice: User,
    room: String,
    state: Vec<Value>,
}

impl Stopped {
    async fn with_a_room(db: &TestDatabase) -> Self {
        let mut server = ServerProcess::start(PROGRAM, db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let room = alice.create_room(&json!({ "preset": "public_chat", "invite": [carol.id] })).await;
        bob.join(&room).await;
        for number in 0..5 {
            alice.send_text(&room, &format!("message {number}")).await;
            let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.topic", path_segment(&room));
            alice.put(&path).json(&json!({ "topic": format!("topic {number}") })).await.ok();
        }
        let ban = format!("/_matrix/client/v3/rooms/{}/ban", path_segment(&room));
        alice.post(&ban).json(&json!({ "user_id": "@nobody:elsewhere.test" })).await.ok();
        let state = current_state(&alice, &room).await;
        assert!(server.terminate().await.success());
        Self { server, alice, room, state }
    }

    async fn check(&self, more: &[&str]) -> (bool, String) {
        let output = self.server.run(&[&["room", "check", &self.room], more].concat()).await;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    /// Damages the room, and expects that this is found and can be put right.
    async fn damage(&mut self, db: &TestDatabase, statements: &'static [&'static str], expected: &[&str]) {
        let (is_sound, text) = self.check(&[]).await;
        assert!(is_sound, "before {statements:?}: {text}");
        run(db, statements).await;

        let (is_sound, text) = self.check(&[]).await;
        assert!(!is_sound, "{statements:?} is not found: {text}");
        for part in expected {
            assert!(text.contains(part), "{part:?} is not in the findings of {statements:?}: {text}");
        }
        let (is_repaired, text) = self.check(&["--repair"]).await;
        assert!(is_repaired, "{statements:?} is not repaired: {text}");
        let (is_sound, text) = self.check(&[]).await;
        assert!(is_sound, "after the repair of {statements:?}: {text}");
        assert!(text.contains("everything follows from them"), "{text}");
    }

    /// Starts the server again, and expects the room to be what it was and to go on.
    async fn go_on(mut self) {
        self.server.restart().await;
        let alice = self.alice.at(&self.server.client());
        assert_eq!(current_state(&alice, &self.room).await, self.state);
        // Until the state has been worked out, the client is told to come back.
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/first", path_segment(&self.room));
        eventually("the room can be written to", async || {
            let answer = alice.put(&path).json(&json!({ "body": "first" })).await;
            (answer.status == 200).then_some(()).or_else(|| {
                answer.error(503, "M_UNKNOWN");
                None
            })
        })
        .await;
        alice.send_text(&self.room, "still here").await;
        let dave = self.server.register("dave").await;
        dave.join(&self.room).await;
        assert!(self.server.terminate().await.success());
        let (is_sound, text) = self.check(&[]).await;
        assert!(is_sound, "after going on: {text}");
    }
}

async fn run(db: &TestDatabase, statements: &'static [&'static str]) {
    let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
    let write = async move |tx: &mut storage::Tx| {
        for sql in statements {
            tx.execute(sql, &[]).await?;
        }
        Ok(())
    };
    database.write(write).await.unwrap();
    database.close().await;
}

async fn current_state(user: &User, room: &str) -> Vec<Value> {
    let answer = user.get(format!("/_matrix/client/v3/rooms/{}/state", path_segment(room))).await.ok();
    let mut events = answer.as_array().unwrap().clone();
    for event in &mut events {
        event.as_object_mut().unwrap().remove("unsigned");
    }
    events.sort_by_key(|event| event["event_id"].to_string());
    events
}

on_both_databases! {
    async fn what_differs_from_the_events_is_found_and_put_right(db: TestDatabase) {
        let mut stopped = Stopped::with_a_room(&db).await;
        stopped.damage(&db, &[
            "UPDATE events SET state_root = NULL WHERE event_sn = (SELECT MAX(event_sn) FROM events) - 1",
        ], &["is not stored"]).await;
        stopped.damage(&db, &[
            "UPDATE events SET state_root = (SELECT state_root FROM events WHERE event_sn = (SELECT MIN(event_sn) FROM events)) \
             WHERE event_sn = (SELECT MAX(event_sn) FROM events)",
        ], &["the stored state after"]).await;
        stopped.damage(&db, &[
            "DELETE FROM current_state WHERE type_sn = (SELECT type_sn FROM event_types WHERE event_type = 'm.room.topic')",
        ], &["has nothing at (m.room.topic", "belongs there"]).await;
        stopped.damage(&db, &[
            "UPDATE current_state SET event_sn = (SELECT MIN(event_sn) FROM events) \
             WHERE type_sn = (SELECT type_sn FROM event_types WHERE event_type = 'm.room.join_rules')",
        ], &["m.room.join_rules"]).await;
        stopped.damage(&db, &["UPDATE memberships SET membership = 4 WHERE membership = 1"], &["the membership of @alice"]).await;
        stopped.damage(&db, &[
            "UPDATE room_heads SET joined_count = 77, depth = 3, extremities = '1', state_root = NULL",
        ], &["the number of joined members", "the depth", "the list of forward extremities", "the current state"]).await;
        stopped.damage(&db, &[
            "DELETE FROM auth_chain_events WHERE event_sn = (SELECT MAX(event_sn) FROM auth_chain_events)",
        ], &["is not in its auth chain"]).await;
        stopped.go_on().await;
    }

    async fn a_room_that_is_older_than_stored_states_gets_them_after_the_start(db: TestDatabase) {
        let stopped = Stopped::with_a_room(&db).await;
        run(&db, &[
            "UPDATE events SET state_root = NULL",
            "UPDATE room_heads SET state_root = NULL",
            "DELETE FROM state_chunks",
            "DELETE FROM auth_chain_links",
            "DELETE FROM auth_chain_starts",
            "DELETE FROM auth_chain_events",
        ]).await;
        stopped.go_on().await;
    }

    async fn a_room_whose_state_cannot_be_worked_out_keeps_no_server_from_starting(db: TestDatabase) {
        let mut stopped = Stopped::with_a_room(&db).await;
        run(&db, &[
            "UPDATE events SET state_root = NULL",
            "UPDATE room_heads SET state_root = NULL",
            "UPDATE events SET federation_json = client_json",
        ]).await;
        stopped.server.restart().await;
        let bob = stopped.server.register("bert").await;
        let room = bob.create_room(&json!({})).await;
        bob.send_text(&room, "this room is well").await;
    }

    async fn a_room_that_is_not_known_is_an_error(db: TestDatabase) {
        let stopped = Stopped::with_a_room(&db).await;
        let output = stopped.server.run(&["room", "check", "!nowhere:localhost"]).await;
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("!nowhere:localhost is no room that this server knows"));
    }

    async fn what_is_wrong_with_an_event_itself_is_told_and_stays(db: TestDatabase) {
        let stopped = Stopped::with_a_room(&db).await;
        run(&db, &[
            "UPDATE events SET federation_json = client_json WHERE event_sn = (SELECT MAX(event_sn) - 1 FROM events)",
        ]).await;
        for arguments in [&[][..], &["--repair"], &[]] {
            let (is_sound, text) = stopped.check(arguments).await;
            assert!(!is_sound, "{text}");
            assert!(text.contains("cannot be read"), "{text}");
        }
    }

    async fn a_room_of_an_older_version_is_prepared_after_the_start_and_can_be_read_before(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "name": "old" })).await;
        let state = current_state(&alice, &room).await;
        server.shutdown().await;

        let server = TestServer::start(&db).await;
        let alice = alice.at(&server.client());
        let forget = async |tx: &mut storage::Tx| {
            tx.execute("UPDATE events SET state_root = NULL", &[]).await?;
            tx.execute("UPDATE room_heads SET state_root = NULL", &[]).await.map(drop)
        };
        server.database().write(forget).await.unwrap();
        assert_eq!(current_state(&alice, &room).await, state);
        let send = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/1", path_segment(&room));
        let refused = alice.put(&send).json(&json!({ "msgtype": "m.text", "body": "too early" })).await;
        assert!(refused.headers.contains_key("retry-after"), "{refused}");
        let refused = refused.error(503, "M_UNKNOWN");
        assert!(refused["error"].as_str().unwrap().contains("still working out the state of this room"), "{refused}");
        let other = alice.create_room(&json!({})).await;
        alice.send_text(&other, "other rooms go on").await;
        server.shutdown().await;

        let server = TestServer::start(&db).await;
        let alice = alice.at(&server.client());
        let message = json!({ "msgtype": "m.text", "body": "now" });
        let sent = async || (alice.put(&send).json(&message).await.status == 200).then_some(());
        eventually("the room is prepared", sent).await;
        assert_eq!(current_state(&alice, &room).await, state);
    }
}
