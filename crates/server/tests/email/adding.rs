use serde_json::{Value, json};
use testing::{Client, on_both_databases};

use crate::{
    SECRET, V3, addresses, ask, by_email, confirmed_session, log_in, password_stage, register, session, start_both,
    token_request,
};

async fn add(client: &Client, token: &str, sid: &str, auth: Value) -> testing::Answer {
    let body = json!({ "sid": sid, "client_secret": SECRET, "auth": auth });
    client.post(format!("{V3}/account/3pid/add")).token(token).json(&body).await
}

on_both_databases! {
    async fn a_user_adds_an_address_and_removes_it(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let (client, alice) = (server.client(), server.register("alice").await);
        let auth = password_stage("alice", "password of alice");
        assert_eq!(alice.get(format!("{V3}/account/3pid")).await.ok(), json!({ "threepids": [] }));

        let sid = session(&client, "account/3pid", "alice@example.com").await;
        add(&client, &alice.token, &sid, auth.clone()).await.error(400, "M_THREEPID_AUTH_FAILED");
        let link = smtp.mail_to("alice@example.com", 1).await.link();
        assert_eq!(crate::confirm(&client, &link).await.status, 200);
        let challenge = add(&client, &alice.token, &sid, json!({})).await;
        assert_eq!((challenge.status.as_u16(), &challenge.json["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
        add(&client, &alice.token, &sid, password_stage("alice", "wrong")).await.error(401, "M_FORBIDDEN");
        add(&client, &alice.token, &sid, auth.clone()).await.ok();

        let listed = alice.get(format!("{V3}/account/3pid")).await.ok()["threepids"][0].clone();
        assert_eq!((&listed["medium"], &listed["address"]), (&json!("email"), &json!("alice@example.com")));
        assert!(listed["validated_at"].as_i64().unwrap() <= listed["added_at"].as_i64().unwrap());
        add(&client, &alice.token, &sid, auth).await.error(400, "M_THREEPID_AUTH_FAILED");

        let delete = json!({ "medium": "email", "address": "Alice@Example.com" });
        let deleted = alice.post(format!("{V3}/account/3pid/delete")).json(&delete).await.ok();
        assert_eq!(deleted, json!({ "id_server_unbind_result": "no-support" }));
        assert!(addresses(&client, &alice.token).await.is_empty());
        log_in(&client, by_email("alice@example.com"), "password of alice").await.error(403, "M_FORBIDDEN");
    }

    async fn an_address_belongs_to_one_account(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let bob = server.register("bob").await;
        let sid = confirmed_session(&client, &smtp, "account/3pid", "alice@example.com", 1).await;
        let mut other = token_request("alice@example.com", 1);
        other["client_secret"] = "of.alice".into();
        let alices = ask(&client, "register", &other).await.ok()["sid"].clone();
        crate::confirm(&client, &smtp.mail_to("alice@example.com", 2).await.link()).await;
        let creds = json!({ "sid": alices, "client_secret": "of.alice" });
        let auth = json!({ "type": "m.login.email.identity", "threepid_creds": creds });
        let body = json!({ "username": "alice", "password": "wonderland", "auth": auth });
        client.post(format!("{V3}/register")).json(&body).await.ok();
        let late = add(&client, &bob.token, &sid, password_stage("bob", "password of bob")).await;
        late.error(400, "M_THREEPID_IN_USE");
        assert!(addresses(&client, &bob.token).await.is_empty());
        // Deleting what is another's deletes nothing.
        let delete = json!({ "medium": "email", "address": "alice@example.com" });
        bob.post(format!("{V3}/account/3pid/delete")).json(&delete).await.ok();
        log_in(&client, by_email("alice@example.com"), "wonderland").await.ok();
    }

    async fn a_deactivated_account_has_no_address_and_another_can_have_it(db: TestDatabase) {
        let (server, smtp) = start_both(&db).await;
        let client = server.client();
        let alice = register(&client, &smtp, "alice", "alice@example.com").await;
        let body = json!({ "auth": password_stage("alice", "wonderland") });
        let token = alice["access_token"].as_str().unwrap();
        client.post(format!("{V3}/account/deactivate")).token(token).json(&body).await.ok();
        log_in(&client, by_email("alice@example.com"), "wonderland").await.error(403, "M_FORBIDDEN");
        let sid = session(&client, "register", "alice@example.com").await;
        crate::confirm(&client, &smtp.mail_to("alice@example.com", 2).await.link()).await;
        let body = json!({ "username": "alicia", "password": "wonderland", "auth": crate::email_stage(&sid) });
        client.post(format!("{V3}/register")).json(&body).await.ok();
    }

    async fn what_needs_an_identity_server_is_refused(db: TestDatabase) {
        let (server, _smtp) = start_both(&db).await;
        let alice = server.register("alice").await;
        let creds = json!({ "sid": "a", "client_secret": "b", "id_server": "id.example.org", "id_access_token": "c" });
        let bind = alice.post(format!("{V3}/account/3pid/bind")).json(&creds).await;
        bind.error(400, "M_SERVER_NOT_TRUSTED");
        let add = alice.post(format!("{V3}/account/3pid")).json(&json!({ "three_pid_creds": creds })).await;
        add.error(403, "M_THREEPID_AUTH_FAILED");
        let unbind = json!({ "medium": "email", "address": "a@b.c" });
        let answer = alice.post(format!("{V3}/account/3pid/unbind")).json(&unbind).await.ok();
        assert_eq!(answer, json!({ "id_server_unbind_result": "no-support" }));
        let client = server.client();
        for path in ["account/3pid", "account/3pid/add", "account/3pid/bind", "account/3pid/delete", "account/3pid/unbind"] {
            client.post(format!("{V3}/{path}")).json(&json!({})).await.error(401, "M_MISSING_TOKEN");
        }
        for what in ["register", "account/password", "account/3pid"] {
            let answer = client.post(format!("{V3}/{what}/msisdn/requestToken")).json(&json!({})).await;
            answer.error(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED");
        }
    }
}
