use serde_json::json;
use testing::{TestServer, on_both_databases};

use crate::{V3, log_in, whoami};

on_both_databases! {
    async fn the_flows_name_passwords_where_there_are_any(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let flows = server.client().get(format!("{V3}/login")).await.ok();
        assert_eq!(flows, json!({ "flows": [{ "type": "m.login.password" }] }));
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
