use serde_json::{Value, json};
use testing::{Client, on_both_databases};

use crate::{
    V3, addresses, ask, by_email, confirmed_session, email_stage, log_in, register, session, start_both, token_request,
};

async fn change(client: &Client, auth: Value, new: &str, log_out: bool) -> testing::Answer {
    let body = json!({ "auth": auth, "new_password": new, "logout_devices": log_out });
    client.post(format!("{V3}/account/password")).json(&body).await
}

on_both_databases! {
    async fn a_forgotten_password_is_replaced_by_whoever_reads_the_mail(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let alice = register(&client, &smtp, "alice", "alice@example.com").await;
        let challenge = client.post(format!("{V3}/account/password")).json(&json!({ "new_password": "new password" })).await;
        assert_eq!(challenge.status, 401, "{challenge}");
        assert_eq!(challenge.json["flows"], json!([{ "stages": ["m.login.email.identity"] }]));

        let sid = session(&client, "account/password", "alice@example.com").await;
        change(&client, email_stage(&sid), "new password", true).await.error(401, "M_UNAUTHORIZED");
        let mail = smtp.mail_to("alice@example.com", 2).await;
        assert_eq!(mail.headers("Subject"), ["Reset your password for Matrix"]);
        crate::confirm(&client, &mail.link()).await;
        change(&client, email_stage(&sid), "new password", true).await.ok();

        let token = alice["access_token"].as_str().unwrap();
        client.get(format!("{V3}/account/whoami")).token(token).await.error(401, "M_UNKNOWN_TOKEN");
        log_in(&client, by_email("alice@example.com"), "wonderland").await.error(403, "M_FORBIDDEN");
        log_in(&client, by_email("alice@example.com"), "new password").await.ok();
        // The confirmation was good for one password.
        change(&client, email_stage(&sid), "third password", true).await.error(401, "M_UNAUTHORIZED");
    }

    async fn a_confirmation_is_good_for_what_its_mail_says_and_nothing_else(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let alice = register(&client, &smtp, "alice", "alice@example.com").await;
        let token = alice["access_token"].as_str().unwrap();
        let added = confirmed_session(&client, &smtp, "account/3pid", "alice@work.example", 1).await;
        change(&client, email_stage(&added), "new password", true).await.error(401, "M_UNAUTHORIZED");
        let fresh = confirmed_session(&client, &smtp, "register", "bob@example.com", 1).await;
        change(&client, email_stage(&fresh), "new password", true).await.error(401, "M_UNAUTHORIZED");
        let reset = confirmed_session(&client, &smtp, "account/password", "alice@example.com", 2).await;
        let body = json!({ "username": "eve", "password": "wonderland", "auth": email_stage(&reset) });
        client.post(format!("{V3}/register")).json(&body).await.error(401, "M_UNAUTHORIZED");
        let mut stage = email_stage(&reset);
        stage["threepid_creds"]["client_secret"] = "guess".into();
        change(&client, stage, "new password", true).await.error(401, "M_UNAUTHORIZED");
        assert_eq!(addresses(&client, token).await, ["alice@example.com"]);
        log_in(&client, by_email("alice@example.com"), "wonderland").await.ok();
    }

    async fn whoever_is_logged_in_can_use_their_own_address_and_nobody_elses(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let alice = register(&client, &smtp, "alice", "alice@example.com").await;
        register(&client, &smtp, "bob", "bob@example.com").await;
        let token = alice["access_token"].as_str().unwrap();
        let change = |sid: String, new: &str| {
            let body = json!({ "auth": email_stage(&sid), "new_password": new, "logout_devices": true });
            client.post(format!("{V3}/account/password")).token(token).json(&body)
        };
        let bobs = confirmed_session(&client, &smtp, "account/password", "bob@example.com", 2).await;
        change(bobs, "stolen").await.error(403, "M_FORBIDDEN");
        log_in(&client, by_email("bob@example.com"), "wonderland").await.ok();
        let own = confirmed_session(&client, &smtp, "account/password", "alice@example.com", 2).await;
        change(own, "new password").await.ok();
        client.get(format!("{V3}/account/whoami")).token(token).await.ok();
        log_in(&client, by_email("alice@example.com"), "new password").await.ok();
    }

    async fn an_address_without_an_account_gets_no_mail_and_the_same_answer(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        register(&client, &smtp, "alice", "alice@example.com").await;
        let unknown = ask(&client, "account/password", &token_request("nobody@example.com", 1)).await;
        let known = ask(&client, "account/password", &token_request("alice@example.com", 1)).await;
        assert_eq!(unknown.status, known.status);
        let keys = |answer: testing::Answer| answer.json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(unknown), keys(known));
        smtp.mail_to("alice@example.com", 2).await;
        assert!(smtp.mails().iter().all(|mail| mail.to != "nobody@example.com"));
    }
}
