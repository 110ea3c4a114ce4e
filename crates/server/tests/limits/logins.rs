use serde_json::json;
use testing::on_both_databases;

use crate::{V3, at_once, log_in, refused, server_with};

on_both_databases! {
    async fn logins_are_counted_by_address_whatever_becomes_of_them(db: TestDatabase) {
        let server = server_with(&db, &at_once("login.address", 3)).await;
        let client = server.client();
        server.register("alice").await;
        log_in(&client, "alice", "password of alice").await.ok();
        log_in(&client, "alice", "wrong").await.error(403, "M_FORBIDDEN");
        log_in(&client, "nobody", "wrong").await.error(403, "M_FORBIDDEN");
        refused(log_in(&client, "alice", "password of alice").await);
    }

    async fn successful_logins_are_counted_by_account(db: TestDatabase) {
        let server = server_with(&db, &at_once("login.account", 2)).await;
        let client = server.client();
        server.register("alice").await;
        server.register("bob").await;
        for _ in 0..4 {
            log_in(&client, "alice", "wrong").await.error(403, "M_FORBIDDEN");
        }
        log_in(&client, "alice", "password of alice").await.ok();
        log_in(&client, "@ALICE:localhost", "password of alice").await.ok();
        refused(log_in(&client, "alice", "password of alice").await);
        log_in(&client, "bob", "password of bob").await.ok();
    }

    async fn wrong_passwords_are_counted_by_account_and_right_ones_are_not(db: TestDatabase) {
        let server = server_with(&db, &at_once("login.failed_attempts", 2)).await;
        let client = server.client();
        server.register("alice").await;
        server.register("bob").await;
        for _ in 0..4 {
            log_in(&client, "alice", "password of alice").await.ok();
        }
        log_in(&client, "alice", "wrong").await.error(403, "M_FORBIDDEN");
        log_in(&client, "@Alice:localhost", "wrong").await.error(403, "M_FORBIDDEN");
        refused(log_in(&client, "alice", "wrong").await);
        // Not even the right one: whoever guesses does not learn that it is.
        refused(log_in(&client, "alice", "password of alice").await);
        log_in(&client, "bob", "password of bob").await.ok();
        for _ in 0..2 {
            log_in(&client, "nobody", "wrong").await.error(403, "M_FORBIDDEN");
        }
        refused(log_in(&client, "nobody", "wrong").await);
    }

    async fn many_guesses_at_once_are_no_more_than_one_after_the_other(db: TestDatabase) {
        let server = server_with(&db, &at_once("login.failed_attempts", 3)).await;
        let client = server.client();
        server.register("alice").await;
        let guesses = (0..20).map(|number| {
            let client = client.clone();
            async move { log_in(&client, "alice", &format!("guess {number}")).await.status.as_u16() }
        });
        let answers = futures::future::join_all(guesses).await;
        let count = |status: u16| answers.iter().filter(|answer| **answer == status).count();
        assert_eq!((count(403), count(429)), (3, 17));
    }

    async fn wrong_passwords_are_counted_where_a_user_is_asked_again(db: TestDatabase) {
        let server = server_with(&db, &at_once("login.failed_attempts", 2)).await;
        let alice = server.register("alice").await;
        let change = async |password: &str| {
            let auth = json!({ "type": "m.login.password", "password": password,
                               "identifier": { "type": "m.id.user", "user": "alice" } });
            let body = json!({ "new_password": "password of alice", "logout_devices": false, "auth": auth });
            alice.post(format!("{V3}/account/password")).json(&body).await
        };
        for _ in 0..3 {
            change("password of alice").await.ok();
        }
        for _ in 0..2 {
            assert_eq!(change("wrong").await.status, 401);
        }
        refused(change("wrong").await);
        refused(change("password of alice").await);
        // Another count than that of logins.
        log_in(&server.client(), "alice", "password of alice").await.ok();
    }
}
