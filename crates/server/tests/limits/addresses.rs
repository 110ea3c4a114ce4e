use http::HeaderName;
use serde_json::json;
use testing::{Answer, Client, TestServer, User, on_both_databases};

use crate::{V3, at_once, refused, server_with, settings};

async fn available(client: &Client, name: &str) -> Answer {
    client.get(format!("{V3}/register/available?username={name}")).await
}

/// As seen by a proxy on this machine.
async fn available_to(client: &Client, forwarded_for: &str) -> Answer {
    let header = HeaderName::from_static("x-forwarded-for");
    client.get(format!("{V3}/register/available?username=alice")).header(header, forwarded_for).await
}

on_both_databases! {
    async fn accounts_are_counted_by_the_address_that_makes_them(db: TestDatabase) {
        let server = server_with(&db, &at_once("registration", 2)).await;
        let client = server.client();
        let register = format!("{V3}/register");
        User::register(&client, "alice").await;
        for name in ["alice", "us,er", ""] {
            // What makes no account is not counted.
            let wish = json!({ "username": name, "password": "wonderland", "auth": { "type": "m.login.dummy" } });
            assert_eq!(client.post(&register).json(&wish).await.status, 400, "{name}");
        }
        User::register(&client, "bob").await;
        let wish = json!({ "username": "carol", "password": "wonderland" });
        refused(client.post(&register).json(&wish).await);
        refused(client.post(format!("{register}?kind=guest")).json(&json!({})).await);
    }

    async fn guests_are_counted_too(db: TestDatabase) {
        let limits = at_once("registration", 1);
        let mut settings = settings(&limits);
        settings.push(("registration", "allow_guests", true.into()));
        let server = TestServer::start_with(&db, &settings).await;
        let client = server.client();
        let register = format!("{V3}/register?kind=guest");
        client.post(&register).json(&json!({})).await.ok();
        refused(client.post(&register).json(&json!({})).await);
    }

    async fn questions_for_free_names_and_valid_tokens_are_counted_by_address(db: TestDatabase) {
        let mut limits = at_once("registration_available", 2);
        limits.insert("registration_token_validity".to_owned(), limits["registration_available"].clone());
        let server = server_with(&db, &limits).await;
        let client = server.client();
        available(&client, "alice").await.ok();
        available(&client, "us,er").await.error(400, "M_INVALID_USERNAME");
        refused(available(&client, "bob").await);

        let validity = "/_matrix/client/v1/register/m.login.registration_token/validity?token=x";
        client.get(validity).await.ok();
        client.get(validity).await.ok();
        refused(client.get(validity).await);
    }

    async fn guesses_of_registration_tokens_are_counted_wherever_they_are_made(db: TestDatabase) {
        let limits = at_once("registration_token_validity", 2);
        let mut settings = settings(&limits);
        settings.push(("registration", "require_token", true.into()));
        let server = TestServer::start_with(&db, &settings).await;
        let client = server.client();
        let first = server.first_account_token().await.unwrap();
        let guess = async |token: &str| {
            let auth = json!({ "type": "m.login.registration_token", "token": token });
            let wish = json!({ "username": "alice", "password": "wonderland", "auth": auth });
            client.post(format!("{V3}/register")).json(&wish).await
        };
        guess("a").await.error(401, "M_UNAUTHORIZED");
        guess("b").await.error(401, "M_UNAUTHORIZED");
        refused(guess("c").await);
        refused(guess(&first).await);
        let validity = "/_matrix/client/v1/register/m.login.registration_token/validity?token=x";
        refused(client.get(validity).await);
    }

    async fn beginnings_of_authentication_are_counted_by_address_and_leave_no_rows_when_refused(db: TestDatabase) {
        let server = server_with(&db, &at_once("interactive_auth", 3)).await;
        let client = server.client();
        let register = format!("{V3}/register");
        let wish = json!({ "username": "alice", "password": "wonderland" });
        let session = client.post(&register).json(&wish).await.json["session"].clone();
        assert_eq!(client.post(&register).json(&json!({ "auth": { "session": "guess" } })).await.status, 401);
        assert_eq!(client.post(&register).json(&json!({ "auth": { "type": "m.login.magic" } })).await.status, 401);
        refused(client.post(&register).json(&wish).await);
        refused(client.post(&register).json(&json!({ "auth": { "session": "guess" } })).await);
        let sql = "SELECT COUNT(*) FROM uia_sessions";
        assert_eq!(server.database().query_optional(sql, &[], |row| row.get::<i64>(0)).await.unwrap(), Some(3));
        // What has begun can be completed.
        let auth = json!({ "auth": { "type": "m.login.dummy", "session": session } });
        client.post(&register).json(&auth).await.ok();
    }

    async fn requests_for_mails_are_counted_by_address_whatever_they_are_for(db: TestDatabase) {
        let server = server_with(&db, &at_once("third_party_validation", 2)).await;
        let client = server.client();
        let wish = json!({ "client_secret": "s3cret", "email": "alice@example.org", "send_attempt": 1 });
        for purpose in ["register", "account/password"] {
            let answer = client.post(format!("{V3}/{purpose}/email/requestToken")).json(&wish).await;
            // There is no e-mail here.
            assert_eq!(answer.status, 400, "{answer}");
        }
        for purpose in ["register", "account/password", "account/3pid"] {
            refused(client.post(format!("{V3}/{purpose}/email/requestToken")).json(&wish).await);
        }
    }

    async fn the_room_directory_is_counted_by_user_or_else_by_address(db: TestDatabase) {
        let server = server_with(&db, &at_once("room_directory", 1)).await;
        let (client, alice) = (server.client(), server.register("alice").await);
        let path = format!("{V3}/publicRooms");
        client.get(&path).await.ok();
        refused(client.get(&path).await);
        alice.get(&path).await.ok();
        refused(alice.post(&path).json(&json!({})).await);
    }

    async fn without_trusted_proxies_clients_cannot_say_where_they_are(db: TestDatabase) {
        let server = server_with(&db, &at_once("registration_available", 1)).await;
        let client = server.client();
        available_to(&client, "203.0.113.1").await.ok();
        refused(available_to(&client, "203.0.113.2").await);
    }

    async fn behind_a_trusted_proxy_clients_are_told_apart(db: TestDatabase) {
        let limits = at_once("registration_available", 1);
        let mut settings = settings(&limits);
        let trusted = vec![toml::Value::from("127.0.0.1"), "10.0.0.0/8".into()];
        settings.push(("listeners", "trusted_proxies", trusted.into()));
        let server = TestServer::start_with(&db, &settings).await;
        let client = server.client();

        available_to(&client, "203.0.113.1").await.ok();
        refused(available_to(&client, "203.0.113.1").await);
        available_to(&client, "203.0.113.2").await.ok();
        // What stands before the client's address is what the client says.
        refused(available_to(&client, "6.6.6.6, 203.0.113.2").await);
        // The nearest hops are proxies too.
        refused(available_to(&client, "6.6.6.6, 203.0.113.2, 10.0.0.7").await);
        available_to(&client, "203.0.113.2, 203.0.113.3, 10.0.0.7").await.ok();
        // Whoever has one address of a network has all of them.
        available_to(&client, "2001:db8:1:2::1").await.ok();
        refused(available_to(&client, "2001:db8:1:2:ffff::2").await);
        available_to(&client, "2001:db8:1:3::1").await.ok();

        let forwarded = |text: &'static str| {
            client.get(format!("{V3}/register/available?username=alice")).header(http::header::FORWARDED, text)
        };
        refused(forwarded("for=203.0.113.1;proto=https").await);
        forwarded("for=203.0.113.1, for=\"203.0.113.4:1234\"").await.ok();
    }
}
