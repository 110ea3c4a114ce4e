//! Joining, inviting, leaving, kicking, banning, knocking, forgetting

use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

async fn act(user: &User, room: &str, action: &str, body: Value) -> Answer {
    user.post(format!("/_matrix/client/v3/rooms/{}/{action}", path_segment(room))).json(&body).await
}

async fn set(user: &User, room: &str, event_type: &str, key: &str, content: Value) -> Answer {
    let (room, key) = (path_segment(room), path_segment(key));
    user.put(format!("/_matrix/client/v3/rooms/{room}/state/{event_type}/{key}")).json(&content).await
}

async fn enter(user: &User, how: &str, room: &str) -> Answer {
    user.post(format!("/_matrix/client/v3/{how}/{}", path_segment(room))).json(&json!({})).await
}

on_both_databases! {
    async fn who_is_invited_can_join_and_others_cannot(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({})).await;
        enter(&bob, "join", &room).await.error(403, "M_FORBIDDEN");
        act(&alice, &room, "invite", json!({ "user_id": bob.id, "reason": "come" })).await.ok();
        act(&alice, &room, "invite", json!({ "user_id": alice.id })).await.error(403, "M_FORBIDDEN");
        enter(&bob, "join", &room).await.ok();
        enter(&bob, "join", &room).await.ok();
        act(&alice, &room, "invite", json!({ "user_id": bob.id })).await.error(403, "M_FORBIDDEN");
        let eve = json!({ "user_id": "@eve:elsewhere.invalid" });
        act(&alice, &room, "invite", eve).await.error(502, "M_CONNECTION_FAILED");
        act(&alice, &room, "invite", json!({ "user_id": 5 })).await.error(400, "M_BAD_JSON");
        act(&alice, &room, "invite", json!({})).await.error(400, "M_BAD_JSON");
    }

    async fn joining_twice_makes_one_event(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        act(&bob, &room, "join", json!({ "reason": "first" })).await.ok();
        let event = async || set(&bob, &room, "m.room.member", &bob.id, json!({ "membership": "join" })).await.ok();
        let first = event().await;
        enter(&bob, "join", &room).await.ok();
        assert_eq!(event().await, first);
    }

    async fn a_room_that_is_not_known_is_not_found(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        for room in ["!nowhere:localhost", "#nowhere:localhost"] {
            enter(&alice, "join", room).await.error(404, "M_NOT_FOUND");
            enter(&alice, "knock", room).await.error(404, "M_NOT_FOUND");
        }
        for room in ["!nowhere:elsewhere.invalid", "#nowhere:elsewhere.invalid"] {
            enter(&alice, "join", room).await.error(502, "M_CONNECTION_FAILED");
            enter(&alice, "knock", room).await.error(502, "M_CONNECTION_FAILED");
        }
        enter(&alice, "join", "nowhere").await.error(400, "M_INVALID_PARAM");
        act(&alice, "!nowhere:localhost", "leave", json!({})).await.error(403, "M_FORBIDDEN");
        act(&alice, "!nowhere:localhost", "forget", json!({})).await.error(403, "M_FORBIDDEN");
    }

    async fn kicking_banning_and_unbanning_follow_the_rules(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let bob_only = json!({ "user_id": bob.id, "reason": "test" });
        act(&alice, &room, "kick", bob_only.clone()).await.error(403, "M_FORBIDDEN");
        act(&bob, &room, "ban", json!({ "user_id": alice.id })).await.error(403, "M_FORBIDDEN");
        bob.join(&room).await;
        act(&bob, &room, "kick", json!({ "user_id": alice.id })).await.error(403, "M_FORBIDDEN");
        act(&alice, &room, "kick", bob_only.clone()).await.ok();
        act(&alice, &room, "kick", bob_only.clone()).await.error(403, "M_FORBIDDEN");
        act(&alice, &room, "ban", bob_only.clone()).await.ok();
        enter(&bob, "join", &room).await.error(403, "M_FORBIDDEN");
        act(&alice, &room, "unban", bob_only.clone()).await.ok();
        act(&alice, &room, "unban", bob_only).await.error(403, "M_FORBIDDEN");
        bob.join(&room).await;
    }

    async fn a_room_can_be_forgotten_once_it_is_left(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "invite": [bob.id] })).await;
        act(&bob, &room, "forget", json!({})).await.error(400, "M_UNKNOWN");
        bob.join(&room).await;
        act(&bob, &room, "forget", json!({})).await.error(400, "M_UNKNOWN");
        act(&bob, &room, "leave", json!({ "reason": "late" })).await.ok();
        act(&bob, &room, "leave", json!({ "reason": "late" })).await.ok();
        let filter = path_segment(r#"{"room":{"include_leave":true}}"#);
        let left = async || bob.get(format!("/_matrix/client/v3/sync?filter={filter}")).await.ok()["rooms"]["leave"].clone();
        assert!(left().await[&room].is_object());
        act(&bob, &room, "forget", json!({})).await.ok();
        assert!(left().await[&room].is_null());
    }

    async fn members_of_another_room_can_join_a_restricted_one(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let space = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let allow = json!([{ "type": "other" }, 5, { "type": "m.room_membership", "room_id": space }]);
        let rules = json!({ "type": "m.room.join_rules", "content": { "join_rule": "restricted", "allow": allow } });
        let room = alice.create_room(&json!({ "initial_state": [rules] })).await;
        bob.join(&space).await;
        bob.join(&room).await;
        enter(&carol, "join", &room).await.error(403, "M_FORBIDDEN");

        // Nobody who could vouch for carol is left.
        act(&alice, &room, "leave", json!({})).await.ok();
        act(&bob, &room, "leave", json!({})).await.ok();
        carol.join(&space).await;
        // No other server is known to be in the room either.
        enter(&carol, "join", &room).await.error(404, "M_NOT_FOUND");
    }

    async fn who_vouched_for_a_joining_is_for_the_server_to_say_and_said_of_nothing_else(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let space = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let allow = json!([{ "type": "m.room_membership", "room_id": space }]);
        let rules = json!({ "type": "m.room.join_rules", "content": { "join_rule": "restricted", "allow": allow } });
        let restricted = alice.create_room(&json!({ "initial_state": [rules] })).await;
        let public = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&space).await;
        let member = async |user: &User, room: &str| {
            let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.member/{}", path_segment(room), path_segment(&user.id));
            user.get(path).await.ok()
        };
        const VOUCHER: &str = "join_authorised_via_users_server";
        for (room, voucher) in [(&restricted, json!(alice.id)), (&public, Value::Null)] {
            for named in [json!("unused"), json!(carol.id), json!("@eve:elsewhere"), json!(5), Value::Null] {
                // Join, and change the name in the room.
                let joining = json!({ "membership": "join", "displayname": "B", VOUCHER: named });
                set(&bob, room, "m.room.member", &bob.id, joining).await.ok();
                assert_eq!(member(&bob, room).await[VOUCHER], voucher, "{named}");
                let renaming = json!({ "membership": "join", "displayname": "Bobby", VOUCHER: named });
                set(&bob, room, "m.room.member", &bob.id, renaming).await.ok();
                assert_eq!(member(&bob, room).await, json!({ "membership": "join", "displayname": "Bobby" }), "{named}");
                let leaving = json!({ "membership": "leave", VOUCHER: named });
                set(&bob, room, "m.room.member", &bob.id, leaving).await.ok();
                assert_eq!(member(&bob, room).await, json!({ "membership": "leave" }), "{named}");
            }
        }
        let inviting = json!({ "membership": "invite", VOUCHER: "@eve:elsewhere" });
        set(&alice, &restricted, "m.room.member", &carol.id, inviting).await.ok();
        assert_eq!(member(&alice, &restricted).await.get(VOUCHER), None);
        carol.join(&restricted).await;
        // The member who let the user in does not vouch for a new profile.
        bob.join(&restricted).await;
        assert_eq!(member(&bob, &restricted).await[VOUCHER], json!(alice.id));
        let profile = format!("/_matrix/client/v3/profile/{}/displayname", path_segment(&bob.id));
        bob.put(profile).json(&json!({ "displayname": "Robert" })).await.ok();
        assert_eq!(member(&bob, &restricted).await, json!({ "membership": "join", "displayname": "Robert" }));
        let given = json!({ "type": "m.room.member", "state_key": alice.id, "content": { "membership": "join", VOUCHER: bob.id } });
        let create = alice.post("/_matrix/client/v3/createRoom").json(&json!({ "initial_state": [given] }));
        create.await.error(400, "M_INVALID_PARAM");
    }

    async fn who_knocks_can_be_let_in(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let rules = json!({ "type": "m.room.join_rules", "content": { "join_rule": "knock" } });
        let room = alice.create_room(&json!({ "initial_state": [rules] })).await;
        let closed = alice.create_room(&json!({})).await;
        assert_eq!(enter(&bob, "knock", &room).await.ok(), json!({ "room_id": room }));
        enter(&bob, "join", &room).await.error(403, "M_FORBIDDEN");
        enter(&bob, "knock", &closed).await.error(403, "M_FORBIDDEN");
        act(&alice, &room, "invite", json!({ "user_id": bob.id })).await.ok();
        bob.join(&room).await;
    }

    async fn member_events_can_also_be_put_as_state(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({})).await;
        set(&bob, &room, "m.room.member", &bob.id, json!({ "membership": "join" })).await.error(403, "M_FORBIDDEN");
        set(&alice, &room, "m.room.member", &bob.id, json!({ "membership": "invite" })).await.ok();
        set(&alice, &room, "m.room.member", &bob.id, json!({ "membership": "join" })).await.error(403, "M_FORBIDDEN");
        set(&bob, &room, "m.room.member", &bob.id, json!({ "membership": "join" })).await.ok();
        set(&bob, &room, "m.room.member", &bob.id, json!({ "membership": 5 })).await.error(400, "M_BAD_JSON");
        set(&bob, &room, "m.room.member", "bob", json!({ "membership": "join" })).await.error(400, "M_INVALID_PARAM");
    }
}
