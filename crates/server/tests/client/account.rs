use serde_json::json;
use testing::{TestServer, on_both_databases, path_segment};

use crate::{V3, log_in, password_stage, whoami};

on_both_databases! {
    async fn a_new_password_replaces_the_old_and_ends_other_sessions_unless_asked_not_to(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let client = server.client();
        let change = |old: &str, new: &str, keep: bool| {
            let body = json!({ "auth": password_stage("alice", old), "new_password": new, "logout_devices": !keep });
            alice.post(format!("{V3}/account/password")).json(&body)
        };
        let other = log_in(&client, "alice", json!({})).await.ok();
        change("wrong", "second", true).await.error(401, "M_FORBIDDEN");
        change("password of alice", "", true).await.error(400, "M_WEAK_PASSWORD");
        change("password of alice", "second", true).await.ok();
        whoami(&client, &other["access_token"]).await.ok();
        log_in(&client, "alice", json!({})).await.error(403, "M_FORBIDDEN");
        change("second", "third", false).await.ok();
        whoami(&client, &other["access_token"]).await.error(401, "M_UNKNOWN_TOKEN");
        alice.get(format!("{V3}/account/whoami")).await.ok();
        log_in(&client, "alice", json!({ "password": "third" })).await.ok();
    }

    async fn a_session_of_stages_can_be_finished_later(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let path = format!("{V3}/account/password");
        let challenge = alice.post(&path).json(&json!({ "new_password": "x" })).await;
        assert_eq!(challenge.status, 401);
        let mut auth = password_stage("@alice:localhost", "password of alice");
        auth["session"] = challenge.json["session"].clone();
        alice.post(&path).json(&json!({ "new_password": "new", "auth": auth })).await.ok();
        log_in(&server.client(), "alice", json!({ "password": "new" })).await.ok();
        // A session that has done its work is over.
        let used = json!({ "new_password": "other", "auth": { "session": challenge.json["session"] } });
        alice.post(&path).json(&used).await.error(401, "M_UNKNOWN");
    }

    async fn a_deactivated_account_is_closed_for_good(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let client = server.client();
        let profile = format!("{V3}/profile/{}/displayname", path_segment(&alice.id));
        alice.put(&profile).json(&json!({ "displayname": "Alice" })).await.ok();
        let path = format!("{V3}/account/deactivate");
        let others = json!({ "auth": password_stage("bob", "password of bob") });
        alice.post(&path).json(&others).await.error(403, "M_FORBIDDEN");
        let body = json!({ "auth": password_stage("alice", "password of alice"), "erase": true });
        assert_eq!(alice.post(&path).json(&body).await.ok()["id_server_unbind_result"], "no-support");

        alice.get(format!("{V3}/account/whoami")).await.error(401, "M_UNKNOWN_TOKEN");
        log_in(&client, "alice", json!({})).await.error(403, "M_USER_DEACTIVATED");
        bob.get(&profile).await.error(404, "M_NOT_FOUND");
        client.get(format!("{V3}/register/available?username=alice")).await.error(400, "M_USER_IN_USE");
    }

    async fn a_deactivated_user_is_in_no_room_any_more(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room_id).await;
        let body = json!({ "auth": password_stage("bob", "password of bob") });
        bob.post(format!("{V3}/account/deactivate")).json(&body).await.ok();
        let members = alice.get(format!("{V3}/rooms/{}/joined_members", path_segment(&room_id))).await.ok();
        let joined: Vec<_> = members["joined"].as_object().unwrap().keys().collect();
        assert_eq!(joined, [&alice.id]);
    }
}
