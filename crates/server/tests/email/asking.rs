use serde_json::{Value, json};
use testing::{SmtpServer, SmtpTls, on_both_databases};

use crate::{V3, ask, confirm, email_stage, register, session, start, start_both, token_request};

on_both_databases! {
    async fn the_same_attempt_sends_one_mail_and_a_higher_one_another_whose_links_are_both_good(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let sid = session(&client, "register", "alice@example.com").await;
        let first = smtp.mail_to("alice@example.com", 1).await.link();
        let again = |attempt| {
            let client = client.clone();
            async move { ask(&client, "register", &token_request("alice@example.com", attempt)).await.ok()["sid"].clone() }
        };
        assert_eq!(again(1).await, sid);
        assert_eq!(again(0).await, sid);
        assert_eq!(again(2).await, sid);
        let second = smtp.mail_to("alice@example.com", 2).await.link();
        assert_ne!(first, second);
        assert_eq!(client.get(&first).await.status, 200);
        assert_eq!(confirm(&client, &second).await.status, 200);
        // What is confirmed needs no mail any more; another session does.
        assert_eq!(again(3).await, sid);
        let other = json!({ "client_secret": "other", "email": "alice@example.com", "send_attempt": 1 });
        assert_ne!(ask(&client, "register", &other).await.ok()["sid"], sid);
        smtp.mail_to("alice@example.com", 3).await;
        assert_eq!(smtp.mails().len(), 3);
    }

    async fn nobody_gets_more_than_ten_mails_an_hour(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        for number in 0..10 {
            let body = json!({ "client_secret": format!("s{}", number / 2), "email": "alice@example.com", "send_attempt": 1 + number % 2 });
            ask(&client, ["register", "account/3pid"][number % 2], &body).await.ok();
        }
        let one_more = ask(&client, "register", &token_request("alice@example.com", 1)).await;
        let limited = one_more.error(429, "M_LIMIT_EXCEEDED");
        assert!(limited["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0), "{limited}");
        // The same for an address that gets none.
        for attempt in 1..=10 {
            ask(&client, "account/password", &token_request("nobody@example.com", attempt)).await.ok();
        }
        ask(&client, "account/password", &token_request("nobody@example.com", 11)).await.error(429, "M_LIMIT_EXCEEDED");
        ask(&client, "register", &token_request("bob@example.com", 1)).await.ok();
        smtp.mail_to("bob@example.com", 1).await;
        assert!(smtp.mails().iter().filter(|mail| mail.to == "alice@example.com").count() <= 10);
    }

    async fn bad_requests_are_named_and_send_nothing(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let with = |key: &str, value: Value| {
            let mut body = token_request("alice@example.com", 1);
            body[key] = value;
            body
        };
        for what in ["register", "account/password", "account/3pid"] {
            for email in ["alice", "", "alice@example.com\r\nBcc: eve@example.com", "a@b.c,d@e.f", "Alice <a@b.c>", &"x".repeat(300)] {
                ask(&client, what, &with("email", email.into())).await.error(400, "M_INVALID_PARAM");
            }
            for secret in ["", "with space", "ü", &"x".repeat(256)] {
                ask(&client, what, &with("client_secret", secret.into())).await.error(400, "M_INVALID_PARAM");
            }
            ask(&client, what, &with("send_attempt", "one".into())).await.error(400, "M_BAD_JSON");
            ask(&client, what, &json!({})).await.error(400, "M_BAD_JSON");
        }
        assert!(smtp.mails().is_empty());
    }

    async fn an_operator_can_let_everybody_know_which_addresses_have_accounts(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::StartTls).await;
        let server = start(&db, &smtp, &[("email", "hide_known_addresses", false.into())]).await;
        let client = server.client();
        register(&client, &smtp, "alice", "alice@example.com").await;
        let (known, unknown) = (token_request("alice@example.com", 5), token_request("bob@example.com", 5));
        ask(&client, "register", &known).await.error(400, "M_THREEPID_IN_USE");
        ask(&client, "account/3pid", &known).await.error(400, "M_THREEPID_IN_USE");
        ask(&client, "account/password", &unknown).await.error(400, "M_THREEPID_NOT_FOUND");
        ask(&client, "account/password", &known).await.ok();
    }

    async fn users_learn_that_they_can_change_their_addresses(db: TestDatabase) {
        let (server, _smtp) = start_both(&db).await;
        let alice = server.register("alice").await;
        let capabilities = alice.get(format!("{V3}/capabilities")).await.ok();
        assert_eq!(capabilities["capabilities"]["m.3pid_changes"], json!({ "enabled": true }));
        let body = json!({ "auth": email_stage("a"), "new_password": "new password" });
        alice.post(format!("{V3}/account/password")).json(&body).await.error(401, "M_UNAUTHORIZED");
    }
}
