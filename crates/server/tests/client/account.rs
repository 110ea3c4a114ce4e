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
        change("wrong", "second word", true).await.error(401, "M_FORBIDDEN");
        change("password of alice", "", true).await.error(400, "M_WEAK_PASSWORD");
        change("password of alice", "second word", true).await.ok();
        whoami(&client, &other["access_token"]).await.ok();
        log_in(&client, "alice", json!({})).await.error(403, "M_FORBIDDEN");
        change("second word", "third word", false).await.ok();
        whoami(&client, &other["access_token"]).await.error(401, "M_UNKNOWN_TOKEN");
        alice.get(format!("{V3}/account/whoami")).await.ok();
        log_in(&client, "alice", json!({ "password": "third word" })).await.ok();
    }

    async fn a_session_of_stages_can_be_finished_later(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let path = format!("{V3}/account/password");
        let wanted = json!({ "new_password": "new password", "logout_devices": false });
        let challenge = alice.post(&path).json(&wanted).await;
        assert_eq!(challenge.status, 401);
        let mut auth = password_stage("@alice:localhost", "password of alice");
        auth["session"] = challenge.json["session"].clone();
        let other = json!({ "new_password": "new password", "logout_devices": true, "auth": auth });
        alice.post(&path).json(&other).await.error(403, "M_FORBIDDEN");
        // What was said before need not be said again.
        alice.post(&path).json(&json!({ "auth": auth })).await.ok();
        log_in(&server.client(), "alice", json!({ "password": "new password" })).await.ok();
        // A client that missed the answer gets it again; a session that has done its work does nothing else.
        alice.post(&path).json(&json!({ "auth": auth })).await.ok();
        alice.post(&path).json(&json!({ "new_password": "new password", "auth": auth })).await.ok();
        let used = json!({ "new_password": "other password", "auth": { "session": challenge.json["session"] } });
        alice.post(&path).json(&used).await.error(401, "M_UNKNOWN");
        log_in(&server.client(), "alice", json!({ "password": "new password" })).await.ok();
    }

    async fn a_password_is_known_again_however_its_characters_are_composed(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let client = server.client();
        let body = json!({ "auth": { "type": "m.login.dummy" }, "username": "alice", "password": "u\u{308}bers3kr1t" });
        client.post(format!("{V3}/register")).json(&body).await.ok();
        for password in ["\u{fc}bers3kr1t", "u\u{308}bers3kr1t"] {
            log_in(&client, "alice", json!({ "password": password })).await.ok();
        }
        log_in(&client, "alice", json!({ "password": "ubers3kr1t" })).await.error(403, "M_FORBIDDEN");
    }

    async fn passwords_that_are_too_short_or_too_easy_to_guess_are_refused_before_any_stage(db: TestDatabase) {
        let server = TestServer::start_with(&db, &[("passwords", "minimum_score", 3.into())]).await;
        let client = server.client();
        let register = |password: &str| {
            let body = json!({ "username": "bob", "password": password, "auth": { "type": "m.login.dummy" } });
            client.post(format!("{V3}/register")).json(&body)
        };
        for password in ["x", "five5", "password1", "aaaaaaaaaa"] {
            register(password).await.error(400, "M_WEAK_PASSWORD");
        }
        let bob = register("plover gravel onyx 71").await.ok();
        let short = json!({ "new_password": "short" });
        let change = client.post(format!("{V3}/account/password")).token(bob["access_token"].as_str().unwrap());
        change.json(&short).await.error(400, "M_WEAK_PASSWORD");
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
