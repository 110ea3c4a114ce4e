use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

use crate::V3;

const ALGORITHM: &str = "m.megolm_backup.v1.curve25519-aes-sha2";

async fn new_version(user: &User) -> String {
    let body = json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": "x" } });
    let answer = user.post(format!("{V3}/room_keys/version")).json(&body).await.ok();
    answer["version"].as_str().unwrap().to_owned()
}

fn key(is_verified: bool, first: u32, forwarded: u32) -> Value {
    let data = json!({ "ciphertext": format!("{is_verified} {first} {forwarded}") });
    json!({ "is_verified": is_verified, "first_message_index": first, "forwarded_count": forwarded, "session_data": data })
}

fn path(version: &str, rest: &str) -> String {
    format!("{V3}/room_keys/keys{rest}?version={version}")
}

async fn put(user: &User, version: &str, rest: &str, body: Value) -> Answer {
    user.put(path(version, rest)).json(&body).await
}

on_both_databases! {
    async fn the_better_key_of_a_session_is_kept(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let version = new_version(&alice).await;
        let room = path_segment("!a:b");
        let session = format!("/{room}/S");
        let mut etag = 0;
        for (new, is_better) in [
            (key(false, 10, 5), true),
            (key(false, 10, 5), false),
            (key(false, 11, 5), false),
            (key(false, 10, 6), false),
            (key(false, 10, 4), true),
            (key(false, 9, 100), true),
            (key(true, 50, 50), true),
            (key(false, 0, 0), false),
            (key(true, 51, 0), false),
            (key(true, 50, 49), true),
        ] {
            let before = alice.get(path(&version, &session)).await;
            etag += i32::from(is_better);
            let answer = put(&alice, &version, &session, new.clone()).await.ok();
            assert_eq!(answer, json!({ "count": 1, "etag": etag.to_string() }), "{new}");
            let kept = if is_better { new } else { before.ok() };
            assert_eq!(alice.get(path(&version, &session)).await.ok(), kept);
        }
    }

    async fn keys_are_put_read_and_removed_at_once_by_room_and_one_by_one(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let version = new_version(&alice).await;
        let (first, second) = (path_segment("!1:b"), path_segment("!2:b"));
        let rooms = json!({ "!1:b": { "sessions": { "A": key(true, 1, 0), "B": key(true, 2, 0) } },
            "!2:b": { "sessions": { "A": key(false, 3, 0) } } });
        assert_eq!(put(&alice, &version, "", json!({ "rooms": rooms })).await.ok()["count"], 3);
        let more = json!({ "sessions": { "B": key(true, 4, 0) } });
        assert_eq!(put(&alice, &version, &format!("/{second}"), more).await.ok()["count"], 4);
        assert_eq!(alice.get(path(&version, "")).await.ok()["rooms"]["!1:b"], rooms["!1:b"]);
        assert_eq!(alice.get(path(&version, &format!("/{first}"))).await.ok(), rooms["!1:b"]);
        assert_eq!(alice.get(path(&version, "/unknown")).await.ok(), json!({ "sessions": {} }));
        alice.get(path(&version, &format!("/{first}/NONE"))).await.error(404, "M_NOT_FOUND");
        bob.get(path(&version, "")).await.error(404, "M_NOT_FOUND");

        let about = alice.get(format!("{V3}/room_keys/version")).await.ok();
        let expected = json!({ "algorithm": ALGORITHM, "auth_data": { "public_key": "x" }, "count": 4, "etag": "2", "version": version });
        assert_eq!(about, expected);
        assert_eq!(alice.delete(path(&version, &format!("/{second}/A"))).await.ok(), json!({ "count": 3, "etag": "3" }));
        assert_eq!(alice.delete(path(&version, &format!("/{first}"))).await.ok()["count"], 1);
        assert_eq!(alice.delete(path(&version, "")).await.ok()["count"], 0);
        assert_eq!(alice.get(path(&version, "")).await.ok(), json!({ "rooms": {} }));
    }

    async fn keys_go_into_the_newest_version_only(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        alice.get(format!("{V3}/room_keys/version")).await.error(404, "M_NOT_FOUND");
        let old = new_version(&alice).await;
        put(&alice, &old, "/r/s", key(true, 0, 0)).await.ok();
        let new = new_version(&alice).await;
        let refused = put(&alice, &old, "/r/t", key(true, 0, 0)).await.error(403, "M_WRONG_ROOM_KEYS_VERSION");
        assert_eq!(refused["current_version"], new.as_str());
        assert_eq!(alice.get(path(&old, "")).await.ok()["rooms"]["r"]["sessions"].as_object().unwrap().len(), 1);

        let change = |version: &str| json!({ "algorithm": ALGORITHM, "auth_data": { "b": 2 }, "version": version });
        let at_new = format!("{V3}/room_keys/version/{new}");
        alice.put(&at_new).json(&change(&new)).await.ok();
        assert_eq!(alice.get(&at_new).await.ok()["auth_data"], json!({ "b": 2 }));
        alice.put(&at_new).json(&change(&old)).await.error(400, "M_INVALID_PARAM");
        let other = json!({ "algorithm": "other", "auth_data": {} });
        alice.put(&at_new).json(&other).await.error(400, "M_INVALID_PARAM");

        alice.delete(&at_new).await.ok();
        alice.delete(&at_new).await.error(404, "M_NOT_FOUND");
        alice.get(&at_new).await.error(404, "M_NOT_FOUND");
        put(&alice, &new, "/r/s", key(true, 0, 0)).await.error(403, "M_WRONG_ROOM_KEYS_VERSION");
        assert_eq!(alice.get(format!("{V3}/room_keys/version")).await.ok()["version"], old.as_str());
        let third = new_version(&alice).await;
        assert!(third != new && third != old, "a number is not used again");
        put(&alice, "x", "/r/s", key(true, 0, 0)).await.error(404, "M_NOT_FOUND");
    }
}
