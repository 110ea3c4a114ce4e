use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases};

use crate::{V3, at_once, create_room, log_in, public_room, refused, send, server_with};

fn path_of(user_id: &str) -> String {
    format!("/_synapse/admin/v1/users/{user_id}/override_ratelimit")
}

/// The access token of an administrator.
async fn administrator(server: &TestServer) -> String {
    let token = server.first_account_token().await.unwrap();
    let auth = json!({ "type": "m.login.registration_token", "token": token });
    let wish = json!({ "username": "root", "password": "password of root", "auth": auth });
    let account = server.client().post(format!("{V3}/register")).json(&wish).await.ok();
    account["access_token"].as_str().unwrap().to_owned()
}

async fn set(server: &TestServer, token: &str, user_id: &str, entry: Value) -> Answer {
    server.client().post(path_of(user_id)).token(token).json(&entry).await
}

async fn send_many(user: &User, room: &str, prefix: &str, count: usize) {
    for number in 0..count {
        send(user, room, &format!("{prefix}{number}")).await.ok();
    }
}

on_both_databases! {
    async fn an_administrator_lifts_the_limits_of_a_user(db: TestDatabase) {
        let mut limits = at_once("message", 2);
        limits.insert("room_creation".to_owned(), limits["message"].clone());
        let server = server_with(&db, &limits).await;
        let root = administrator(&server).await;
        let alice = server.register("alice").await;
        let client = server.client();
        let read = async || client.get(path_of(&alice.id)).token(&root).await.ok();

        let room = public_room(&alice).await;
        send(&alice, &room, "1").await.ok();
        refused(send(&alice, &room, "2").await);
        assert_eq!(read().await, json!({}));

        let lifted = json!({ "messages_per_second": 0, "burst_count": 0 });
        assert_eq!(set(&server, &root, &alice.id, json!({})).await.ok(), lifted);
        assert_eq!(read().await, lifted);
        send_many(&alice, &room, "lifted", 10).await;
        for _ in 0..3 {
            create_room(&alice, json!({})).await.ok();
        }

        client.delete(path_of(&alice.id)).token(&root).await.ok();
        assert_eq!(read().await, json!({}));
        refused(send(&alice, &room, "3").await);
        assert_eq!(client.delete(path_of(&alice.id)).token(&root).await.ok(), json!({}));
    }

    async fn a_user_can_have_a_rate_of_messages_and_otherwise_the_limits_of_everybody(db: TestDatabase) {
        let mut limits = at_once("message", 1);
        limits.insert("room_creation".to_owned(), limits["message"].clone());
        let server = server_with(&db, &limits).await;
        let root = administrator(&server).await;
        let alice = server.register("alice").await;
        let room = public_room(&alice).await;
        let entry = json!({ "messages_per_second": 1, "burst_count": 500 });
        assert_eq!(set(&server, &root, &alice.id, entry.clone()).await.ok(), entry);
        send_many(&alice, &room, "a", 20).await;
        refused(create_room(&alice, json!({})).await);
        let bob = server.register("bob").await;
        public_room(&bob).await;
        refused(bob.put(format!("{V3}/profile/{}/displayname", bob.id)).json(&json!({ "displayname": "B" })).await);
    }

    async fn what_an_administrator_changed_outlives_the_server(db: TestDatabase) {
        let limits = at_once("message", 2);
        let server = server_with(&db, &limits).await;
        let root = administrator(&server).await;
        let alice = server.register("alice").await;
        set(&server, &root, &alice.id, json!({ "messages_per_second": 0 })).await.ok();
        let room = public_room(&alice).await;
        server.shutdown().await;

        let server = server_with(&db, &limits).await;
        let token = log_in(&server.client(), "root", "password of root").await.ok()["access_token"].clone();
        let read = server.client().get(path_of(&alice.id)).token(token.as_str().unwrap()).await.ok();
        assert_eq!(read, json!({ "messages_per_second": 0, "burst_count": 0 }));
        send_many(&alice.at(&server.client()), &room, "a", 5).await;
    }

    async fn administrators_are_limited_like_everybody(db: TestDatabase) {
        let server = server_with(&db, &at_once("message", 1)).await;
        let root = administrator(&server).await;
        let client = server.client();
        let create = async || client.post(format!("{V3}/createRoom")).token(&root).json(&json!({})).await;
        create().await.ok();
        refused(create().await);
    }

    async fn only_administrators_change_limits_and_only_of_users_here(db: TestDatabase) {
        let server = server_with(&db, &at_once("message", 100)).await;
        let root = administrator(&server).await;
        let alice = server.register("alice").await;
        let client = server.client();
        let path = path_of(&alice.id);
        for request in [client.get(&path), client.post(&path), client.delete(&path)] {
            request.await.error(401, "M_MISSING_TOKEN");
        }
        for request in [alice.get(&path), alice.post(&path), alice.delete(&path)] {
            request.await.error(403, "M_FORBIDDEN");
        }
        for (user_id, status, errcode) in [
            ("@nobody:localhost", 404, "M_NOT_FOUND"),
            ("@alice:elsewhere.example", 400, "M_UNKNOWN"),
            ("nonsense", 400, "M_INVALID_PARAM"),
        ] {
            let path = path_of(user_id);
            for request in [client.get(&path), client.post(&path), client.delete(&path)] {
                request.token(&root).await.error(status, errcode);
            }
        }
        for (entry, errcode) in [
            (json!({ "messages_per_second": -1 }), "M_INVALID_PARAM"),
            (json!({ "messages_per_second": 1, "burst_count": -5 }), "M_INVALID_PARAM"),
            (json!({ "messages_per_second": "many" }), "M_BAD_JSON"),
            (json!({ "messages_per_second": 0.5 }), "M_BAD_JSON"),
        ] {
            set(&server, &root, &alice.id, entry).await.error(400, errcode);
        }
        assert_eq!(client.get(&path).token(&root).await.ok(), json!({}));
    }
}
