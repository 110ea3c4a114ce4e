//! Guests: what they may, and when they have to go

use std::time::Duration;

use serde_json::{Value, json};
use testing::{Client, Request, TestServer, User, on_both_databases, path_segment};

use crate::{V3, log_in, whoami};

const LONG: Duration = Duration::from_secs(30);

struct Guest {
    id: String,
    token: String,
    client: Client,
}

impl Guest {
    async fn register(server: &TestServer, body: &Value) -> (Self, Value) {
        let client = server.client();
        let account = client.post(format!("{V3}/register?kind=guest")).json(body).await.ok();
        let text = |key: &str| account[key].as_str().unwrap().to_owned();
        (Self { id: text("user_id"), token: text("access_token"), client }, account)
    }

    async fn new(server: &TestServer) -> Self {
        Self::register(server, &json!({})).await.0
    }

    fn put(&self, path: impl AsRef<str>) -> Request {
        self.client.put(path).token(&self.token)
    }

    fn post(&self, path: impl AsRef<str>) -> Request {
        self.client.post(path).token(&self.token)
    }

    fn join(&self, room: &str) -> Request {
        self.post(format!("{V3}/join/{}", path_segment(room))).json(&json!({}))
    }
}

async fn start(db: &testing::TestDatabase) -> TestServer {
    TestServer::start_with(db, &[("registration", "allow_guests", true.into())]).await
}

async fn set(user: &User, room: &str, event_type: &str, content: Value) -> String {
    let path = format!("{V3}/rooms/{}/state/{event_type}", path_segment(room));
    user.put(path).json(&content).await.ok()["event_id"].as_str().unwrap().to_owned()
}

async fn membership(user: &User, room: &str, of: &str) -> Value {
    let path = format!("{V3}/rooms/{}/state/m.room.member/{}", path_segment(room), path_segment(of));
    user.get(path).await.ok()["membership"].clone()
}

/// Waits until the user has left the room.
async fn leaves(user: &User, room: &str, of: &str) {
    let gone = async {
        while membership(user, room, of).await != "leave" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, gone).await.is_ok(), "{of} is still in {room}");
}

fn room_for_guests() -> Value {
    let access = json!({ "type": "m.room.guest_access", "content": { "guest_access": "can_join" } });
    json!({ "preset": "public_chat", "room_version": "11", "initial_state": [access] })
}

on_both_databases! {
    async fn guests_leave_a_room_that_admits_them_no_more_however_that_is_said(db: TestDatabase) {
        let server = start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for how in ["forbidden", "other word", "no word", "redaction"] {
            let room = alice.create_room(&room_for_guests()).await;
            let other = alice.create_room(&room_for_guests()).await;
            bob.join(&room).await;
            let (one, two) = (Guest::new(&server).await, Guest::new(&server).await);
            for guest in [&one, &two] {
                guest.join(&room).await.ok();
                guest.join(&other).await.ok();
            }
            // Nothing changes: guests who are there stay.
            let open = set(&alice, &room, "m.room.guest_access", json!({ "guest_access": "can_join", "x": 1 })).await;
            match how {
                "forbidden" => drop(set(&alice, &room, "m.room.guest_access", json!({ "guest_access": "forbidden" })).await),
                "other word" => drop(set(&alice, &room, "m.room.guest_access", json!({ "guest_access": "CAN_JOIN" })).await),
                "no word" => drop(set(&alice, &room, "m.room.guest_access", json!({ "guest_access": 1 })).await),
                _ => {
                    let path = format!("{V3}/rooms/{}/redact/{}/1", path_segment(&room), path_segment(&open));
                    alice.put(path).json(&json!({})).await.ok();
                }
            }
            for guest in [&one, &two] {
                leaves(&alice, &room, &guest.id).await;
                guest.join(&room).await.error(403, "M_GUEST_ACCESS_FORBIDDEN");
                assert_eq!(membership(&alice, &other, &guest.id).await, "join", "{how}");
            }
            for user in [&alice, &bob] {
                assert_eq!(membership(&alice, &room, &user.id).await, "join", "{how}");
            }
        }
    }

    async fn who_was_a_guest_and_is_none_any_more_may_stay(db: TestDatabase) {
        let server = start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&room_for_guests()).await;
        let (former, still) = (Guest::new(&server).await, Guest::new(&server).await);
        for guest in [&former, &still] {
            guest.join(&room).await.ok();
        }
        let name = former.id.trim_start_matches('@').split(':').next().unwrap();
        upgrade(&server.client(), name, &former.token).await.ok();
        set(&alice, &room, "m.room.guest_access", json!({ "guest_access": "forbidden" })).await;
        leaves(&alice, &room, &still.id).await;
        assert_eq!(membership(&alice, &room, &former.id).await, "join");
    }

    async fn the_presets_say_whether_guests_may_join(db: TestDatabase) {
        let server = start(&db).await;
        let alice = server.register("alice").await;
        for (preset, access) in
            [("public_chat", "forbidden"), ("private_chat", "can_join"), ("trusted_private_chat", "can_join")]
        {
            let room = alice.create_room(&json!({ "preset": preset })).await;
            let path = format!("{V3}/rooms/{}/state/m.room.guest_access", path_segment(&room));
            assert_eq!(alice.get(path).await.ok(), json!({ "guest_access": access }), "{preset}");
        }
    }

    async fn of_the_registration_of_a_guest_only_the_name_of_the_device_is_read(db: TestDatabase) {
        let server = start(&db).await;
        for ignored in [
            json!({ "device_id": "MINE", "refresh_token": true, "username": "me", "password": "wonderland", "inhibit_login": true }),
            json!({ "device_id": 5, "refresh_token": "yes", "username": [], "auth": 7, "guest_access_token": {} }),
            json!({ "device_id": "x".repeat(300) }),
        ] {
            let mut body = ignored;
            body["initial_device_display_name"] = "Browser".into();
            let (guest, account) = Guest::register(&server, &body).await;
            assert!(account.get("refresh_token").is_none() && account.get("expires_in_ms").is_none(), "{account}");
            assert!(account["device_id"] != body["device_id"] && guest.id != "@me:localhost", "{account}");
            let devices = guest.client.get(format!("{V3}/devices")).token(&guest.token).await.ok();
            assert_eq!(devices["devices"][0]["display_name"], "Browser");
        }
    }

    async fn guests_change_their_display_name_and_nothing_else_of_their_profile(db: TestDatabase) {
        let server = start(&db).await;
        let alice = server.register("alice").await;
        let guest = Guest::new(&server).await;
        let path = |id: &str, field: &str| format!("{V3}/profile/{}/{field}", path_segment(id));
        let own = |field: &str| path(&guest.id, field);
        guest.put(own("displayname")).json(&json!({ "displayname": "Visitor" })).await.ok();
        assert_eq!(alice.get(own("displayname")).await.ok(), json!({ "displayname": "Visitor" }));
        for field in ["avatar_url", "m.tz", "org.a"] {
            let change = guest.put(own(field)).json(&json!({ field: "mxc://localhost/a" })).await;
            change.error(403, "M_GUEST_ACCESS_FORBIDDEN");
            let removal = guest.client.delete(own(field)).token(&guest.token).await;
            removal.error(403, "M_GUEST_ACCESS_FORBIDDEN");
        }
        let of_others = guest.put(path(&alice.id, "displayname")).json(&json!({ "displayname": "x" })).await;
        of_others.error(403, "M_FORBIDDEN");
        guest.client.delete(own("displayname")).token(&guest.token).await.ok();
        alice.get(own("displayname")).await.error(404, "M_NOT_FOUND");
    }

    async fn a_guest_becomes_a_user_of_the_same_name(db: TestDatabase) {
        let server = start(&db).await;
        let (alice, client) = (server.register("alice").await, server.client());
        let (guest, other) = (Guest::new(&server).await, Guest::new(&server).await);
        let name = guest.id.trim_start_matches('@').split(':').next().unwrap();
        let room = alice.create_room(&room_for_guests()).await;
        guest.join(&room).await.ok();
        let password = json!({ "password": "secret" });

        upgrade(&client, "somebody", &guest.token).await.error(403, "M_FORBIDDEN");
        upgrade(&client, name, &other.token).await.error(403, "M_FORBIDDEN");
        upgrade(&client, name, &alice.token).await.error(403, "M_FORBIDDEN");
        upgrade(&client, name, "nonsense").await.error(401, "M_UNKNOWN_TOKEN");
        upgrade(&client, "alice", &alice.token).await.error(403, "M_FORBIDDEN");
        let without_name = json!({ "password": "secret", "guest_access_token": guest.token });
        client.post(format!("{V3}/register")).json(&without_name).await.error(400, "M_MISSING_PARAM");
        let without_token = json!({ "username": name, "password": "secret" });
        client.post(format!("{V3}/register")).json(&without_token).await.error(400, "M_USER_IN_USE");
        // A new account is not had without the proof that others need.
        let without_proof = json!({ "username": name, "password": "secret", "guest_access_token": guest.token });
        assert_eq!(client.post(format!("{V3}/register")).json(&without_proof).await.status, 401);
        assert_eq!(whoami(&client, &guest.token.clone().into()).await.ok()["is_guest"], true);

        let account = upgrade(&client, name, &guest.token).await.ok();
        assert_eq!(account["user_id"], guest.id);
        for token in [account["access_token"].clone(), guest.token.clone().into()] {
            let who = whoami(&client, &token).await.ok();
            assert_eq!((&who["user_id"], &who["is_guest"]), (&json!(guest.id), &json!(false)));
        }
        log_in(&client, name, password).await.ok();
        guest.post(format!("{V3}/createRoom")).json(&json!({})).await.ok();
        assert_eq!(membership(&alice, &room, &guest.id).await, "join");
        // It is no guest's any more.
        upgrade(&client, name, &guest.token).await.error(403, "M_FORBIDDEN");
    }
}

async fn upgrade(client: &Client, name: &str, token: &str) -> testing::Answer {
    let auth = json!({ "type": "m.login.dummy" });
    let body = json!({ "username": name, "password": "secret", "guest_access_token": token, "auth": auth });
    client.post(format!("{V3}/register")).json(&body).await
}
