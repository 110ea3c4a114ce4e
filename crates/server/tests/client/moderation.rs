//! Reports, and accounts that administrators lock, suspend and look at

use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

use super::{V3, log_in};

const ADMIN: &str = "/_synapse/admin/v1";

/// Somebody who administers the server.
async fn administrator(server: &TestServer) -> User {
    let root = server.register("root").await;
    let account = server.database().account_by_user_id(&root.id).await.unwrap().unwrap();
    assert!(server.database().set_admin(account.user_sn, true).await.unwrap());
    root
}

async fn set_standing(root: &User, what: &str, user_id: &str, body: Value) -> Value {
    let path = format!("/_matrix/client/v1/admin/{what}/{}", path_segment(user_id));
    let answer = root.put(&path).json(&body).await.ok();
    assert_eq!(root.get(&path).await.ok(), answer);
    answer
}

on_both_databases! {
    async fn what_users_report_administrators_see_and_nobody_else(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let root = administrator(&server).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "name": "Lounge", "preset": "public_chat" })).await;
        let event = alice.send_text(&room, "spam").await;
        let of_event = format!("{V3}/rooms/{}/report/{}", path_segment(&room), path_segment(&event));
        let of_room = format!("{V3}/rooms/{}/report", path_segment(&room));
        let of_user = format!("{V3}/users/{}/report", path_segment(&alice.id));

        // Only members report events; rooms and users are reported by anybody, with a reason that may be empty.
        bob.post(&of_event).json(&json!({ "reason": "spam" })).await.error(404, "M_NOT_FOUND");
        bob.join(&room).await;
        let _ = bob.post(&of_event).json(&json!({ "reason": "spam", "score": -100 })).await.ok();
        let _ = bob.post(&of_event).json(&json!({})).await.ok();
        let _ = bob.post(&of_room).json(&json!({ "reason": "" })).await.ok();
        let _ = bob.post(&of_user).json(&json!({ "reason": "rude" })).await.ok();
        for path in [&of_room, &of_user] {
            bob.post(path).json(&json!({})).await.error(400, "M_BAD_JSON");
            server.client().post(path).json(&json!({ "reason": "" })).await.error(401, "M_MISSING_TOKEN");
        }
        bob.post(&of_event).json(&json!({ "reason": 5 })).await.error(400, "M_BAD_JSON");
        bob.post(&of_event).json(&json!({ "reason": "x".repeat(5_000) })).await.error(400, "M_INVALID_PARAM");
        for unknown in ["rooms/%21none%3Alocalhost/report", "users/%40none%3Alocalhost/report"] {
            bob.post(format!("{V3}/{unknown}")).json(&json!({ "reason": "" })).await.error(404, "M_NOT_FOUND");
        }

        let listed = root.get(format!("{ADMIN}/event_reports")).await.ok();
        assert_eq!((&listed["total"], listed.get("next_token")), (&json!(2), None));
        let (newest, oldest) = (&listed["event_reports"][0], &listed["event_reports"][1]);
        assert_eq!((&newest["reason"], &newest["score"]), (&Value::Null, &Value::Null));
        for (key, value) in [
            ("event_id", json!(event)),
            ("room_id", json!(room)),
            ("name", json!("Lounge")),
            ("sender", json!(alice.id)),
            ("user_id", json!(bob.id)),
            ("reason", json!("spam")),
            ("score", json!(-100)),
        ] {
            assert_eq!(oldest[key], value, "{key}");
        }
        let page = root.get(format!("{ADMIN}/event_reports?limit=1&dir=f")).await.ok();
        assert_eq!((&page["event_reports"][0]["id"], &page["next_token"]), (&oldest["id"], &json!(1)));
        let next = root.get(format!("{ADMIN}/event_reports?limit=1&dir=f&from=1")).await.ok();
        assert_eq!((&next["event_reports"][0]["id"], next.get("next_token")), (&newest["id"], None));
        let by_alice = root.get(format!("{ADMIN}/event_reports?user_id={}", path_segment(&alice.id))).await.ok();
        assert_eq!(by_alice["total"], 0);
        let of_room = root.get(format!("{ADMIN}/event_reports?room_id={}", path_segment(&room))).await.ok();
        assert_eq!(of_room["total"], 2);

        let one = format!("{ADMIN}/event_reports/{}", oldest["id"]);
        assert_eq!(root.get(&one).await.ok()["event_json"]["content"]["body"], "spam");
        assert_eq!(root.get(format!("{ADMIN}/room_reports")).await.ok()["room_reports"][0]["room_id"], *room);
        let users = root.get(format!("{ADMIN}/user_reports")).await.ok();
        assert_eq!(users["user_reports"][0]["target_user_id"], *alice.id);
        // A report is of one kind.
        root.get(format!("{ADMIN}/user_reports/{}", oldest["id"])).await.error(404, "M_NOT_FOUND");
        let _ = root.delete(&one).await.ok();
        root.delete(&one).await.error(404, "M_NOT_FOUND");

        for path in ["event_reports", "room_reports", "user_reports", "event_reports/1", "user_reports/1"] {
            bob.get(format!("{ADMIN}/{path}")).await.error(403, "M_FORBIDDEN");
        }
        root.get(format!("{ADMIN}/event_reports?from=-1")).await.error(400, "M_INVALID_PARAM");
    }

    async fn a_locked_user_can_only_log_out(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let root = administrator(&server).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        assert_eq!(set_standing(&root, "lock", &alice.id, json!({ "locked": true })).await, json!({ "locked": true }));
        for path in [format!("{V3}/sync"), format!("{V3}/rooms/{}/messages?dir=b", path_segment(&room))] {
            assert_eq!(alice.get(path).await.error(401, "M_USER_LOCKED")["soft_logout"], true);
        }
        // The session is still there afterwards, and others can be opened.
        set_standing(&root, "lock", &alice.id, json!({ "locked": false })).await;
        alice.send_text(&room, "back").await;
        set_standing(&root, "lock", &alice.id, json!({ "locked": true })).await;
        let _ = alice.post(format!("{V3}/logout")).await.ok();
        alice.get(format!("{V3}/account/whoami")).await.error(401, "M_UNKNOWN_TOKEN");
        set_standing(&root, "lock", &alice.id, json!({ "locked": false })).await;
        let again = log_in(&server.client(), "alice", json!({})).await.ok();
        let whoami = server.client().get(format!("{V3}/account/whoami"));
        assert_eq!(whoami.token(again["access_token"].as_str().unwrap()).await.ok()["user_id"], *alice.id);
    }

    async fn a_suspended_user_reads_and_leaves_and_sends_nothing(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let root = administrator(&server).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let (own, other) = (bob.send_text(&room, "own").await, alice.send_text(&room, "other").await);
        let in_room = format!("{V3}/rooms/{}", path_segment(&room));
        let suspended = json!({ "suspended": true });
        assert_eq!(set_standing(&root, "suspend", &bob.id, suspended.clone()).await, suspended);

        let profile = format!("{V3}/profile/{}/displayname", path_segment(&bob.id));
        for (path, body) in [
            (format!("{in_room}/send/m.room.message/1"), json!({ "body": "x" })),
            (format!("{in_room}/state/m.room.topic"), json!({ "topic": "x" })),
            (format!("{in_room}/redact/{}/1", path_segment(&other)), json!({})),
            (profile, json!({ "displayname": "x" })),
        ] {
            bob.put(path).json(&body).await.error(403, "M_USER_SUSPENDED");
        }
        for (path, body) in [
            (format!("{V3}/createRoom"), json!({})),
            (format!("{V3}/join/{}", path_segment(&room)), json!({})),
            (format!("{V3}/knock/{}", path_segment(&room)), json!({})),
            (format!("{in_room}/invite"), json!({ "user_id": root.id })),
        ] {
            bob.post(path).json(&body).await.error(403, "M_USER_SUSPENDED");
        }
        assert_eq!(bob.get(format!("{in_room}/event/{}", path_segment(&other))).await.ok()["content"]["body"], "other");
        let _ = bob.sync(None, 0).await;
        let _ = bob.put(format!("{in_room}/redact/{}/2", path_segment(&own))).json(&json!({})).await.ok();
        let _ = bob.post(format!("{in_room}/leave")).json(&json!({})).await.ok();
        set_standing(&root, "suspend", &bob.id, json!({ "suspended": false })).await;
        bob.join(&room).await;
    }

    async fn only_administrators_decide_on_accounts_and_not_on_each_other(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let root = administrator(&server).await;
        let alice = server.register("alice").await;
        for (what, body) in [("lock", json!({ "locked": true })), ("suspend", json!({ "suspended": true }))] {
            let path = |user_id: &str| format!("/_matrix/client/v1/admin/{what}/{}", path_segment(user_id));
            // Whoever is no administrator does not learn who has an account.
            for user_id in [&*alice.id, "@none:localhost", "@a:elsewhere"] {
                alice.get(path(user_id)).await.error(403, "M_FORBIDDEN");
                alice.put(path(user_id)).json(&body).await.error(403, "M_FORBIDDEN");
            }
            root.put(path(&root.id)).json(&body).await.error(403, "M_FORBIDDEN");
            root.put(path("@none:localhost")).json(&body).await.error(404, "M_NOT_FOUND");
            root.get(path("@a:elsewhere")).await.error(400, "M_INVALID_PARAM");
            root.put(path(&alice.id)).json(&json!({})).await.error(400, "M_BAD_JSON");
        }
        let capability = |capabilities: Value| capabilities["capabilities"]["m.account_moderation"].clone();
        let path = format!("{V3}/capabilities");
        assert_eq!(capability(root.get(&path).await.ok()), json!({ "suspend": true, "lock": true }));
        assert_eq!(capability(alice.get(&path).await.ok()), Value::Null);
    }

    async fn who_a_user_is_tells_the_user_and_administrators(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let root = administrator(&server).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for base in [format!("{V3}/admin/whois"), format!("{ADMIN}/whois")] {
            let path = format!("{base}/{}", path_segment(&alice.id));
            for reader in [&root, &alice] {
                let found = reader.get(&path).await.ok();
                assert_eq!(found["user_id"], *alice.id);
                let connection = &found["devices"][&alice.device_id]["sessions"][0]["connections"][0];
                assert_eq!(connection["ip"], "127.0.0.1");
                assert!(connection["last_seen"].is_i64(), "{found}");
            }
            bob.get(&path).await.error(403, "M_FORBIDDEN");
            root.get(format!("{base}/%40none%3Alocalhost")).await.error(404, "M_NOT_FOUND");
        }
    }
}
