use std::fmt::Write as _;

use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha1::Sha1;
use testing::{Client, TestDatabase, TestServer, on_both_databases};

const PATH: &str = "/_synapse/admin/v1/register";
const SECRET: &str = "shared between friends";

async fn server_with_secret(db: &TestDatabase) -> TestServer {
    TestServer::start_with(
        db,
        &[("registration", "enabled", false.into()), ("registration", "shared_secret", SECRET.into())],
    )
    .await
}

/// A request as the scripts for Synapse make it.
async fn signed(client: &Client, name: &str, admin: bool) -> Value {
    let nonce = client.get(PATH).await.ok()["nonce"].as_str().unwrap().to_owned();
    let role = if admin { "admin" } else { "notadmin" };
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update([nonce.as_str(), name, "wonderland", role].join("\0").as_bytes());
    let mac = mac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    json!({ "nonce": nonce, "username": name, "password": "wonderland", "admin": admin, "mac": mac })
}

on_both_databases! {
    async fn who_knows_the_secret_registers_users(db: TestDatabase) {
        let server = server_with_secret(&db).await;
        let client = server.client();
        let mut request = signed(&client, "User-UPPER", false).await;
        request["displayname"] = "The User".into();
        let user = client.post(PATH).json(&request).await.ok();
        assert_eq!((&user["user_id"], &user["home_server"]), (&json!("@user-upper:localhost"), &json!("localhost")));
        assert!(user["access_token"].is_string() && user["device_id"].is_string());
        let profile = client.get("/_matrix/client/v3/profile/@user-upper:localhost").await.ok();
        assert_eq!(profile, json!({ "displayname": "The User" }));
        assert!(server.first_account_token().await.is_none());
    }

    async fn an_administrator_makes_the_first_token_useless(db: TestDatabase) {
        let server = server_with_secret(&db).await;
        let client = server.client();
        let token = server.first_account_token().await.unwrap();
        let mut request = signed(&client, "root", true).await;
        request["inhibit_login"] = true.into();
        let root = client.post(PATH).json(&request).await.ok();
        assert_eq!(root, json!({ "user_id": "@root:localhost", "home_server": "localhost" }));
        let late = json!({ "username": "late", "password": "wonderland", "auth": { "type": "m.login.registration_token", "token": token } });
        client.post("/_matrix/client/v3/register").json(&late).await.error(403, "M_FORBIDDEN");
    }

    async fn a_nonce_is_good_for_one_request(db: TestDatabase) {
        let server = server_with_secret(&db).await;
        let client = server.client();
        let request = signed(&client, "alice", false).await;
        client.post(PATH).json(&request).await.ok();
        client.post(PATH).json(&request).await.error(400, "M_UNKNOWN");
        let mut wrong = signed(&client, "bob", false).await;
        wrong["admin"] = true.into();
        client.post(PATH).json(&wrong).await.error(403, "M_UNKNOWN");
        wrong["admin"] = false.into();
        client.post(PATH).json(&wrong).await.error(400, "M_UNKNOWN");
    }

    async fn a_nonce_costs_no_row_and_a_wrong_proof_is_counted(db: TestDatabase) {
        let limits = toml::toml! { enabled = true
            interactive_auth = { per_second = 0.0002, burst = 1 } };
        let mut settings: Vec<testing::Setting<'_>> =
            limits.iter().map(|(key, value)| ("rate_limits", key.as_str(), value.clone())).collect();
        settings.push(("registration", "shared_secret", SECRET.into()));
        let server = TestServer::start_with(&db, &settings).await;
        let client = server.client();
        let mut wrong = signed(&client, "alice", false).await;
        wrong["admin"] = true.into();
        client.post(PATH).json(&wrong).await.error(403, "M_UNKNOWN");
        let mut again = signed(&client, "alice", false).await;
        again["admin"] = true.into();
        client.post(PATH).json(&again).await.error(429, "M_LIMIT_EXCEEDED");
        for _ in 0..5 {
            client.get(PATH).await.ok();
        }
        let sql = "SELECT COUNT(*) FROM uia_sessions";
        assert_eq!(server.database().query_optional(sql, &[], |row| row.get::<i64>(0)).await.unwrap(), Some(1));
        client.post(PATH).json(&signed(&client, "alice", false).await).await.ok();
    }

    async fn what_is_missing_or_wrong_is_told(db: TestDatabase) {
        let server = server_with_secret(&db).await;
        let client = server.client();
        client.post(PATH).json(&json!({})).await.error(400, "M_BAD_JSON");
        client.post(PATH).json(&signed(&client, "us,er", false).await).await.error(400, "M_INVALID_USERNAME");
        client.post(PATH).json(&signed(&client, "alice", false).await).await.ok();
        client.post(PATH).json(&signed(&client, "alice", false).await).await.error(400, "M_USER_IN_USE");
        let mut odd = signed(&client, "carol", false).await;
        odd["user_type"] = "emperor".into();
        client.post(PATH).json(&odd).await.error(400, "M_UNKNOWN");
    }

    async fn without_a_secret_nobody_is_registered(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let client = server.client();
        client.post(PATH).json(&signed(&client, "alice", false).await).await.error(400, "M_UNKNOWN");
    }
}
