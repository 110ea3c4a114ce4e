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
            "auth": { "type": "m.login.dummy" }, "username": "Bob", "password": "p",
            "device_id": "BOBS", "initial_device_display_name": "Bob's phone",
        });
        let bob = server.client().post(PATH).json(&body).await.ok();
        assert_eq!((&bob["user_id"], &bob["device_id"]), (&json!("@bob:localhost"), &json!("BOBS")));
        assert!(bob.get("refresh_token").is_none());
        assert_eq!(whoami(&server.client(), &bob["access_token"]).await.ok()["device_id"], "BOBS");
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
