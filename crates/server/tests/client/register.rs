use serde_json::{Value, json};
use testing::{TestServer, on_both_databases};

use crate::{V3, log_in, whoami};

const PATH: &str = "/_matrix/client/v3/register";

fn account(name: &str, auth: Value) -> Value {
    json!({ "username": name, "password": "wonderland", "auth": auth })
}

on_both_databases! {
    async fn a_user_registers_in_two_steps_or_in_one(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        assert_eq!(alice.id, "@alice:localhost");
        let body = json!({
            "auth": { "type": "m.login.dummy" }, "username": "Bob", "password": "wonderland",
            "device_id": "BOBS", "initial_device_display_name": "Bob's phone",
        });
        let bob = server.client().post(PATH).json(&body).await.ok();
        assert_eq!((&bob["user_id"], &bob["device_id"]), (&json!("@bob:localhost"), &json!("BOBS")));
        assert!(bob.get("refresh_token").is_none());
        assert_eq!(whoami(&server.client(), &bob["access_token"]).await.ok()["device_id"], "BOBS");
    }

    async fn what_was_asked_for_first_holds_for_the_last_stage(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let client = server.client();
        let wanted = json!({
            "username": "alice", "password": "password of alice", "device_id": "PHONE",
            "initial_device_display_name": "Phone", "refresh_token": true,
        });
        let challenge = client.post(PATH).json(&wanted).await;
        let auth = json!({ "type": "m.login.dummy", "session": challenge.json["session"] });
        let alice = client.post(PATH).json(&json!({ "auth": auth })).await.ok();
        assert_eq!((&alice["user_id"], &alice["device_id"]), (&json!("@alice:localhost"), &json!("PHONE")));
        assert!(alice["refresh_token"].is_string());
        log_in(&client, "alice", json!({})).await.ok();
        let sql = "SELECT parameters FROM uia_sessions WHERE outcome IS NOT NULL";
        let kept = server.database().query_optional(sql, &[], |row| row.get::<String>(0)).await.unwrap().unwrap();
        assert!(!kept.contains("password of alice"), "{kept}");
    }

    async fn a_registration_that_is_repeated_has_the_same_account(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let client = server.client();
        let challenge = client.post(PATH).json(&account("alice", Value::Null)).await;
        let auth = json!({ "type": "m.login.dummy", "session": challenge.json["session"] });
        let first = client.post(PATH).json(&account("alice", auth.clone())).await.ok();
        let again = client.post(PATH).json(&account("alice", auth.clone())).await.ok();
        assert_eq!((&again["user_id"], &again["device_id"]), (&first["user_id"], &first["device_id"]));
        whoami(&client, &again["access_token"]).await.ok();
        // The tokens that may never have arrived are good for nothing.
        whoami(&client, &first["access_token"]).await.error(401, "M_UNKNOWN_TOKEN");
        // The session is good for this account alone.
        client.post(PATH).json(&account("bob", auth.clone())).await.error(401, "M_UNKNOWN");
        let mut other = account("alice", auth);
        other["password"] = "looking glass".into();
        client.post(PATH).json(&other).await.error(400, "M_USER_IN_USE");
    }

    async fn another_name_can_be_chosen_when_one_is_taken(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let client = server.client();
        let challenge = client.post(PATH).json(&account("alice", Value::Null)).await;
        server.register("alice").await;
        let auth = json!({ "type": "m.login.dummy", "session": challenge.json["session"] });
        client.post(PATH).json(&account("alice", auth.clone())).await.error(400, "M_USER_IN_USE");
        let bob = client.post(PATH).json(&account("bob", auth)).await.ok();
        assert_eq!(bob["user_id"], "@bob:localhost");
    }

    async fn the_flows_are_told_without_an_error(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let challenge = server.client().post(PATH).await;
        assert_eq!(challenge.status, 401);
        assert_eq!(challenge.json["flows"][0]["stages"], json!(["m.login.dummy"]));
        assert!(challenge.json["session"].is_string());
        assert!(challenge.json.get("errcode").is_none(), "{challenge}");
    }

    async fn a_name_is_given_once_also_to_those_who_ask_at_the_same_time(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let attempts = (0..8).map(|_| {
            let client = server.client();
            tokio::spawn(async move { client.post(PATH).json(&account("alice", json!({ "type": "m.login.dummy" }))).await })
        });
        let attempts: Vec<_> = attempts.collect();
        let mut registered = 0;
        for attempt in attempts {
            let answer = attempt.await.unwrap();
            if answer.status == 200 {
                registered += 1;
            } else {
                answer.error(400, "M_USER_IN_USE");
            }
        }
        assert_eq!(registered, 1);
    }

    async fn names_outside_of_the_grammar_are_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        for name in ["a,b", "é", "", "_a", "a b", "@a:localhost", &"x".repeat(250)] {
            let answer = server.client().post(PATH).json(&account(name, json!({ "type": "m.login.dummy" }))).await;
            answer.error(400, "M_INVALID_USERNAME");
        }
    }

    async fn available_tells_free_taken_and_invalid_names_apart(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        server.register("alice").await;
        let client = server.client();
        let available = |name: &str| client.get(format!("{PATH}/available?username={name}"));
        assert_eq!(available("bob").await.ok(), json!({ "available": true }));
        available("alice").await.error(400, "M_USER_IN_USE");
        available("a,b").await.error(400, "M_INVALID_USERNAME");
        client.get(format!("{PATH}/available")).await.error(400, "M_MISSING_PARAM");
    }

    async fn without_login_there_is_no_token(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let body = json!({ "auth": { "type": "m.login.dummy" }, "password": "password of carol", "username": "carol", "inhibit_login": true });
        let answer = server.client().post(PATH).json(&body).await.ok();
        assert_eq!(answer, json!({ "user_id": "@carol:localhost", "home_server": "localhost" }));
        log_in(&server.client(), "carol", json!({})).await.ok();
    }

    async fn closed_registration_is_open_once_for_the_holder_of_the_first_token(db: TestDatabase) {
        let settings = [("registration", "enabled", false.into())];
        let server = TestServer::start_with(&db, &settings).await;
        let client = server.client();
        client.post(PATH).await.error(403, "M_FORBIDDEN");
        let token = server.first_account_token().await.unwrap();
        let challenge = client.post(PATH).json(&account("alice", json!({ "type": "m.login.dummy" }))).await;
        challenge.error(401, "M_UNRECOGNIZED");
        let wrong = json!({ "type": "m.login.registration_token", "token": "guess" });
        client.post(PATH).json(&account("alice", wrong)).await.error(401, "M_UNAUTHORIZED");

        let validity = format!("/_matrix/client/v1/register/m.login.registration_token/validity?token={token}");
        assert_eq!(client.get(&validity).await.ok(), json!({ "valid": true }));
        let right = json!({ "type": "m.login.registration_token", "token": token });
        let alice = client.post(PATH).json(&account("alice", right.clone())).await.ok();
        assert_eq!(alice["user_id"], "@alice:localhost");

        client.post(PATH).json(&account("bob", right)).await.error(403, "M_FORBIDDEN");
        client.post(PATH).await.error(403, "M_FORBIDDEN");
        assert_eq!(server.first_account_token().await, None);
    }

    async fn the_first_token_is_good_for_nothing_once_somebody_else_has_registered(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let client = server.client();
        let token = server.first_account_token().await.unwrap();
        server.register("alice").await;
        let stage = json!({ "type": "m.login.registration_token", "token": token });
        client.post(PATH).json(&account("mallory", stage)).await.error(401, "M_UNRECOGNIZED");
        assert_eq!(server.first_account_token().await, None);
    }

    async fn a_stage_completed_for_one_thing_does_not_authorise_another(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let challenge = server.client().post(PATH).await;
        let foreign = json!({ "auth": { "session": challenge.json["session"] } });
        let answer = alice.post(format!("{V3}/account/deactivate")).json(&foreign).await;
        let body = answer.error(401, "M_UNKNOWN");
        assert_ne!(body["session"], challenge.json["session"]);
        assert_eq!(body["flows"], json!([{ "stages": ["m.login.password"] }]));
    }

    async fn guests_register_where_they_may_and_cannot_do_what_users_can(db: TestDatabase) {
        let server = TestServer::start_with(&db, &[("registration", "allow_guests", true.into())]).await;
        let client = server.client();
        let guest = client.post(format!("{PATH}?kind=guest")).json(&json!({})).await.ok();
        let who = whoami(&client, &guest["access_token"]).await.ok();
        assert_eq!((&who["is_guest"], &who["user_id"]), (&json!(true), &guest["user_id"]));
        let token = guest["access_token"].as_str().unwrap();
        let answer = client.post(format!("{V3}/account/password")).token(token).json(&json!({})).await;
        answer.error(403, "M_GUEST_ACCESS_FORBIDDEN");
        client.post(format!("{PATH}?kind=cat")).json(&json!({})).await.error(400, "M_INVALID_PARAM");
    }

    async fn guests_are_turned_away_elsewhere(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        server.client().post(format!("{PATH}?kind=guest")).json(&json!({})).await.error(403, "M_GUEST_ACCESS_FORBIDDEN");
    }
}
