use std::time::Duration;

use serde_json::{Value, json};
use testing::{Answer, Setting, TestDatabase, TestServer, User, eventually, on_both_databases, path_segment};

use crate::V3;

/// A server that tells who is there; users become idle and offline after these times.
async fn server(db: &TestDatabase, idle_after: &str, offline_after: &str) -> TestServer {
    let settings: [Setting<'_>; 3] = [
        ("presence", "enabled", true.into()),
        ("presence", "idle_after", idle_after.into()),
        ("presence", "offline_after", offline_after.into()),
    ];
    TestServer::start_with(db, &settings).await
}

fn status_of(user: &User) -> String {
    format!("{V3}/presence/{}/status", path_segment(&user.id))
}

async fn set(user: &User, body: Value) -> Answer {
    user.put(status_of(user)).json(&body).await
}

async fn state(asker: &User, user: &User) -> Value {
    asker.get(status_of(user)).await.ok()["presence"].clone()
}

/// What an answer tells of a user's presence.
fn told<'a>(answer: &'a Value, user: &User) -> &'a Value {
    let events = answer["presence"]["events"].as_array();
    let event = events.and_then(|events| events.iter().find(|event| event["sender"] == user.id.as_str()));
    event.map_or(&Value::Null, |event| {
        assert_eq!(event["type"], "m.presence");
        &event["content"]
    })
}

/// Syncs, without being there, until something is told of a user's presence.
async fn told_next(reader: &User, answer: &mut Value, user: &User) -> Value {
    let mut answers = 0;
    loop {
        let since = path_segment(answer["next_batch"].as_str().unwrap());
        *answer = reader.get(format!("{V3}/sync?timeout=30000&set_presence=offline&since={since}")).await.ok();
        if !told(answer, user).is_null() {
            return told(answer, user).clone();
        }
        answers += 1;
        assert!(answers < 20, "nothing is told of {}: {answer}", user.id);
    }
}

async fn hidden_sync(user: &User) -> Value {
    user.get(format!("{V3}/sync?set_presence=offline")).await.ok()
}

on_both_databases! {
    async fn those_who_share_a_room_are_told_who_is_there(db: TestDatabase) {
        let server = server(&db, "5m", "30s").await;
        let (alice, bob, eve) = (server.register("alice").await, server.register("bob").await, server.register("eve").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let (mut of_bob, of_eve) = (hidden_sync(&bob).await, hidden_sync(&eve).await);
        assert_eq!(of_bob.get("presence"), None, "nobody is there");
        assert_eq!(state(&bob, &alice).await, "offline");

        // Whoever asks what is new is there, and sees it.
        let own = alice.sync(None, 0).await;
        assert_eq!(told(&own, &alice)["presence"], "online");
        let online = told_next(&bob, &mut of_bob, &alice).await;
        assert_eq!((&online["presence"], &online["currently_active"]), (&json!("online"), &json!(true)));
        assert!(online["last_active_ago"].as_i64().unwrap() < 60_000, "{online}");
        assert_eq!(state(&bob, &alice).await, "online");

        set(&alice, json!({ "presence": "unavailable", "status_msg": "at lunch" })).await.ok();
        let idle = told_next(&bob, &mut of_bob, &alice).await;
        assert_eq!((&idle["presence"], &idle["status_msg"]), (&json!("unavailable"), &json!("at lunch")));
        assert_eq!(bob.get(status_of(&alice)).await.ok()["status_msg"], "at lunch");
        // What one does shows that one is there.
        alice.send_text(&room, "back").await;
        assert_eq!(told_next(&bob, &mut of_bob, &alice).await["presence"], "online");
        set(&alice, json!({ "presence": "offline" })).await.ok();
        let gone = told_next(&bob, &mut of_bob, &alice).await;
        assert_eq!((&gone["presence"], gone.get("status_msg")), (&json!("offline"), None));

        set(&alice, json!({ "presence": "online" })).await.ok();
        let since = path_segment(of_eve["next_batch"].as_str().unwrap());
        let of_eve = eve.get(format!("{V3}/sync?since={since}&set_presence=offline")).await.ok();
        assert_eq!(of_eve.get("presence"), None, "whoever shares no room is told nothing");
        eve.get(status_of(&alice)).await.error(403, "M_FORBIDDEN");
        eve.get(format!("{V3}/presence/%40nobody%3Alocalhost/status")).await.error(403, "M_FORBIDDEN");
        assert_eq!(told(&hidden_sync(&bob).await, &alice)["presence"], "online", "a first sync tells who is there");
    }

    async fn users_come_to_see_each_other_by_joining(db: TestDatabase) {
        let server = server(&db, "5m", "30s").await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let (mut of_alice, mut of_bob) = (alice.sync(None, 0).await, bob.sync(None, 0).await);
        assert_eq!((told(&of_alice, &bob), told(&of_bob, &alice)), (&Value::Null, &Value::Null));
        bob.join(&room).await;
        assert_eq!(told_next(&alice, &mut of_alice, &bob).await["presence"], "online");
        assert_eq!(told_next(&bob, &mut of_bob, &alice).await["presence"], "online");
    }

    async fn who_joins_a_room_is_shown_to_its_members_alone(db: TestDatabase) {
        let server = server(&db, "5m", "30s").await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (mallory, trudy) = (server.register("mallory").await, server.register("trudy").await);
        let room = alice.create_room(&json!({ "preset": "public_chat", "invite": [mallory.id] })).await;
        trudy.join(&room).await;
        let (of_mallory, of_trudy) = (hidden_sync(&mallory).await, hidden_sync(&trudy).await);
        assert!(!of_mallory["rooms"]["invite"][&room].is_null(), "{of_mallory}");
        set(&bob, json!({ "presence": "online", "status_msg": "just arrived" })).await.ok();
        bob.join(&room).await;
        alice.post(format!("{V3}/rooms/{}/kick", path_segment(&room))).json(&json!({ "user_id": trudy.id })).await.ok();

        for (reader, before) in [(&mallory, of_mallory), (&trudy, of_trudy)] {
            let since = path_segment(before["next_batch"].as_str().unwrap());
            let answer = reader.get(format!("{V3}/sync?since={since}&set_presence=offline")).await.ok();
            assert_eq!(answer.get("presence"), None, "{} is not in the room", reader.id);
        }
        assert_eq!(told(&hidden_sync(&alice).await, &bob)["status_msg"], "just arrived");
        server.shutdown().await;
    }

    async fn who_does_nothing_is_idle_and_who_is_gone_is_offline(db: TestDatabase) {
        let server = server(&db, "2s", "4s").await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let mut of_bob = hidden_sync(&bob).await;
        let since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        assert_eq!(told_next(&bob, &mut of_bob, &alice).await["presence"], "online");
        // A request that waits keeps its user there, but not from being idle.
        let filter = path_segment(r#"{"presence":{"types":[]}}"#);
        let waiting = alice.get(format!("{V3}/sync?timeout=8000&since={since}&filter={filter}"));
        let (_, idle) = tokio::join!(waiting, told_next(&bob, &mut of_bob, &alice));
        assert_eq!((&idle["presence"], &idle["currently_active"]), (&json!("unavailable"), &json!(false)));
        assert_eq!(told_next(&bob, &mut of_bob, &alice).await["presence"], "offline");
    }

    async fn users_who_were_left_behind_as_online_become_offline(db: TestDatabase) {
        let server = server(&db, "5m", "30s").await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        alice.sync(None, 0).await;
        bob.sync(None, 0).await;
        server.shutdown().await;

        let server = self::server(&db, "5m", "30s").await;
        let (alice, bob, database) = (alice.at(&server.client()), bob.at(&server.client()), server.database());
        assert_eq!(state(&bob, &alice).await, "online", "a restart need not make anybody offline");
        // Seen long ago, or before the clock was set back.
        let past = "UPDATE presence SET seen_at = seen_at - 3600000 WHERE user_sn = (SELECT MIN(user_sn) FROM presence)";
        let future = "UPDATE presence SET seen_at = seen_at + 3600000 WHERE user_sn = (SELECT MAX(user_sn) FROM presence)";
        for sql in [past, future] {
            database.write(async |tx| tx.execute(sql, &[]).await).await.unwrap();
        }
        server.shutdown().await;
        let server = self::server(&db, "5m", "30s").await;
        let (alice, bob) = (alice.at(&server.client()), bob.at(&server.client()));
        eventually("both are offline", async || {
            let states = (state(&bob, &alice).await, state(&alice, &bob).await);
            (states == (json!("offline"), json!("offline"))).then_some(())
        }).await;
        server.shutdown().await;
    }

    async fn who_was_away_for_long_is_told_from_the_database(db: TestDatabase) {
        let server = server(&db, "5m", "30s").await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        set(&alice, json!({ "presence": "online" })).await.ok();
        let mut of_bob = hidden_sync(&bob).await;
        set(&alice, json!({ "presence": "offline", "status_msg": "on holiday" })).await.ok();
        server.shutdown().await;
        let server = self::server(&db, "5m", "30s").await;
        let (alice, bob) = (alice.at(&server.client()), bob.at(&server.client()));
        let told = told_next(&bob, &mut of_bob, &alice).await;
        assert_eq!((&told["presence"], &told["status_msg"]), (&json!("offline"), &json!("on holiday")));
        server.shutdown().await;
    }

    async fn nothing_is_left_of_who_has_closed_the_account(db: TestDatabase) {
        let server = server(&db, "5m", "30s").await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        set(&alice, json!({ "presence": "unavailable", "status_msg": "leaving" })).await.ok();
        let auth = crate::password_stage("alice", &crate::password_of("alice"));
        alice.post(format!("{V3}/account/deactivate")).json(&json!({ "auth": auth, "erase": false })).await.ok();
        let left = "SELECT state, status_message FROM presence";
        let read = |row: &storage::Row<'_>| Ok((row.get::<i64>(0)?, row.get::<Option<String>>(1)?));
        // The server counts her as there for some time, and tells of changes every second.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!(server.database().query(left, &[], read).await.unwrap(), [(1, None)]);
        server.shutdown().await;
    }

    async fn presence_is_refused_and_limited(db: TestDatabase) {
        let limited = toml::toml! { per_second = 0.001 burst = 1 };
        let settings: [Setting<'_>; 3] = [
            ("presence", "enabled", true.into()),
            ("rate_limits", "enabled", true.into()),
            ("rate_limits", "presence_per_user", limited.into()),
        ];
        let server = TestServer::start_with(&db, &settings).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        bob.put(status_of(&alice)).json(&json!({ "presence": "online" })).await.error(403, "M_FORBIDDEN");
        set(&alice, json!({ "presence": "asleep" })).await.error(400, "M_BAD_JSON");
        set(&alice, json!({ "status_msg": "who knows" })).await.error(400, "M_BAD_JSON");
        let long = json!({ "presence": "online", "status_msg": "x".repeat(5_000) });
        set(&alice, long).await.error(400, "M_INVALID_PARAM");
        set(&alice, json!({ "presence": "online" })).await.ok();
        set(&alice, json!({ "presence": "offline" })).await.error(429, "M_LIMIT_EXCEEDED");
        alice.sync(None, 0).await;
        server.shutdown().await;
    }

    async fn presence_can_be_turned_off(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        set(&alice, json!({ "presence": "online", "status_msg": "here" })).await.ok();
        assert_eq!(state(&alice, &alice).await, "offline");
        assert_eq!(alice.sync(None, 0).await.get("presence"), None);
        server.shutdown().await;
    }
}
