use serde_json::{Value, json};
use testing::{TestServer, on_both_databases};

use crate::{V3, log_in, password_of, password_stage, whoami};

on_both_databases! {
    async fn the_flows_name_passwords_where_there_are_any(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let flows = server.client().get(format!("{V3}/login")).await.ok();
        let token = json!({ "type": "m.login.token", "get_login_token": true });
        assert_eq!(flows, json!({ "flows": [{ "type": "m.login.password" }, token] }));
    }

    async fn a_user_logs_in_by_name_by_id_in_capitals_and_as_old_clients_do(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        server.register("alice").await;
        for identifier in ["alice", "@alice:localhost", "ALICE", "@Alice:localhost"] {
            let further = json!({ "identifier": { "type": "m.id.user", "user": identifier } });
            let answer = log_in(&server.client(), "alice", further).await.ok();
            assert_eq!(answer["user_id"], "@alice:localhost", "{identifier}");
            whoami(&server.client(), &answer["access_token"]).await.ok();
        }
        let old = json!({ "type": "m.login.password", "user": "alice", "password": "password of alice" });
        server.client().post("/_matrix/client/r0/login").json(&old).await.ok();
    }

    async fn wrong_passwords_and_unknown_users_are_refused_alike(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        server.register("alice").await;
        let client = server.client();
        let wrong = log_in(&client, "alice", json!({ "password": "password of bob" })).await.error(403, "M_FORBIDDEN");
        for name in ["bob", "@alice:elsewhere.org", "@", ":", &"x".repeat(1000)] {
            assert_eq!(log_in(&client, name, json!({})).await.error(403, "M_FORBIDDEN"), wrong, "{name}");
        }
    }

    async fn a_device_that_logs_in_again_loses_its_earlier_token(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let client = server.client();
        let device = json!({ "device_id": "PHONE", "initial_device_display_name": "Phone" });
        let first = log_in(&client, "alice", device).await.ok();
        whoami(&client, &first["access_token"]).await.ok();
        let second = log_in(&client, "alice", json!({ "device_id": "PHONE" })).await.ok();
        whoami(&client, &first["access_token"]).await.error(401, "M_UNKNOWN_TOKEN");
        whoami(&client, &second["access_token"]).await.ok();
        let devices = alice.get(format!("{V3}/devices")).await.ok();
        assert_eq!(devices["devices"].as_array().unwrap().len(), 2);
        assert_eq!(devices["devices"][1]["display_name"], "Phone");
    }

    async fn a_token_logs_in_another_device_once_and_needs_a_proof_each_time(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, client) = (server.register("alice").await, server.client());
        let path = "/_matrix/client/v1/login/get_token";
        client.post(path).json(&json!({})).await.error(401, "M_MISSING_TOKEN");
        assert_eq!(alice.get(format!("{V3}/capabilities")).await.ok()["capabilities"]["m.get_login_token"]["enabled"], true);
        let log_in = async |token: &Value| {
            let body = json!({ "type": "m.login.token", "token": token, "device_id": "OTHER" });
            client.post(format!("{V3}/login")).json(&body).await
        };
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let challenge = alice.post(path).json(&json!({})).await;
            assert_eq!(challenge.status, 401);
            let mut auth = password_stage("alice", &password_of("alice"));
            auth["session"] = challenge.json["session"].clone();
            bodies.push(json!({ "auth": auth }));
        }
        let issued = alice.post(path).json(&bodies[0]).await.ok();
        assert_eq!(issued["expires_in_ms"], 120_000);
        assert_eq!(alice.post(path).json(&bodies[0]).await.status, 401, "one proof is for one token");
        let opened = log_in(&issued["login_token"]).await.ok();
        assert_eq!((&opened["user_id"], &opened["device_id"]), (&json!(alice.id), &json!("OTHER")));
        whoami(&client, &opened["access_token"]).await.ok();
        log_in(&issued["login_token"]).await.error(403, "M_FORBIDDEN");
        for (token, errcode) in [(json!("never"), "M_FORBIDDEN"), (Value::Null, "M_BAD_JSON"), (json!(5), "M_BAD_JSON")] {
            let answer = log_in(&token).await;
            assert_eq!(answer.json["errcode"], errcode, "{answer}");
        }

        let ended = alice.post(path).json(&bodies[1]).await.ok();
        alice.post(format!("{V3}/logout/all")).await.ok();
        log_in(&ended["login_token"]).await.error(403, "M_FORBIDDEN");
    }

    async fn logging_out_ends_one_session_or_all(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let client = server.client();
        let tokens = [log_in(&client, "alice", json!({})).await.ok(), log_in(&client, "alice", json!({})).await.ok()];
        let tokens = tokens.map(|answer| answer["access_token"].clone());

        client.post(format!("{V3}/logout")).token(tokens[0].as_str().unwrap()).await.ok();
        whoami(&client, &tokens[0]).await.error(401, "M_UNKNOWN_TOKEN");
        whoami(&client, &tokens[1]).await.ok();
        let devices = alice.get(format!("{V3}/devices")).await.ok();
        assert_eq!(devices["devices"].as_array().unwrap().len(), 2);

        alice.post(format!("{V3}/logout/all")).await.ok();
        whoami(&client, &tokens[1]).await.error(401, "M_UNKNOWN_TOKEN");
        alice.get(format!("{V3}/account/whoami")).await.error(401, "M_UNKNOWN_TOKEN");
        client.post(format!("{V3}/logout")).await.error(401, "M_MISSING_TOKEN");
    }

    async fn without_passwords_nobody_logs_in_with_one(db: TestDatabase) {
        let server = TestServer::start_with(&db, &[("passwords", "enabled", false.into())]).await;
        assert_eq!(server.client().get(format!("{V3}/login")).await.ok(), json!({ "flows": [] }));
        log_in(&server.client(), "alice", json!({})).await.error(400, "M_UNKNOWN");
    }
}
