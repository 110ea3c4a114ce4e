use serde_json::{Value, json};
use testing::{Answer, Client, TestServer, on_both_databases};

use crate::{V3, log_in, whoami};

async fn refresh(client: &Client, token: &Value) -> Answer {
    client.post(format!("{V3}/refresh")).json(&json!({ "refresh_token": token })).await
}

on_both_databases! {
    async fn a_refresh_token_is_good_until_the_new_tokens_are_used(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        server.register("alice").await;
        let client = server.client();
        let first = log_in(&client, "alice", json!({ "refresh_token": true })).await.ok();
        assert!(first["expires_in_ms"].is_u64());

        let lost = refresh(&client, &first["refresh_token"]).await.ok();
        whoami(&client, &first["access_token"]).await.ok();
        // The answer was lost on the way: the client asks again.
        let second = refresh(&client, &first["refresh_token"]).await.ok();
        whoami(&client, &lost["access_token"]).await.error(401, "M_UNKNOWN_TOKEN");
        refresh(&client, &lost["refresh_token"]).await.error(401, "M_UNKNOWN_TOKEN");

        whoami(&client, &second["access_token"]).await.ok();
        whoami(&client, &first["access_token"]).await.error(401, "M_UNKNOWN_TOKEN");
        refresh(&client, &first["refresh_token"]).await.error(401, "M_UNKNOWN_TOKEN");

        // Using the refresh token shows as well that it has arrived.
        let third = refresh(&client, &second["refresh_token"]).await.ok();
        let fourth = refresh(&client, &third["refresh_token"]).await.ok();
        refresh(&client, &second["refresh_token"]).await.error(401, "M_UNKNOWN_TOKEN");
        whoami(&client, &fourth["access_token"]).await.ok();
    }

    async fn logging_out_ends_refresh_tokens_too(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        server.register("alice").await;
        let client = server.client();
        let session = log_in(&client, "alice", json!({ "refresh_token": true })).await.ok();
        client.post(format!("{V3}/logout")).token(session["access_token"].as_str().unwrap()).await.ok();
        refresh(&client, &session["refresh_token"]).await.error(401, "M_UNKNOWN_TOKEN");
        refresh(&client, &json!("guess")).await.error(401, "M_UNKNOWN_TOKEN");
        client.post(format!("{V3}/refresh")).json(&json!({})).await.error(400, "M_BAD_JSON");
    }
}
