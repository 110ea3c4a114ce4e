use serde_json::json;
use testing::{ServerProcess, on_both_databases};

use crate::{V3, ask, token_request};

on_both_databases! {
    async fn a_server_without_mail_says_so(db: TestDatabase) {
        let server = ServerProcess::start(env!("CARGO_BIN_EXE_synapse-rust"), &db).await;
        let (client, alice) = (server.client(), server.register("alice").await);
        for what in ["register", "account/password", "account/3pid"] {
            let answer = ask(&client, what, &token_request("alice@example.com", 1)).await;
            answer.error(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED");
        }
        let flows = client.post(format!("{V3}/register")).await.json["flows"].to_string();
        assert!(flows.contains("m.login.dummy") && !flows.contains("email"), "{flows}");
        client.post(format!("{V3}/account/password")).json(&json!({})).await.error(401, "M_MISSING_TOKEN");
        let challenge = alice.post(format!("{V3}/account/password")).json(&json!({})).await;
        assert_eq!(challenge.json["flows"], json!([{ "stages": ["m.login.password"] }]));
        let body = json!({ "sid": "a", "client_secret": "b" });
        alice.post(format!("{V3}/account/3pid/add")).json(&body).await.error(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED");
        client.get("/_synapse/client/email/submit_token?sid=a&token=b").await.error(404, "M_NOT_FOUND");
        let capabilities = alice.get(format!("{V3}/capabilities")).await.ok();
        assert_eq!(capabilities["capabilities"]["m.3pid_changes"], json!({ "enabled": false }));
    }
}
