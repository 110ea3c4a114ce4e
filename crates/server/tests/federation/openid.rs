//! Users who show other services who they are.

use std::sync::Arc;
use std::time::Duration;

use homeserver_core::{Clock as _, FixedClock, SystemClock};
use serde_json::json;
use testing::{TestServer, on_both_databases, path_segment};

use crate::V3;

const USER_INFO: &str = "/_matrix/federation/v1/openid/userinfo";

on_both_databases! {
    async fn a_token_tells_whose_it_is_for_an_hour_and_is_good_for_nothing_else(db: TestDatabase) {
        let clock = Arc::new(FixedClock::new(SystemClock.now()));
        let server = TestServer::start_at(clock.clone(), &db, &[]).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let path = format!("{V3}/user/{}/openid/request_token", path_segment(&alice.id));
        let issued = alice.post(&path).json(&json!({})).await.ok();
        assert_eq!((&issued["token_type"], &issued["matrix_server_name"], &issued["expires_in"]), (&json!("Bearer"), &json!("localhost"), &json!(3600)));
        let token = issued["access_token"].as_str().unwrap();
        let info = || server.client().get(format!("{USER_INFO}?access_token={token}"));
        assert_eq!(info().await.ok(), json!({ "sub": alice.id }));

        server.client().get(format!("{V3}/account/whoami")).token(token).await.error(401, "M_UNKNOWN_TOKEN");
        server.client().post(&path).token(token).json(&json!({})).await.error(401, "M_UNKNOWN_TOKEN");
        bob.post(&path).json(&json!({})).await.error(403, "M_FORBIDDEN");
        server.client().post(&path).json(&json!({})).await.error(401, "M_MISSING_TOKEN");
        server.client().get(USER_INFO).await.error(400, "M_MISSING_PARAM");
        server.client().get(format!("{USER_INFO}?access_token=x%00y")).await.error(400, "M_INVALID_PARAM");
        server.client().get(format!("{USER_INFO}?access_token=unknown")).await.error(401, "M_UNKNOWN_TOKEN");
        server.client().get(format!("{USER_INFO}?access_token={}", alice.token)).await.error(401, "M_UNKNOWN_TOKEN");

        clock.advance(Duration::from_secs(3599));
        info().await.ok();
        clock.advance(Duration::from_secs(1));
        info().await.error(401, "M_UNKNOWN_TOKEN");
        server.shutdown().await;
    }
}
