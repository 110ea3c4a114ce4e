//! `POST /_matrix/client/v3/rooms/{roomId}/upgrade`

mod links;
mod settings;
mod versions;

use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

use crate::V3;

async fn ask(user: &User, room: &str, body: Value) -> Answer {
    user.post(format!("{V3}/rooms/{}/upgrade", path_segment(room))).json(&body).await
}

/// Upgrades the room and returns the ID of the new one.
async fn upgrade(user: &User, room: &str, version: &str) -> String {
    replacement(&ask(user, room, json!({ "new_version": version })).await.ok())
}

fn replacement(answer: &Value) -> String {
    answer["replacement_room"].as_str().unwrap().to_owned()
}

fn state_path(room: &str, event_type: &str, state_key: &str) -> String {
    format!("{V3}/rooms/{}/state/{event_type}/{}", path_segment(room), path_segment(state_key))
}

async fn state(user: &User, room: &str, event_type: &str, state_key: &str) -> Value {
    user.get(state_path(room, event_type, state_key)).await.ok()
}

async fn has_state(user: &User, room: &str, event_type: &str, state_key: &str) -> bool {
    user.get(state_path(room, event_type, state_key)).await.status == 200
}

async fn set(user: &User, room: &str, event_type: &str, state_key: &str, content: Value) -> String {
    let event = user.put(state_path(room, event_type, state_key)).json(&content).await.ok();
    event["event_id"].as_str().unwrap().to_owned()
}

async fn whole_event(user: &User, room: &str, event_type: &str) -> Value {
    user.get(format!("{}?format=event", state_path(room, event_type, ""))).await.ok()
}

fn alias_path(alias: &str) -> String {
    format!("{V3}/directory/room/{}", path_segment(alias))
}

fn listing_path(room: &str) -> String {
    format!("{V3}/directory/list/room/{}", path_segment(room))
}

on_both_databases! {
    async fn what_describes_a_room_is_carried_over_and_what_belongs_to_it_alone_is_not(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let carol = server.register("carol").await;
        let creation = json!({ "m.federate": false, "type": "org.example.type", "org.example.more": [1] });
        let room = alice.create_room(&json!({
            "preset": "public_chat", "name": "Name", "topic": "Topic", "creation_content": creation, "room_version": "11",
        })).await;
        bob.join(&room).await;
        carol.join(&room).await;
        let carried = [
            ("m.room.avatar", json!({ "url": "mxc://a/b" })),
            ("m.room.encryption", json!({ "algorithm": "m.megolm.v1.aes-sha2" })),
            ("m.room.server_acl", json!({ "allow": ["*"], "deny": ["evil.example"], "allow_ip_literals": false })),
            ("m.room.guest_access", json!({ "guest_access": "forbidden" })),
            ("m.room.history_visibility", json!({ "history_visibility": "invited" })),
        ];
        for (event_type, content) in &carried {
            set(&alice, &room, event_type, "", content.clone()).await;
        }
        set(&alice, &room, "org.example.own", "", json!({ "a": 1 })).await;
        set(&alice, &room, "m.room.pinned_events", "", json!({ "pinned": [] })).await;
        let ban = json!({ "user_id": carol.id, "reason": "spam" });
        alice.post(format!("{V3}/rooms/{}/ban", path_segment(&room))).json(&ban).await.ok();

        let new = upgrade(&alice, &room, "10").await;
        for (event_type, content) in carried {
            assert_eq!(state(&alice, &new, event_type, "").await, content, "{event_type}");
        }
        assert_eq!(state(&alice, &new, "m.room.name", "").await["name"], "Name");
        assert_eq!(state(&alice, &new, "m.room.topic", "").await["topic"], "Topic");
        assert_eq!(state(&alice, &new, "m.room.join_rules", "").await["join_rule"], "public");
        let banned = state(&alice, &new, "m.room.member", &carol.id).await;
        assert_eq!((&banned["membership"], &banned["reason"]), (&json!("ban"), &json!("spam")));
        for (event_type, state_key) in [("org.example.own", ""), ("m.room.pinned_events", ""), ("m.room.member", &bob.id)] {
            assert!(!has_state(&alice, &new, event_type, state_key).await, "{event_type}");
        }
        let create = state(&alice, &new, "m.room.create", "").await;
        let tombstone = whole_event(&alice, &room, "m.room.tombstone").await;
        assert_eq!(create, json!({
            "creator": alice.id, "room_version": "10", "m.federate": false, "type": "org.example.type",
            "org.example.more": [1], "predecessor": { "room_id": room, "event_id": tombstone["event_id"] },
        }));
        assert_eq!(tombstone["content"]["replacement_room"], new);
        assert!(tombstone["content"]["body"].is_string());
        let carol_joins = carol.post(format!("{V3}/join/{}", path_segment(&new))).json(&json!({})).await;
        carol_joins.error(403, "M_FORBIDDEN");
        bob.join(&new).await;
    }

    async fn only_those_who_may_send_a_tombstone_upgrade(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for version in ["11", "12"] {
            let room = alice.create_room(&json!({ "preset": "public_chat", "room_version": version })).await;
            ask(&bob, &room, json!({ "new_version": "12" })).await.error(403, "M_FORBIDDEN");
            bob.join(&room).await;
            ask(&bob, &room, json!({ "new_version": "12" })).await.error(403, "M_FORBIDDEN");
            assert!(!has_state(&alice, &room, "m.room.tombstone", "").await);
            assert_eq!(bob.get(format!("{V3}/joined_rooms")).await.ok()["joined_rooms"].as_array().unwrap().len(), if version == "11" { 1 } else { 2 });
        }
        ask(&alice, "!nowhere:localhost", json!({ "new_version": "12" })).await.error(403, "M_FORBIDDEN");
    }

    async fn bad_requests_are_refused_and_change_nothing(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        for (body, errcode) in [
            (json!({}), "M_BAD_JSON"),
            (json!({ "new_version": 12 }), "M_BAD_JSON"),
            (json!({ "new_version": "13" }), "M_UNSUPPORTED_ROOM_VERSION"),
            (json!({ "new_version": "" }), "M_UNSUPPORTED_ROOM_VERSION"),
            (json!({ "new_version": "12", "additional_creators": "@bob:localhost" }), "M_BAD_JSON"),
            (json!({ "new_version": "12", "additional_creators": [5] }), "M_BAD_JSON"),
            (json!({ "new_version": "12", "additional_creators": ["bob"] }), "M_BAD_JSON"),
        ] {
            ask(&alice, &room, body.clone()).await.error(400, errcode);
            assert!(!has_state(&alice, &room, "m.room.tombstone", "").await, "{body}");
        }
        assert_eq!(alice.get(format!("{V3}/joined_rooms")).await.ok()["joined_rooms"], json!([room]));
    }

    async fn in_the_old_room_only_moderators_go_on_speaking(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for (users_default, closed_at) in [(0, 50), (60, 61)] {
            let levels = json!({ "users_default": users_default });
            let request = json!({ "preset": "public_chat", "power_level_content_override": levels, "room_version": "11" });
            let room = alice.create_room(&request).await;
            bob.join(&room).await;
            let before = state(&alice, &room, "m.room.power_levels", "").await;
            let new = upgrade(&alice, &room, "11").await;
            let mut expected = before.clone();
            expected["events_default"] = json!(closed_at);
            expected["invite"] = json!(closed_at);
            assert_eq!(state(&alice, &room, "m.room.power_levels", "").await, expected);
            assert_eq!(state(&alice, &new, "m.room.power_levels", "").await, before);
            let send = format!("{V3}/rooms/{}/send/m.room.message/1", path_segment(&room));
            bob.put(send).json(&json!({ "msgtype": "m.text", "body": "x" })).await.error(403, "M_FORBIDDEN");
            alice.send_text(&room, "still here").await;
        }
    }

    async fn who_may_upgrade_but_not_set_levels_leaves_the_old_ones(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let levels = json!({
            "users": { alice.id.clone(): 100, bob.id.clone(): 20 },
            "events": { "m.room.tombstone": 20, "m.room.name": 50, "m.room.power_levels": 100 },
        });
        let request = json!({ "preset": "public_chat", "name": "Name", "power_level_content_override": levels, "room_version": "11" });
        let room = alice.create_room(&request).await;
        bob.join(&room).await;
        let before = state(&bob, &room, "m.room.power_levels", "").await;
        let new = upgrade(&bob, &room, "11").await;
        assert_eq!(state(&bob, &room, "m.room.power_levels", "").await, before);
        assert_eq!(state(&bob, &new, "m.room.power_levels", "").await, before);
        assert_eq!(state(&bob, &new, "m.room.name", "").await["name"], "Name");
        let name = bob.put(state_path(&new, "m.room.name", "")).json(&json!({ "name": "Mine" })).await;
        name.error(403, "M_FORBIDDEN");
    }

    async fn aliases_and_the_place_in_the_directory_move(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "room_alias_name": "hall", "visibility": "public" })).await;
        bob.join(&room).await;
        bob.put(alias_path("#bobs:localhost")).json(&json!({ "room_id": room })).await.ok();
        let canonical = json!({ "alias": "#hall:localhost", "alt_aliases": ["#bobs:localhost"] });
        set(&alice, &room, "m.room.canonical_alias", "", canonical.clone()).await;

        let new = upgrade(&alice, &room, "12").await;
        for alias in ["#hall:localhost", "#bobs:localhost"] {
            assert_eq!(bob.get(alias_path(alias)).await.ok()["room_id"], new, "{alias}");
        }
        assert_eq!(state(&alice, &new, "m.room.canonical_alias", "").await, canonical);
        assert_eq!(state(&alice, &room, "m.room.canonical_alias", "").await, json!({}));
        assert_eq!(alice.get(listing_path(&room)).await.ok()["visibility"], "private");
        assert_eq!(alice.get(listing_path(&new)).await.ok()["visibility"], "public");
        let list = bob.get(format!("{V3}/publicRooms")).await.ok();
        assert_eq!(list["chunk"].as_array().unwrap().len(), 1);
        assert_eq!(list["chunk"][0]["room_id"], new);
        bob.delete(alias_path("#bobs:localhost")).await.ok();
    }

    async fn a_repeated_request_has_the_answer_of_the_first(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "room_version": "10" })).await;
        let once = async || upgrade(&alice, &room, "11").await;
        let (first, second) = tokio::join!(once(), once());
        assert_eq!(first, second);
        assert_eq!(once().await, first);
        assert_eq!(alice.get(format!("{V3}/joined_rooms")).await.ok()["joined_rooms"].as_array().unwrap().len(), 2);

        let creators = json!({ "new_version": "12", "additional_creators": [bob.id, alice.id, bob.id] });
        let third = replacement(&ask(&alice, &room, creators.clone()).await.ok());
        assert_ne!(third, first);
        assert_eq!(state(&alice, &room, "m.room.tombstone", "").await["replacement_room"], third);
        assert_eq!(replacement(&ask(&alice, &room, creators.clone()).await.ok()), third);
        // Whoever has left the new room wants another one.
        alice.post(format!("{V3}/rooms/{}/leave", path_segment(&third))).json(&json!({})).await.ok();
        assert_ne!(replacement(&ask(&alice, &room, creators).await.ok()), third);
    }

    async fn of_two_people_who_upgrade_at_the_same_time_at_most_one_leads_everybody_away(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let request = json!({ "preset": "trusted_private_chat", "invite": [bob.id], "room_version": "11" });
        let room = alice.create_room(&request).await;
        bob.join(&room).await;
        let body = json!({ "new_version": "12" });
        let (by_alice, by_bob) = tokio::join!(ask(&alice, &room, body.clone()), ask(&bob, &room, body));
        let answers = [by_alice, by_bob];
        let last = state(&alice, &room, "m.room.tombstone", "").await["replacement_room"].clone();
        let made: Vec<_> = answers.iter().filter(|answer| answer.status == 200).map(|answer| answer.json["replacement_room"].clone()).collect();
        assert!(made.contains(&last), "{made:?} {last}");
        for answer in answers.into_iter().filter(|answer| answer.status != 200) {
            answer.error(403, "M_FORBIDDEN");
        }
    }

    async fn everybody_sees_the_tombstone_and_the_upgrader_the_new_room(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let since = async |user: &User| user.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        let (of_alice, of_bob) = (since(&alice).await, since(&bob).await);
        let new = upgrade(&alice, &room, "12").await;
        let seen = bob.sync(Some(&of_bob), 5_000).await;
        let timeline = seen["rooms"]["join"][&room]["timeline"]["events"].as_array().unwrap().clone();
        assert!(timeline.iter().any(|event| event["type"] == "m.room.tombstone"), "{seen}");
        assert!(seen["rooms"]["join"].get(&new).is_none());
        assert!(alice.sync(Some(&of_alice), 0).await["rooms"]["join"][&new].is_object());
    }

    async fn an_upgraded_room_works_after_a_restart(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "room_version": "2" })).await;
        let new = upgrade(&alice, &room, "9").await;
        alice.send_text(&new, "before").await;
        let token = alice.token.clone();
        server.shutdown().await;
        let again = TestServer::start(&db).await;
        for (room, number) in [(&room, 1), (&new, 2)] {
            let send = format!("{V3}/rooms/{}/send/m.room.message/after{number}", path_segment(room));
            again.client().put(send).token(&token).json(&json!({ "msgtype": "m.text", "body": "x" })).await.ok();
        }
        let path = format!("{V3}/rooms/{}/upgrade", path_segment(&room));
        let repeated = again.client().post(path).token(&token).json(&json!({ "new_version": "9" })).await.ok();
        assert_eq!(replacement(&repeated), new);
    }
}
