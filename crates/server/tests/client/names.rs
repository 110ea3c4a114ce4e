//! Texts that clients choose and that the server stores: what is too long is an error of the client, and costs nobody else anything.

use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde_json::json;
use storage::{Database, DatabaseOptions};
use testing::{TestServer, on_both_databases, path_segment};

/// Text that no database can make shorter.
fn random(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// How many rows each table has in which a refused request could leave something.
async fn rows(database: &Database) -> Vec<(&'static str, i64)> {
    let counts = [
        ("event_types", "SELECT COUNT(*) FROM event_types"),
        ("state_keys", "SELECT COUNT(*) FROM state_keys"),
        ("users", "SELECT COUNT(*) FROM users"),
        ("rooms", "SELECT COUNT(*) FROM rooms"),
        ("room_heads", "SELECT COUNT(*) FROM room_heads"),
        ("events", "SELECT COUNT(*) FROM events"),
        ("state_chunks", "SELECT COUNT(*) FROM state_chunks"),
        ("client_transactions", "SELECT COUNT(*) FROM client_transactions"),
        ("account_data", "SELECT COUNT(*) FROM account_data"),
        ("room_aliases", "SELECT COUNT(*) FROM room_aliases"),
        ("receipts", "SELECT COUNT(*) FROM receipts"),
        ("typing", "SELECT COUNT(*) FROM typing"),
    ];
    let mut found = Vec::new();
    for (table, sql) in counts {
        found.push((table, database.query_optional(sql, &[], |row| row.get(0)).await.unwrap().unwrap()));
    }
    found
}

on_both_databases! {
    async fn names_that_are_too_long_are_the_clients_mistake(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let event = alice.send_text(&room, "to be redacted").await;
        let path = |rest: &str| format!("/_matrix/client/v3/rooms/{}/{rest}", path_segment(&room));
        let put = |rest: String| alice.put(path(&rest)).json(&json!({ "body": "x" }));
        for length in [256, 4_500, 8_000] {
            let long = random(length);
            put(format!("send/m.room.message/{long}")).await.error(400, "M_INVALID_PARAM");
            put(format!("redact/{}/{long}", path_segment(&event))).await.error(400, "M_INVALID_PARAM");
            put(format!("send/{long}/1")).await.error(413, "M_TOO_LARGE");
            put(format!("state/{long}")).await.error(413, "M_TOO_LARGE");
            put(format!("state/{long}/")).await.error(413, "M_TOO_LARGE");
            put(format!("state/org.example/{long}")).await.error(413, "M_TOO_LARGE");
            // What is only looked for is not there.
            alice.get(path(&format!("state/{long}/{long}"))).await.error(404, "M_NOT_FOUND");
            alice.get(path(&format!("event/${long}"))).await.error(404, "M_NOT_FOUND");
        }
        // In bytes, not in characters.
        put(format!("send/m.room.message/{}", path_segment(&"\u{20AC}".repeat(86)))).await.error(400, "M_INVALID_PARAM");
        let longest = random(255);
        put(format!("send/{longest}/{longest}")).await.ok();
        put(format!("state/{longest}/{longest}")).await.ok();
    }

    async fn what_is_refused_leaves_no_rows(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let levels = json!({ "events_default": 50, "state_default": 50, "invite": 50 });
        let room = alice.create_room(&json!({ "preset": "public_chat", "power_level_content_override": levels })).await;
        bob.join(&room).await;
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        let before = rows(&database).await;
        let path = |rest: &str| format!("/_matrix/client/v3/rooms/{}/{rest}", path_segment(&room));
        let nobody = |number: usize| format!("@nobody{number}:localhost");
        for (number, user) in [&bob, &carol, &bob, &carol].into_iter().enumerate() {
            let name = format!("org.example.refused{number}");
            user.put(path(&format!("send/{name}/{name}"))).json(&json!({})).await.error(403, "M_FORBIDDEN");
            user.put(path(&format!("state/{name}/{name}"))).json(&json!({})).await.error(403, "M_FORBIDDEN");
            let invitation = json!({ "user_id": nobody(number) });
            user.post(path("invite")).json(&invitation).await.error(403, "M_FORBIDDEN");
            user.post(path("ban")).json(&invitation).await.error(403, "M_FORBIDDEN");
            user.post(path("upgrade")).json(&json!({ "new_version": "10" })).await.error(403, "M_FORBIDDEN");
            // The last event is not allowed in the room; those before it are.
            let state = |event_type: &str, content| json!({ "type": event_type, "state_key": name, "content": content });
            let wish = json!({
                "initial_state": [state(&name, json!({})), state("m.room.member", json!({ "membership": "join" }))],
            });
            let answer = user.post("/_matrix/client/v3/createRoom").json(&wish).await;
            assert!(matches!(answer.status.as_u16(), 400 | 403), "{answer:?}");
            let nowhere = path_segment("!nowhere:localhost");
            let elsewhere = format!("/_matrix/client/v3/rooms/{nowhere}/send/{name}/{name}");
            user.put(&elsewhere).json(&json!({})).await.error(403, "M_FORBIDDEN");
        }
        assert_eq!(rows(&database).await, before);
        database.close().await;
    }
}
