//! `POST /_matrix/client/v3/createRoom`

use std::collections::HashSet;

use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

const CREATE: &str = "/_matrix/client/v3/createRoom";

async fn refused(user: &User, request: Value, status: u16, errcode: &str) {
    user.post(CREATE).json(&request).await.error(status, errcode);
}

on_both_databases! {
    async fn rooms_of_every_version_can_be_created_and_talked_in(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for version in 1..=12 {
            let request = json!({ "room_version": version.to_string(), "invite": [bob.id], "preset": "trusted_private_chat" });
            let room = alice.create_room(&request).await;
            bob.join(&room).await;
            let event = bob.send_text(&room, "hello").await;
            let redact = format!("/_matrix/client/v3/rooms/{}/redact/{}/1", path_segment(&room), path_segment(&event));
            alice.put(redact).json(&json!({ "reason": "test" })).await.ok();
        }
    }

    async fn equal_requests_at_the_same_moment_make_different_rooms(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let request = json!({ "name": "Same" });
        let one = || alice.create_room(&request);
        let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
        assert_eq!(HashSet::from([a, b, c, d]).len(), 4);
    }

    async fn nothing_is_created_if_a_step_is_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let request = json!({ "room_alias_name": "hall", "visibility": "public", "invite": [alice.id] });
        refused(&alice, request, 403, "M_FORBIDDEN").await;
        alice.get("/_matrix/client/v3/directory/room/%23hall:localhost").await.error(404, "M_NOT_FOUND");
        let list = alice.get("/_matrix/client/v3/publicRooms").await.ok();
        assert_eq!(list["chunk"], json!([]));
    }

    async fn an_alias_belongs_to_the_first_of_those_who_ask_for_it_at_once(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let request = json!({ "room_alias_name": "hall" });
        let one = async || alice.post(CREATE).json(&request).await;
        let (a, b, c) = tokio::join!(one(), one(), one());
        let mut answers: Vec<_> = [a, b, c].into_iter().map(|answer| (answer.status.as_u16(), answer.json)).collect();
        answers.sort_by_key(|(status, _)| *status);
        let codes: Vec<_> = answers.iter().map(|(status, json)| (*status, json["errcode"].as_str())).collect();
        assert_eq!(codes, [(200, None), (400, Some("M_ROOM_IN_USE")), (400, Some("M_ROOM_IN_USE"))]);
        let resolved = alice.get("/_matrix/client/v3/directory/room/%23hall:localhost").await.ok();
        assert_eq!(resolved["room_id"], answers[0].1["room_id"]);
    }

    async fn bad_requests_are_refused_with_the_code_of_the_specification(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let levels = json!({ "type": "m.room.power_levels", "content": { "users": { "x": 1 } } });
        for (request, errcode) in [
            (json!({ "room_version": 1 }), "M_BAD_JSON"),
            (json!({ "room_version": "13" }), "M_UNSUPPORTED_ROOM_VERSION"),
            (json!({ "preset": "open" }), "M_BAD_JSON"),
            (json!({ "visibility": 5 }), "M_BAD_JSON"),
            (json!({ "name": 5 }), "M_BAD_JSON"),
            (json!({ "topic": "a\0" }), "M_BAD_JSON"),
            (json!({ "room_alias_name": "a b" }), "M_INVALID_PARAM"),
            (json!({ "room_alias_name": "a:b" }), "M_INVALID_PARAM"),
            (json!({ "room_alias_name": "a".repeat(300) }), "M_INVALID_PARAM"),
            (json!({ "invite": ["bob"] }), "M_BAD_JSON"),
            (json!({ "invite": vec!["@bob:localhost"; 201] }), "M_INVALID_PARAM"),
            (json!({ "creation_content": [] }), "M_BAD_JSON"),
            (json!({ "creation_content": { "m.federate": 1 } }), "M_BAD_JSON"),
            (json!({ "initial_state": [[]] }), "M_BAD_JSON"),
            (json!({ "initial_state": [{ "type": "m.room.create", "content": {} }] }), "M_INVALID_ROOM_STATE"),
            (json!({ "initial_state": [{ "type": "a", "content": { "x": 1.5 } }] }), "M_BAD_JSON"),
            (json!({ "initial_state": [levels] }), "M_BAD_JSON"),
            (json!({ "power_level_content_override": { "users": { alice.id.clone(): 100 } } }), "M_INVALID_ROOM_STATE"),
        ] {
            refused(&alice, request, 400, errcode).await;
        }
        refused(&alice, json!({ "topic": "x".repeat(70_000) }), 413, "M_TOO_LARGE").await;
        refused(&alice, json!({ "invite_3pid": [{}] }), 400, "M_BAD_JSON").await;
        // The room is there, whether the other server can be reached or not.
        alice.create_room(&json!({ "invite": ["@bob:elsewhere.invalid"] })).await;
    }

    async fn the_members_of_a_new_room_carry_their_profiles_and_follow_them(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let name = |user: &User| format!("/_matrix/client/v3/profile/{}/displayname", path_segment(&user.id));
        for (user, text) in [(&alice, "Alice A."), (&bob, "Bob B.")] {
            user.put(name(user)).json(&json!({ "displayname": text })).await.ok();
        }
        let room = alice.create_room(&json!({ "invite": [bob.id], "is_direct": true })).await;
        let member = async |user: &User| {
            let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.member/{}", path_segment(&room), path_segment(&user.id));
            alice.get(path).await.ok()
        };
        assert_eq!(member(&alice).await["displayname"], "Alice A.");
        let invited = member(&bob).await;
        assert_eq!((&invited["displayname"], &invited["is_direct"]), (&json!("Bob B."), &json!(true)));
        bob.join(&room).await;
        bob.put(name(&bob)).json(&json!({ "displayname": "Robert" })).await.ok();
        assert_eq!(member(&bob).await["displayname"], "Robert");
        bob.delete(name(&bob)).await.ok();
        assert_eq!(member(&bob).await["displayname"], Value::Null);
    }
}
