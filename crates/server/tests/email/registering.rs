use serde_json::json;
use testing::{SmtpServer, SmtpTls, on_both_databases};

use crate::{
    V3, addresses, ask, confirm, confirmed_session, email_stage, register, session, start, start_both, token_request,
};

on_both_databases! {
    async fn a_user_registers_with_an_address_that_they_confirmed(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let path = format!("{V3}/register");
        let challenge = client.post(&path).await;
        assert_eq!(challenge.status, 401);
        assert_eq!(challenge.json["flows"][0], json!({ "stages": ["m.login.dummy"] }));
        assert_eq!(challenge.json["flows"][1], json!({ "stages": ["m.login.email.identity"] }));

        let sid = session(&client, "register", "Alice@Example.com").await;
        let mail = smtp.mail_to("alice@example.com", 1).await;
        assert_eq!(mail.from, "matrix@example.org");
        assert_eq!(mail.headers("Auto-Submitted"), ["auto-generated"]);
        assert!(mail.headers("Message-ID")[0].ends_with("@localhost>"), "{}", mail.text);
        assert_eq!(mail.headers("Subject"), ["Confirm your e-mail address for Matrix"]);
        assert!(mail.text.contains("https://matrix.example.org/_synapse/client/email/submit_token?sid="));

        let mut auth = email_stage(&sid);
        auth["session"] = challenge.json["session"].clone();
        let body = json!({ "username": "alice", "password": "wonderland", "auth": auth });
        let waiting = client.post(&path).json(&body).await.error(401, "M_UNAUTHORIZED");
        assert_eq!((&waiting["session"], &waiting["completed"]), (&challenge.json["session"], &json!([])));
        assert_eq!(confirm(&client, &mail.link()).await.status, 200);
        let alice = client.post(&path).json(&body).await.ok();
        assert_eq!(alice["user_id"], "@alice:localhost");
        assert_eq!(addresses(&client, alice["access_token"].as_str().unwrap()).await, ["alice@example.com"]);
    }

    async fn a_confirmation_makes_one_account(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let sid = confirmed_session(&client, &smtp, "register", "alice@example.com", 1).await;
        let attempts = ["alice", "bob", "carol"].map(|name| {
            let (client, auth) = (client.clone(), email_stage(&sid));
            let body = json!({ "username": name, "password": "wonderland", "auth": auth });
            tokio::spawn(async move { client.post(format!("{V3}/register")).json(&body).await.status.as_u16() })
        });
        let mut statuses = Vec::new();
        for attempt in attempts {
            statuses.push(attempt.await.unwrap());
        }
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    }

    async fn an_address_that_somebody_took_meanwhile_makes_no_second_account(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let sid = confirmed_session(&client, &smtp, "register", "alice@example.com", 1).await;
        let mut other = token_request("alice@example.com", 1);
        other["client_secret"] = "another".into();
        let other_sid = ask(&client, "register", &other).await.ok()["sid"].clone();
        confirm(&client, &smtp.mail_to("alice@example.com", 2).await.link()).await;
        let mut auth = email_stage(other_sid.as_str().unwrap());
        auth["threepid_creds"]["client_secret"] = "another".into();
        let account = |name: &str, auth| json!({ "username": name, "password": "wonderland", "auth": auth });
        client.post(format!("{V3}/register")).json(&account("first", auth)).await.ok();
        let late = client.post(format!("{V3}/register")).json(&account("second", email_stage(&sid))).await;
        late.error(400, "M_THREEPID_IN_USE");
        client.get(format!("{V3}/register/available?username=second")).await.ok();
    }

    async fn an_address_can_be_required(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::StartTls).await;
        let server = start(&db, &smtp, &[("registration", "require_email", true.into())]).await;
        let client = server.client();
        let body = json!({ "username": "alice", "password": "wonderland", "auth": { "type": "m.login.dummy" } });
        let refused = client.post(format!("{V3}/register")).json(&body).await.error(401, "M_UNRECOGNIZED");
        assert_eq!(refused["flows"][0]["stages"], json!(["m.login.email.identity"]));
        register(&client, &smtp, "alice", "alice@example.com").await;
    }

    async fn with_a_token_the_address_is_a_second_stage(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::StartTls).await;
        let server = start(&db, &smtp, &[("registration", "require_token", true.into())]).await;
        let challenge = server.client().post(format!("{V3}/register")).await;
        let flows = json!([
            { "stages": ["m.login.registration_token", "m.login.dummy"] },
            { "stages": ["m.login.registration_token", "m.login.email.identity"] },
        ]);
        assert_eq!(challenge.json["flows"], flows);
    }

    async fn closed_registration_sends_no_mail(db: TestDatabase) {
        let smtp = SmtpServer::start(SmtpTls::StartTls).await;
        let server = start(&db, &smtp, &[("registration", "enabled", false.into())]).await;
        ask(&server.client(), "register", &token_request("alice@example.com", 1)).await.error(403, "M_FORBIDDEN");
    }

    async fn whoever_has_an_account_is_told_by_mail_and_nobody_else_is(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        register(&client, &smtp, "alice", "alice@example.com").await;
        let sid = session(&client, "register", "ALICE@example.com").await;
        let mail = smtp.mail_to("alice@example.com", 2).await;
        assert!(mail.text.contains("There is already one with this address"), "{}", mail.text);
        assert!(!mail.text.contains("submit_token"), "{}", mail.text);
        let body = json!({ "username": "eve", "password": "wonderland", "auth": email_stage(&sid) });
        client.post(format!("{V3}/register")).json(&body).await.error(401, "M_UNAUTHORIZED");
    }
}
