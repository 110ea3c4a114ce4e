//! Deactivated users who asked for their content to be erased

use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::{Value, json};
use storage::{Database, DatabaseOptions};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

use crate::{V3, password_stage};

async fn deactivate(user: &User, name: &str, erase: bool) {
    let body = json!({ "auth": password_stage(name, &format!("password of {name}")), "erase": erase });
    user.post(format!("{V3}/account/deactivate")).json(&body).await.ok();
}

async fn read(user: &User, room: &str, path: &str) -> Value {
    user.get(format!("{V3}/rooms/{}/{path}", path_segment(room))).await.ok()
}

fn disposition(answer: &Answer) -> &str {
    answer.headers[CONTENT_DISPOSITION].to_str().unwrap()
}

/// Every copy of the event that the user can get hold of, by the way it came.
async fn copies(user: &User, room: &str, event_id: &str) -> Vec<(&'static str, Value)> {
    let is_it = |event: &&Value| event["event_id"] == event_id;
    let pick = |events: &Value| events.as_array().unwrap().iter().find(is_it).cloned().unwrap_or_default();
    let segment = path_segment(event_id);
    let event = read(user, room, &format!("event/{segment}")).await;
    let context = read(user, room, &format!("context/{segment}")).await;
    let next = context["events_after"][0]["event_id"].as_str().unwrap().to_owned();
    let around = read(user, room, &format!("context/{}", path_segment(&next))).await;
    let backwards = read(user, room, "messages?dir=b&limit=100").await;
    let forwards = read(user, room, "messages?dir=f&limit=100").await;
    let filter = json!({ "room": { "timeline": { "limit": 50 }, "state": { "lazy_load_members": true } } });
    let sync = user.get(format!("{V3}/sync?filter={}", path_segment(&filter.to_string()))).await.ok();
    vec![
        ("event", event),
        ("context", context["event"].clone()),
        ("events before", pick(&around["events_before"])),
        ("messages backwards", pick(&backwards["chunk"])),
        ("messages forwards", pick(&forwards["chunk"])),
        ("sync", pick(&sync["rooms"]["join"][room]["timeline"]["events"])),
    ]
}

on_both_databases! {
    async fn those_who_join_after_an_erasure_see_redacted_events(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (carol, dave) = (server.register("carol").await, server.register("dave").await);
        let frank = server.register("frank").await;
        let profile = format!("{V3}/profile/{}/displayname", path_segment(&alice.id));
        alice.put(&profile).json(&json!({ "displayname": "Alice in full" })).await.ok();
        let room = alice.create_room(&json!({ "preset": "public_chat", "name": "Tea" })).await;
        carol.join(&room).await;
        frank.join(&room).await;
        let secret = alice.send_text(&room, "a secret").await;
        let open = frank.send_text(&room, "no secret").await;
        // Could read it before the erasure, though it came earlier.
        dave.join(&room).await;
        deactivate(&frank, "frank", false).await;
        deactivate(&alice, "alice", true).await;
        bob.join(&room).await;

        for reader in [&carol, &dave] {
            for (way, event) in copies(reader, &room, &secret).await {
                assert_eq!(event["content"]["body"], "a secret", "{way} of {}", reader.id);
            }
        }
        for (way, event) in copies(&bob, &room, &secret).await {
            assert_eq!((&event["event_id"], &event["content"]), (&json!(secret), &json!({})), "{way}");
            assert_eq!((&event["sender"], &event["type"]), (&json!(alice.id), &json!("m.room.message")), "{way}");
        }
        for (way, event) in copies(&bob, &room, &open).await {
            assert_eq!(event["content"]["body"], "no secret", "{way}");
        }
        // Neither the member events nor what they replaced tell the name, and the room keeps its own.
        let filter = path_segment(&json!({ "lazy_load_members": true }).to_string());
        for path in [
            "state".to_owned(),
            "members".to_owned(),
            format!("messages?dir=b&limit=100&filter={filter}"),
            format!("context/{}?filter={filter}", path_segment(&secret)),
            format!("state/m.room.member/{}?format=event", path_segment(&alice.id)),
        ] {
            let answer = read(&bob, &room, &path).await.to_string();
            assert!(answer.contains(&alice.id), "{path}: {answer}");
            assert!(!answer.contains("Alice in full"), "{path}: {answer}");
        }
        let whole = bob.get(format!("{V3}/sync?full_state=true")).await.ok().to_string();
        assert!(!whole.contains("Alice in full") && !whole.contains("a secret"), "{whole}");
        assert_eq!(read(&bob, &room, "state/m.room.name").await, json!({ "name": "Tea" }));
        // To have been there once does not open what came while one was away.
        let rejoined = carol.post(format!("{V3}/rooms/{}/leave", path_segment(&room))).json(&json!({})).await;
        rejoined.ok();
        carol.join(&room).await;
        assert_eq!(read(&carol, &room, &format!("event/{}", path_segment(&secret))).await["content"]["body"], "a secret");
    }

    async fn an_erasure_hides_what_was_sent_while_the_reader_was_away(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let seen = alice.send_text(&room, "seen").await;
        bob.post(format!("{V3}/rooms/{}/leave", path_segment(&room))).json(&json!({})).await.ok();
        let missed = alice.send_text(&room, "missed").await;
        deactivate(&alice, "alice", true).await;
        let content = async |event: &str| read(&bob, &room, &format!("event/{}", path_segment(event))).await["content"].clone();
        assert_eq!(content(&seen).await["body"], "seen");
        bob.join(&room).await;
        assert_eq!(content(&seen).await["body"], "seen");
        assert_eq!(content(&missed).await, json!({}));
    }

    async fn an_erasure_reaches_what_events_of_others_carry(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let profile = format!("{V3}/profile/{}/displayname", path_segment(&alice.id));
        alice.put(&profile).json(&json!({ "displayname": "Alice in full" })).await.ok();
        let room = carol.create_room(&json!({ "preset": "public_chat", "name": "Tea" })).await;
        alice.join(&room).await;
        let event = alice.send_text(&room, "x").await;
        let path = format!("{V3}/rooms/{}/redact/{}/1", path_segment(&room), path_segment(&event));
        alice.put(path).json(&json!({ "reason": "a secret reason" })).await.ok();
        let kick = carol.post(format!("{V3}/rooms/{}/kick", path_segment(&room)));
        kick.json(&json!({ "user_id": alice.id, "reason": "enough" })).await.ok();
        deactivate(&alice, "alice", true).await;
        bob.join(&room).await;
        let segment = path_segment(&event);
        for (path, secret) in [
            ("messages?dir=b&limit=100".to_owned(), "Alice in full"),
            ("messages?dir=b&limit=100".to_owned(), "a secret reason"),
            (format!("event/{segment}"), "a secret reason"),
            (format!("context/{segment}"), "a secret reason"),
            ("state".to_owned(), "Alice in full"),
            ("members".to_owned(), "Alice in full"),
        ] {
            let (seen, kept) = (read(&bob, &room, &path).await.to_string(), read(&carol, &room, &path).await.to_string());
            assert!(!seen.contains(secret), "{path}: {seen}");
            assert!(kept.contains(secret), "{path}: {kept}");
            if secret == "Alice in full" {
                assert!(seen.contains("enough"), "what others said is kept: {path}: {seen}");
            }
        }
        let filter = path_segment(&json!({ "room": { "timeline": { "limit": 50 } } }).to_string());
        let whole = bob.get(format!("{V3}/sync?filter={filter}")).await.ok().to_string();
        assert!(!whole.contains("Alice in full") && !whole.contains("a secret reason"), "{whole}");
    }

    async fn an_erasure_deletes_what_the_user_had_set(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let event = alice.send_text(&room, "x").await;
        let user = format!("{V3}/user/{}", path_segment(&alice.id));
        alice.put(format!("{user}/account_data/org.a")).json(&json!({ "a": 1 })).await.ok();
        let of_room = format!("{user}/rooms/{}/account_data/org.a", path_segment(&room));
        alice.put(of_room).json(&json!({ "a": 1 })).await.ok();
        alice.post(format!("{user}/filter")).json(&json!({ "room": { "timeline": { "limit": 7 } } })).await.ok();
        alice.put(format!("{V3}/pushrules/global/room/{}", path_segment(&room))).json(&json!({ "actions": [] })).await.ok();
        let markers = json!({ "m.fully_read": event, "m.read": event });
        alice.post(format!("{V3}/rooms/{}/read_markers", path_segment(&room))).json(&markers).await.ok();
        let upload = "/_matrix/media/v3/upload?filename=diary%20of%20alice.txt";
        let uploaded = alice.post(upload).header(CONTENT_TYPE, "text/plain").body("words").await.ok();
        let uri = uploaded["content_uri"].as_str().unwrap().trim_start_matches("mxc://").to_owned();
        let download = async || bob.get(format!("/_matrix/client/v1/media/download/{uri}")).await;
        assert!(disposition(&download().await).contains("diary"));

        deactivate(&alice, "alice", true).await;
        let answer = download().await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, b"words".as_slice()));
        assert!(!disposition(&answer).contains("diary"));
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        for sql in [
            "SELECT COUNT(*) FROM account_data",
            "SELECT COUNT(*) FROM filters",
            "SELECT COUNT(*) FROM push_rules",
            "SELECT COUNT(*) FROM fully_read",
            "SELECT COUNT(*) FROM receipts",
            "SELECT COUNT(*) FROM profile_fields",
            "SELECT COUNT(*) FROM media WHERE file_name IS NOT NULL",
        ] {
            let left = database.query_optional(sql, &[], |row| row.get::<i64>(0)).await.unwrap();
            assert_eq!(left, Some(0), "{sql}");
        }
        database.close().await;
    }
}
