//! Events and rooms over their limits.

use serde_json::{Value, json};
use testing::{Answer, on_both_databases, path_segment};

use crate::world::World;

async fn send(world: &World, event_type: &str, transaction: &str, body: impl Into<String>) -> Answer {
    let room = path_segment(world.room_id());
    let path =
        format!("/_matrix/client/v3/rooms/{room}/send/{}/{}", path_segment(event_type), path_segment(transaction));
    world.alice().put(path).body(body.into()).await
}

async fn set_state(world: &World, event_type: &str, state_key: &str, body: impl Into<String>) -> Answer {
    let room = path_segment(world.room_id());
    let path =
        format!("/_matrix/client/v3/rooms/{room}/state/{}/{}", path_segment(event_type), path_segment(state_key));
    world.alice().put(path).body(body.into()).await
}

async fn create(world: &World, request: &Value) -> Answer {
    world.alice().post("/_matrix/client/v3/createRoom").json(request).await
}

fn nested(depth: usize) -> String {
    format!("{{\"a\": {}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
}

on_both_databases! {
    async fn an_event_over_its_limits_is_a_413(db: TestDatabase) {
        let world = World::new(&db).await;
        let large = json!({ "msgtype": "m.text", "body": "x".repeat(65_536) }).to_string();
        send(&world, "m.room.message", "1", &large).await.error(413, "M_TOO_LARGE");
        set_state(&world, "m.room.topic", "", json!({ "topic": "x".repeat(65_536) }).to_string()).await.error(413, "M_TOO_LARGE");
        // What is small as it is sent, but not as it is signed: a control character is one escape of six bytes there too.
        let escaped = format!("{{\"body\": \"{}\"}}", "\\u0001".repeat(11_000));
        send(&world, "m.room.message", "2", &escaped).await.error(413, "M_TOO_LARGE");
        send(&world, &"t".repeat(256), "3", "{}").await.error(413, "M_TOO_LARGE");
        set_state(&world, &"t".repeat(256), "", "{}").await.error(413, "M_TOO_LARGE");
        set_state(&world, "org.example", &"k".repeat(256), "{}").await.error(413, "M_TOO_LARGE");
        set_state(&world, "org.example", &"\u{20AC}".repeat(86), "{}").await.error(413, "M_TOO_LARGE");
        create(&world, &json!({ "name": "x".repeat(70_000) })).await.error(413, "M_TOO_LARGE");

        send(&world, &"t".repeat(255), "4", "{}").await.ok();
        set_state(&world, "org.example", &"k".repeat(255), "{}").await.ok();
        send(&world, "m.room.message", "5", json!({ "body": "x".repeat(60_000) }).to_string()).await.ok();
        world.alice().sync(None, 0).await;
    }

    async fn what_canonical_json_cannot_hold_is_a_400(db: TestDatabase) {
        let world = World::new(&db).await;
        for value in ["9007199254740992", "-9007199254740992", "99999999999999999999999999", "1.5", "1e400", "1e2", "-0.0", "0.1e1"] {
            for body in [format!("{{\"n\": {value}}}"), format!("{{\"a\": [{{\"b\": {value}}}]}}")] {
                send(&world, "m.room.message", value, &body).await.error(400, "M_BAD_JSON");
                set_state(&world, "org.example", "", &body).await.error(400, "M_BAD_JSON");
            }
        }
        for value in ["9007199254740991", "-9007199254740991", "0", "-0"] {
            let answer = send(&world, "m.room.message", value, format!("{{\"n\": {value}}}")).await;
            assert!([200, 400].contains(&answer.status.as_u16()), "{answer}");
        }
        let content = json!({ "creation_content": { "n": 1.5 } });
        create(&world, &content).await.error(400, "M_BAD_JSON");
        create(&world, &json!({ "initial_state": [{ "type": "a", "content": { "n": 1.5 } }] })).await.error(400, "M_BAD_JSON");
        create(&world, &json!({ "power_level_content_override": { "users_default": 1.5 } })).await.error(400, "M_BAD_JSON");
    }

    async fn deep_content_is_kept_or_refused_but_never_breaks_a_reader(db: TestDatabase) {
        let world = World::new(&db).await;
        for depth in [2, 90, 100, 110, 118, 119, 120, 121, 127, 128, 129, 1_000, 100_000] {
            let answer = send(&world, "m.room.message", &depth.to_string(), nested(depth)).await;
            assert!(depth > 90 || answer.status == 200, "{depth}: {answer}");
            assert!(answer.status == 200 || answer.status == 400, "{depth}: {answer}");
            let answer = set_state(&world, "org.example", &depth.to_string(), nested(depth)).await;
            assert!(answer.status == 200 || answer.status == 400, "{depth}: {answer}");
        }
        let answer = world.alice().get("/_matrix/client/v3/sync?timeout=0").await;
        assert_eq!(answer.status, 200, "{answer}");
        assert!(!answer.json.is_null(), "clients that parse 127 levels cannot read this");
    }

    async fn nul_in_events_is_kept_and_in_names_refused(db: TestDatabase) {
        let world = World::new(&db).await;
        let body = r#"{"msgtype": "m.text", "body": "a\u0000b", "k\u0000": 1}"#;
        let event_id = send(&world, "m.room.message", "nul", body).await.ok();
        let synced = world.alice().sync(None, 0).await;
        let timeline = &synced["rooms"]["join"][world.room_id()]["timeline"]["events"];
        let event = timeline.as_array().unwrap().iter().find(|event| event["event_id"] == event_id["event_id"]).unwrap();
        assert_eq!(event["content"]["body"], "a\0b");
        assert_eq!(event["content"]["k\0"], 1);
        for name in ["a\0b", "\0"] {
            assert_eq!(send(&world, name, "1", "{}").await.status, 400);
            assert_eq!(send(&world, "m.room.message", name, "{}").await.status, 400);
            assert_eq!(set_state(&world, name, "", "{}").await.status, 400);
            assert_eq!(set_state(&world, "org.example", name, "{}").await.status, 400);
        }
        set_state(&world, "m.room.topic", "", r#"{"topic": "a\u0000b"}"#).await.ok();
        set_state(&world, "m.room.name", "", r#"{"name": "a\u0000b"}"#).await.ok();
        let room = path_segment(world.room_id());
        world.alice().put(format!("/_matrix/client/v3/directory/list/room/{room}")).json(&json!({})).await.ok();
        world.client().get("/_matrix/client/v3/publicRooms").await.ok();
    }

    async fn what_a_room_cannot_be_made_of_is_refused(db: TestDatabase) {
        let world = World::new(&db).await;
        let state = |content: Value| json!({ "initial_state": [content] });
        for (request, errcode) in [
            (json!({ "room_version": "99" }), "M_UNSUPPORTED_ROOM_VERSION"),
            (json!({ "room_version": "" }), "M_UNSUPPORTED_ROOM_VERSION"),
            (json!({ "room_version": 12 }), "M_BAD_JSON"),
            (json!({ "preset": "unknown" }), "M_BAD_JSON"),
            (json!({ "preset": {} }), "M_BAD_JSON"),
            (json!({ "visibility": "secret" }), "M_BAD_JSON"),
            (json!({ "invite": ["nobody"] }), "M_BAD_JSON"),
            (json!({ "invite": ["@nobody"] }), "M_BAD_JSON"),
            (json!({ "invite": "@nobody:localhost" }), "M_BAD_JSON"),
            (json!({ "invite": [["@nobody:localhost"]] }), "M_BAD_JSON"),
            (json!({ "initial_state": {} }), "M_BAD_JSON"),
            (state(json!([])), "M_BAD_JSON"),
            (state(json!({ "content": {} })), "M_BAD_JSON"),
            (state(json!({ "type": "m.room.topic" })), "M_BAD_JSON"),
            (state(json!({ "type": "m.room.topic", "content": [] })), "M_BAD_JSON"),
            (state(json!({ "type": "m.room.topic", "state_key": 1, "content": {} })), "M_BAD_JSON"),
            (json!({ "creation_content": [] }), "M_BAD_JSON"),
            (json!({ "power_level_content_override": { "users": { "nobody": 1 } } }), ""),
            (json!({ "power_level_content_override": { "users_default": {} } }), ""),
            (json!({ "power_level_content_override": { "events": [] } }), ""),
            (json!({ "creation_content": { "additional_creators": "x" } }), ""),
            (json!({ "creation_content": { "additional_creators": ["x"] } }), ""),
            (json!({ "creation_content": { "m.federate": "x" } }), ""),
            (json!({ "room_alias_name": "a:b" }), ""),
            (json!({ "room_alias_name": "" }), ""),
            (json!({ "room_alias_name": "x".repeat(300) }), ""),
        ] {
            let answer = create(&world, &request).await;
            assert_eq!(answer.status, 400, "{request}: {answer}");
            assert!(errcode.is_empty() || answer.json["errcode"] == errcode, "{request}: {answer}");
        }
        let mut alias = json!({ "room_alias_name": "nul" });
        for name in ["name", "topic", "room_alias_name", "room_version"] {
            alias[name] = json!("a\0b");
            assert_eq!(create(&world, &alias).await.status, 400, "{alias}");
        }
    }

    async fn nobody_who_is_no_user_can_be_invited_kicked_or_banned(db: TestDatabase) {
        let world = World::new(&db).await;
        let room = path_segment(world.room_id());
        let long = format!("@{}:localhost", "a".repeat(250));
        for action in ["invite", "kick", "ban", "unban"] {
            for user_id in ["", "bob", "@bob", "bob:localhost", "#bob:localhost", "@bob:", "@bob:local host", "@b\0b:localhost", &long] {
                let path = format!("/_matrix/client/v3/rooms/{room}/{action}");
                let answer = world.alice().post(path).json(&json!({ "user_id": user_id })).await;
                assert_eq!(answer.status, 400, "{action} {user_id}: {answer}");
            }
            let path = format!("/_matrix/client/v3/rooms/{room}/{action}");
            world.alice().post(path).json(&json!({})).await.error(400, "M_BAD_JSON");
        }
    }

    async fn a_room_that_one_is_not_in_is_forbidden(db: TestDatabase) {
        let world = World::new(&db).await;
        let room = path_segment("!nowhere:localhost");
        world.alice().put(format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/1")).json(&json!({})).await.error(403, "M_FORBIDDEN");
        for action in ["leave", "kick", "ban", "unban", "invite"] {
            let request = world.alice().post(format!("/_matrix/client/v3/rooms/{room}/{action}"));
            let answer = request.json(&json!({ "user_id": "@bob:localhost" })).await;
            assert!([403, 404].contains(&answer.status.as_u16()), "{action}: {answer}");
        }
    }
}
