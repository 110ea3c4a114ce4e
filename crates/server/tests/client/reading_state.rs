//! Reading state and members: `/state`, `/members`, `/joined_members`, `/joined_rooms`

use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

use super::V3;

async fn get(user: &User, room: &str, path: &str) -> Answer {
    user.get(format!("{V3}/rooms/{}/{path}", path_segment(room))).await
}

async fn set(user: &User, room: &str, path: &str, content: Value) {
    let _ = user.put(format!("{V3}/rooms/{}/state/{path}", path_segment(room))).json(&content).await.ok();
}

async fn act(user: &User, room: &str, action: &str, body: Value) {
    let _ = user.post(format!("{V3}/rooms/{}/{action}", path_segment(room))).json(&body).await.ok();
}

/// Who the member events in an answer are about, sorted.
fn users(answer: &Value) -> Vec<String> {
    let chunk = answer["chunk"].as_array().unwrap();
    let mut users: Vec<_> = chunk.iter().map(|event| event["state_key"].as_str().unwrap().to_owned()).collect();
    users.sort();
    users
}

on_both_databases! {
    async fn one_piece_of_state_is_read_by_type_and_key(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "name": "Here" })).await;
        set(&alice, &room, "org.thing/a%2Fb", json!({ "x": 1 })).await;
        for path in ["state/m.room.name", "state/m.room.name/"] {
            assert_eq!(get(&alice, &room, path).await.ok(), json!({ "name": "Here" }), "{path}");
        }
        assert_eq!(get(&alice, &room, "state/org.thing/a%2Fb").await.ok(), json!({ "x": 1 }));
        let event = get(&alice, &room, "state/m.room.name?format=event").await.ok();
        assert_eq!((&event["type"], &event["state_key"], &event["sender"]), (&json!("m.room.name"), &json!(""), &json!(alice.id)));
        assert_eq!((&event["room_id"], &event["content"]), (&json!(room), &json!({ "name": "Here" })));
        assert!(event["event_id"].is_string());
        for path in ["state/m.room.topic", "state/org.thing", "state/org.thing/a", "state/org.unheard/of", "state/m.room.name/x"] {
            get(&alice, &room, path).await.error(404, "M_NOT_FOUND");
        }
        get(&alice, &room, "state/m.room.name?format=x").await.error(400, "M_INVALID_PARAM");
    }

    async fn those_who_left_see_the_state_as_it_was_when_they_left(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (carol, stranger) = (server.register("carol").await, server.register("stranger").await);
        let room = alice.create_room(&json!({ "preset": "public_chat", "name": "Old", "invite": [carol.id] })).await;
        bob.join(&room).await;
        act(&alice, &room, "kick", json!({ "user_id": bob.id, "reason": "x" })).await;
        set(&alice, &room, "m.room.name/", json!({ "name": "New" })).await;
        set(&alice, &room, "m.room.topic/", json!({ "topic": "Later" })).await;
        carol.join(&room).await;

        assert_eq!(get(&bob, &room, "state/m.room.name").await.ok(), json!({ "name": "Old" }));
        get(&bob, &room, "state/m.room.topic").await.error(404, "M_NOT_FOUND");
        let membership = |room_state: &Value, user: &User| {
            let mut events = room_state.as_array().unwrap().iter();
            events.find(|event| event["state_key"] == user.id).map(|event| event["content"]["membership"].clone())
        };
        let then = get(&bob, &room, "state").await.ok();
        assert_eq!(membership(&then, &bob), Some(json!("leave")));
        assert_eq!(membership(&then, &carol), Some(json!("invite")));
        let now = get(&alice, &room, "state").await.ok();
        assert_eq!(membership(&now, &carol), Some(json!("join")));
        assert_eq!(now.as_array().unwrap().len(), then.as_array().unwrap().len() + 1);

        for path in ["state", "state/m.room.name", "members", "joined_members"] {
            get(&stranger, &room, path).await.error(403, "M_FORBIDDEN");
            get(&stranger, "!nowhere:localhost", path).await.error(403, "M_FORBIDDEN");
        }
        get(&bob, &room, "joined_members").await.error(403, "M_FORBIDDEN");
        set(&alice, &room, "m.room.history_visibility/", json!({ "history_visibility": "world_readable" })).await;
        assert_eq!(get(&stranger, &room, "state/m.room.name").await.ok(), json!({ "name": "New" }));
        get(&stranger, &room, "joined_members").await.error(403, "M_FORBIDDEN");
    }

    async fn members_are_listed_by_membership_and_as_of_a_token(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (carol, dave) = (server.register("carol").await, server.register("dave").await);
        let room = alice.create_room(&json!({ "preset": "public_chat", "invite": [carol.id] })).await;
        let before = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        bob.join(&room).await;
        dave.join(&room).await;
        act(&bob, &room, "leave", json!({})).await;

        let list = async |user: &User, query: &str| users(&get(user, &room, &format!("members{query}")).await.ok());
        assert_eq!(list(&alice, "").await, [&*alice.id, &bob.id, &carol.id, &dave.id]);
        assert_eq!(list(&alice, "?membership=join").await, [&*alice.id, &dave.id]);
        assert_eq!(list(&alice, "?membership=invite").await, [&*carol.id]);
        assert_eq!(list(&alice, "?not_membership=leave").await, [&*alice.id, &carol.id, &dave.id]);
        assert_eq!(list(&alice, "?membership=leave&not_membership=join").await, [&*bob.id, &carol.id]);
        assert_eq!(list(&alice, &format!("?at={before}")).await, [&*alice.id, &carol.id]);
        assert_eq!(list(&alice, &format!("?at={before}&membership=join")).await, [&*alice.id]);
        assert_eq!(list(&bob, "?not_membership=leave").await, [&*alice.id, &carol.id, &dave.id]);
        get(&alice, &room, "members?membership=other").await.error(400, "M_INVALID_PARAM");
        get(&alice, &room, "members?at=x").await.error(400, "M_INVALID_PARAM");
    }

    async fn newcomers_cannot_ask_who_was_in_the_room_before(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (carol, stranger) = (server.register("carol").await, server.register("stranger").await);
        let hidden = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } });
        let room = alice.create_room(&json!({ "preset": "public_chat", "initial_state": [hidden] })).await;
        let position = async |user: &User| {
            let token = user.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
            token.strip_prefix("s1_").unwrap().parse::<i64>().unwrap()
        };
        carol.join(&room).await;
        let secret = position(&alice).await;
        act(&carol, &room, "leave", json!({})).await;
        alice.send_text(&room, "gone").await;
        let before = position(&alice).await;
        bob.join(&room).await;
        let after = position(&bob).await;

        let members = async |user: &User, at: String| get(user, &room, &format!("members?membership=join&at={at}")).await;
        assert_eq!(users(&members(&alice, format!("t1_{secret}")).await.ok()), [&*alice.id, &carol.id]);
        for at in [format!("s1_{secret}"), format!("t1_{secret}"), format!("t1_{}", before - 1)] {
            members(&bob, at).await.error(403, "M_FORBIDDEN");
        }
        for at in 0..=after {
            let seen = members(&bob, format!("t1_{at}")).await;
            assert!(seen.status == 403 || !users(&seen.ok()).contains(&carol.id), "carol is seen at {at}");
        }
        // What was right before the joining is the state that /sync gives, too.
        let first = get(&bob, &room, "messages?dir=b&limit=1").await.ok();
        let token = first["end"].as_str().unwrap_or_else(|| panic!("no more history in {first}"));
        assert_eq!(users(&members(&bob, token.to_owned()).await.ok()), [&*alice.id]);
        for at in [format!("s1_{after}"), format!("t1_{}", after + 1_000), format!("t1_{}", i64::MAX)] {
            assert_eq!(users(&members(&bob, at).await.ok()), [&*alice.id, &bob.id]);
        }
        // A user who has left sees nothing of what came after.
        act(&bob, &room, "leave", json!({})).await;
        carol.join(&room).await;
        for at in [format!("s1_{after}"), format!("t1_{}", i64::MAX)] {
            assert!(!users(&members(&bob, at).await.ok()).contains(&carol.id));
        }
        members(&bob, format!("t1_{secret}")).await.error(403, "M_FORBIDDEN");
        members(&stranger, format!("t1_{secret}")).await.error(403, "M_FORBIDDEN");
        for at in ["t1_-1", "t3_1", "s1_", "t1_99999999999999999999", "%00"] {
            members(&alice, at.to_owned()).await.error(400, "M_INVALID_PARAM");
        }
    }

    async fn joined_members_have_their_names_and_joined_rooms_are_listed(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let left = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        bob.join(&left).await;
        act(&bob, &left, "leave", json!({})).await;
        let member = json!({ "membership": "join", "displayname": "Bob \"B\"", "avatar_url": 5 });
        set(&bob, &room, &format!("m.room.member/{}", path_segment(&bob.id)), member).await;

        let joined = get(&alice, &room, "joined_members").await.ok();
        assert_eq!(joined["joined"].as_object().unwrap().len(), 2);
        assert_eq!(joined["joined"][&bob.id], json!({ "display_name": "Bob \"B\"", "avatar_url": "" }));
        assert_eq!(joined["joined"][&alice.id], json!({ "display_name": "", "avatar_url": "" }));
        assert_eq!(get(&alice, &left, "joined_members").await.ok()["joined"].as_object().unwrap().len(), 1);
        let rooms = async |user: &User| user.get(format!("{V3}/joined_rooms")).await.ok();
        assert_eq!(rooms(&bob).await, json!({ "joined_rooms": [room] }));
        assert_eq!(rooms(&alice).await, json!({ "joined_rooms": [room, left] }));
    }
}
