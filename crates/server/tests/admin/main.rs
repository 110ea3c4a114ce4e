//! The admin API over HTTP, on both databases.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly in the functions around it too"
)]

mod background_jobs;
mod destinations;
mod register;

use serde_json::json;
use testing::{TestServer, User};

/// The first account, which has the token for it.
async fn administrator(server: &TestServer) -> User {
    let token = server.first_account_token().await.unwrap();
    let wanted = json!({ "username": "root", "password": "wonderland" });
    let client = server.client();
    let mut request = wanted.clone();
    let challenge = client.post("/_matrix/client/v3/register").json(&request).await;
    request["auth"] = json!({
        "type": "m.login.registration_token", "token": token, "session": challenge.json["session"],
    });
    let root = client.post("/_matrix/client/v3/register").json(&request).await.ok();
    let mut user = server.register("helper").await;
    root["user_id"].as_str().unwrap().clone_into(&mut user.id);
    root["access_token"].as_str().unwrap().clone_into(&mut user.token);
    user
}
