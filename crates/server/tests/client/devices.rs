use serde_json::json;
use testing::{TestServer, on_both_databases};

use crate::{V3, log_in, password_stage, whoami};

on_both_databases! {
    async fn devices_are_listed_read_and_renamed(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let device = json!({ "device_id": "PHONE", "initial_device_display_name": "Phone" });
        log_in(&server.client(), "alice", device).await.ok();
        let phone = format!("{V3}/devices/PHONE");
        assert_eq!(alice.get(&phone).await.ok()["display_name"], "Phone");
        alice.put(&phone).json(&json!({ "display_name": "Old phone" })).await.ok();
        alice.put(&phone).json(&json!({})).await.ok();
        let listed = alice.get(format!("{V3}/devices")).await.ok();
        assert_eq!(listed["devices"][1]["device_id"], "PHONE");
        assert_eq!(listed["devices"][1]["display_name"], "Old phone");
        alice.put(&phone).json(&json!({ "display_name": "x".repeat(101) })).await.error(400, "M_TOO_LARGE");
        alice.get(format!("{V3}/devices/NONE")).await.error(404, "M_NOT_FOUND");
        alice.put(format!("{V3}/devices/NONE")).json(&json!({ "display_name": "x" })).await.error(404, "M_NOT_FOUND");
    }

    async fn a_list_of_devices_to_be_deleted_is_not_kept_as_it_comes(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let path = format!("{V3}/delete_devices");
        let many: Vec<String> = (0..1001).map(|number| format!("D{number}")).collect();
        alice.post(&path).json(&json!({ "devices": many })).await.error(400, "M_INVALID_PARAM");
        let long: Vec<String> = (0..1000).map(|number| format!("{number}{}", "x".repeat(500))).collect();
        let challenge = alice.post(&path).json(&json!({ "devices": long })).await;
        assert_eq!(challenge.status, 401);
        alice.post(&path).json(&json!({})).await.error(400, "M_BAD_JSON");
        let sql = "SELECT CAST(MAX(LENGTH(operation) + LENGTH(parameters)) AS BIGINT) FROM uia_sessions";
        let longest = server.database().query_optional(sql, &[], |row| row.get::<i64>(0)).await.unwrap().unwrap();
        assert!(longest < 1000, "{longest}");
    }

    async fn every_key_of_a_device_is_told_from_its_first_moment(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let before = homeserver_core::Clock::now(&homeserver_core::SystemClock).0;
        let alice = server.register("alice").await;
        log_in(&server.client(), "alice", json!({ "device_id": "PHONE" })).await.ok();
        let listed = alice.get(format!("{V3}/devices")).await.ok();
        let read = alice.get(format!("{V3}/devices/PHONE")).await.ok();
        let devices = listed["devices"].as_array().unwrap();
        assert_eq!(devices.len(), 2);
        for device in devices.iter().chain([&read]) {
            assert_eq!(device["last_seen_ip"], "127.0.0.1", "{device}");
            assert!(device["last_seen_ts"].as_i64().unwrap() >= before, "{device}");
            assert_eq!(device["display_name"], "", "{device}");
        }
    }

    async fn a_device_that_logs_in_with_an_endless_name_has_the_beginning_of_it(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let further = json!({ "device_id": "PHONE", "initial_device_display_name": "ü".repeat(101) });
        log_in(&server.client(), "alice", further).await.ok();
        assert_eq!(alice.get(format!("{V3}/devices/PHONE")).await.ok()["display_name"], "ü".repeat(100));
        let body = json!({
            "auth": { "type": "m.login.dummy" }, "username": "bob", "password": "wonderland",
            "device_id": "BOBS", "initial_device_display_name": "x".repeat(5000),
        });
        let bob = server.client().post(format!("{V3}/register")).json(&body).await.ok();
        let device = server.client().get(format!("{V3}/devices/BOBS")).token(bob["access_token"].as_str().unwrap()).await;
        assert_eq!(device.ok()["display_name"], "x".repeat(100));
    }

    async fn a_device_is_deleted_with_its_session_by_whoever_knows_the_password(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        server.register("bob").await;
        let session = log_in(&server.client(), "alice", json!({ "device_id": "PHONE" })).await.ok();
        let phone = format!("{V3}/devices/PHONE");
        let challenge = alice.delete(&phone).await;
        assert_eq!(challenge.status, 401);
        assert!(challenge.json["params"].is_object());
        let attempt = |name: &str, password: &str| alice.delete(&phone).json(&json!({ "auth": password_stage(name, password) }));
        attempt("alice", "wrong").await.error(401, "M_FORBIDDEN");
        attempt("bob", "password of bob").await.error(403, "M_FORBIDDEN");
        whoami(&server.client(), &session["access_token"]).await.ok();
        attempt("alice", "password of alice").await.ok();
        whoami(&server.client(), &session["access_token"]).await.error(401, "M_UNKNOWN_TOKEN");
        alice.get(&phone).await.error(404, "M_NOT_FOUND");
    }

    async fn several_devices_are_deleted_at_once_and_only_those_that_were_authorised(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        for device_id in ["A", "B", "C"] {
            log_in(&server.client(), "alice", json!({ "device_id": device_id })).await.ok();
        }
        let path = format!("{V3}/delete_devices");
        let challenge = alice.post(&path).json(&json!({ "devices": ["A", "B"] })).await;
        assert_eq!(challenge.status, 401);
        let mut auth = password_stage("alice", "password of alice");
        auth["session"] = challenge.json["session"].clone();
        let other = json!({ "devices": ["A", "B", "C"], "auth": auth });
        alice.post(&path).json(&other).await.error(403, "M_FORBIDDEN");
        // What was said before need not be said again, and what was done is answered again.
        for _ in 0..2 {
            alice.post(&path).json(&json!({ "auth": auth })).await.ok();
            alice.post(&path).json(&json!({ "devices": ["A", "B"], "auth": auth })).await.ok();
        }
        alice.post(&path).json(&json!({ "devices": ["C"], "auth": { "session": auth["session"] } })).await.error(401, "M_UNKNOWN");
        let listed = alice.get(format!("{V3}/devices")).await.ok();
        let ids: Vec<_> = listed["devices"].as_array().unwrap().iter().map(|device| &device["device_id"]).collect();
        assert_eq!(ids, [&json!(alice.device_id), &json!("C")]);
    }
}
