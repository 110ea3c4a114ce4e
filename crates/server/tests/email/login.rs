use serde_json::json;
use testing::on_both_databases;

use crate::{V3, by_email, log_in, register, start_both};

on_both_databases! {
    async fn a_user_logs_in_by_address(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        register(&client, &smtp, "alice", "alice@example.com").await;
        let answer = log_in(&client, by_email("Alice@EXAMPLE.com"), "wonderland").await.ok();
        assert_eq!(answer["user_id"], "@alice:localhost");
        log_in(&client, by_email("alice@example.com"), "wrong").await.error(403, "M_FORBIDDEN");
        log_in(&client, by_email("bob@example.com"), "wonderland").await.error(403, "M_FORBIDDEN");
        log_in(&client, by_email("no address"), "wonderland").await.error(403, "M_FORBIDDEN");
        let phone = json!({ "type": "m.id.thirdparty", "medium": "msisdn", "address": "447700900000" });
        log_in(&client, phone, "wonderland").await.error(400, "M_UNKNOWN");
        let nothing = json!({ "type": "m.id.thirdparty", "medium": "email" });
        log_in(&client, nothing, "wonderland").await.error(400, "M_BAD_JSON");
    }

    async fn a_stage_takes_the_address_of_the_user_and_no_other(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let alice = register(&client, &smtp, "alice", "alice@example.com").await;
        register(&client, &smtp, "bob", "bob@example.com").await;
        let change = |address: &str| {
            let auth = json!({ "type": "m.login.password", "identifier": by_email(address), "password": "wonderland" });
            let body = json!({ "auth": auth, "new_password": "new password", "logout_devices": false });
            client.post(format!("{V3}/account/password")).token(alice["access_token"].as_str().unwrap()).json(&body)
        };
        change("bob@example.com").await.error(403, "M_FORBIDDEN");
        change("alice@example.com").await.ok();
    }
}
