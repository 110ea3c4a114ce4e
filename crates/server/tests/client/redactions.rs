//! Redactions: what was redacted is nowhere to be read any more

use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

use super::V3;

/// What is redacted, and must not be found afterwards.
const SECRET: &str = "sEcReT";

async fn set(user: &User, room: &str, event_type: &str, key: &str, content: &Value) -> String {
    let (room, key) = (path_segment(room), path_segment(key));
    let path = format!("{V3}/rooms/{room}/state/{event_type}/{key}");
    user.put(path).json(content).await.ok()["event_id"].as_str().unwrap().to_owned()
}

async fn redact(user: &User, room: &str, event: &str, reason: &str) -> String {
    let path = format!("{V3}/rooms/{}/redact/{}/{}", path_segment(room), path_segment(event), path_segment(reason));
    user.put(path).json(&json!({ "reason": reason })).await.ok()["event_id"].as_str().unwrap().to_owned()
}

/// All that a member can be told of a room: what is new since a token, and everything.
async fn told(user: &User, room: &str, since: &str, event: &str) -> String {
    let room = path_segment(room);
    let event = path_segment(event);
    let few = path_segment(r#"{"room":{"timeline":{"limit":1}}}"#);
    let pdus = path_segment(r#"{"event_format":"federation","room":{"timeline":{"limit":100}}}"#);
    let mut all = String::new();
    for path in [
        format!("sync?since={since}"),
        format!("sync?since={since}&filter={few}"),
        format!("sync?since={since}&filter={few}&full_state=true"),
        format!("sync?since={since}&filter={pdus}"),
        "sync".to_owned(),
        format!("sync?filter={few}"),
        format!("rooms/{room}/messages?dir=b&limit=100"),
        format!("rooms/{room}/messages?dir=f&limit=100"),
        format!("rooms/{room}/messages?dir=b&limit=100&filter=%7B%22lazy_load_members%22%3Atrue%7D"),
        format!("rooms/{room}/state"),
        format!("rooms/{room}/members"),
        format!("rooms/{room}/joined_members"),
        format!("rooms/{room}/event/{event}"),
        format!("rooms/{room}/context/{event}"),
        "publicRooms".to_owned(),
    ] {
        all.push_str(&user.get(format!("{V3}/{path}")).await.ok().to_string());
    }
    let search = json!({ "search_term": SECRET });
    all + &user.post(format!("{V3}/user_directory/search")).json(&search).await.ok()["results"].to_string()
}

/// State with something secret in it, and without.
fn states(alice: &User) -> Vec<(&'static str, String, Value, Value)> {
    let levels = |key: &str| json!({ "x": key });
    vec![
        ("m.room.name", String::new(), json!({ "name": SECRET }), json!({ "name": "open" })),
        ("m.room.topic", String::new(), json!({ "topic": SECRET }), json!({ "topic": "open" })),
        (
            "m.room.avatar",
            String::new(),
            json!({ "url": format!("mxc://x/{SECRET}") }),
            json!({ "url": "mxc://x/open" }),
        ),
        (
            "m.room.member",
            alice.id.clone(),
            json!({ "membership": "join", "displayname": SECRET, "avatar_url": format!("mxc://x/{SECRET}") }),
            json!({ "membership": "join", "displayname": "Alice" }),
        ),
        (
            "m.room.canonical_alias",
            String::new(),
            json!({ "alias": format!("#{SECRET}:localhost") }),
            json!({ "alt_aliases": [] }),
        ),
        (
            "m.room.join_rules",
            String::new(),
            json!({ "join_rule": "public", "x": SECRET }),
            json!({ "join_rule": "public", "x": "open" }),
        ),
        (
            "m.room.history_visibility",
            String::new(),
            json!({ "history_visibility": "shared", "x": SECRET }),
            json!({ "history_visibility": "shared", "x": "open" }),
        ),
        (
            "m.room.guest_access",
            String::new(),
            json!({ "guest_access": SECRET }),
            json!({ "guest_access": "forbidden" }),
        ),
        ("m.room.power_levels", String::new(), levels(SECRET), levels("open")),
        ("org.example.note", "key".to_owned(), json!({ "note": SECRET }), json!({ "note": "open" })),
    ]
}

on_both_databases! {
    async fn redacted_state_is_nowhere_though_it_was_replaced(db: TestDatabase) {
        let mut server = TestServer::start(&db).await;
        let (mut alice, mut bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat", "visibility": "public" })).await;
        alice.put(format!("{V3}/directory/room/%23{SECRET}%3Alocalhost")).json(&json!({ "room_id": room })).await.ok();
        bob.join(&room).await;
        let since = bob.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        let mut secrets = Vec::new();
        for (event_type, key, secret, open) in states(&alice) {
            let event = set(&alice, &room, event_type, &key, &secret).await;
            assert!(told(&bob, &room, &since, &event).await.contains(SECRET), "{event_type}");
            set(&alice, &room, event_type, &key, &open).await;
            let all = told(&bob, &room, &since, &event).await;
            assert!(all.contains(&format!("prev_content\":{}", secret)), "{event_type} in {all}");
            redact(&alice, &room, &event, &format!("r{event_type}")).await;
            let all = told(&bob, &room, &since, &event).await;
            assert!(!all.contains(SECRET), "{event_type} in {all}");
            secrets.push(event);
        }
        // The same from the database.
        server.shutdown().await;
        server = TestServer::start(&db).await;
        (alice, bob) = (alice.at(&server.client()), bob.at(&server.client()));
        for reader in [&alice, &bob] {
            let all = told(reader, &room, &since, &secrets[0]).await;
            assert!(!all.contains(SECRET), "{all}");
        }
    }

    async fn redacted_state_is_nowhere_though_nothing_replaced_it(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat", "visibility": "public" })).await;
        alice.put(format!("{V3}/directory/room/%23{SECRET}%3Alocalhost")).json(&json!({ "room_id": room })).await.ok();
        bob.join(&room).await;
        for (event_type, key, secret, open) in states(&alice) {
            let since = bob.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
            let event = set(&alice, &room, event_type, &key, &secret).await;
            let invited = server.register(&format!("invited-to-{}", event_type.replace('_', "-"))).await;
            let invite = format!("{V3}/rooms/{}/invite", path_segment(&room));
            alice.post(&invite).json(&json!({ "user_id": invited.id })).await.ok();
            let before = invited.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
            redact(&alice, &room, &event, &format!("r{event_type}")).await;
            let all = told(&bob, &room, &since, &event).await;
            assert!(!all.contains(SECRET), "{event_type} in {all}");
            for invitation in [invited.sync(None, 0).await, invited.sync(Some(&before), 0).await] {
                assert!(!invitation.to_string().contains(SECRET), "{event_type} in {invitation}");
            }
            // What replaces it now does not know it either.
            set(&alice, &room, event_type, &key, &open).await;
            let all = told(&bob, &room, &since, &event).await;
            assert!(!all.contains(SECRET), "{event_type} in {all}");
        }
    }

    async fn a_redacted_reason_for_a_redaction_is_nowhere(db: TestDatabase) {
        let mut server = TestServer::start(&db).await;
        let (alice, mut bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let since = bob.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        let sent = alice.send_text(&room, "something").await;
        let because = redact(&alice, &room, &sent, SECRET).await;
        assert!(told(&bob, &room, &since, &sent).await.contains(SECRET));
        redact(&alice, &room, &because, "better").await;
        let all = told(&bob, &room, &since, &sent).await;
        assert!(!all.contains(SECRET), "{all}");
        server.shutdown().await;
        server = TestServer::start(&db).await;
        bob = bob.at(&server.client());
        let all = told(&bob, &room, &since, &sent).await;
        assert!(!all.contains(SECRET), "{all}");
    }

    async fn a_redacted_name_highlights_nothing(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let highlights = async || {
            let unread = bob.sync(None, 0).await["rooms"]["join"][&room]["unread_notifications"].clone();
            unread["highlight_count"].as_i64().unwrap()
        };
        let rule = json!({ "conditions": [{ "kind": "contains_display_name" }], "actions": ["notify", { "set_tweak": "highlight" }] });
        bob.put(format!("{V3}/pushrules/global/override/called")).json(&rule).await.ok();
        let named = json!({ "membership": "join", "displayname": SECRET });
        let event = set(&bob, &room, "m.room.member", &bob.id, &named).await;
        alice.send_text(&room, &format!("hello {SECRET}")).await;
        assert_eq!(highlights().await, 1);
        redact(&bob, &room, &event, "r").await;
        alice.send_text(&room, &format!("hello {SECRET}")).await;
        assert_eq!(highlights().await, 1);
    }
}
