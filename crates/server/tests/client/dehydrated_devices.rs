use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases};

use crate::V3;

const DEVICE: &str = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device";

fn dehydrated(user: &User, device_id: &str) -> Value {
    json!({
        "device_id": device_id,
        "device_data": { "algorithm": "m.dehydration.v2", "device_pickle": "secret", "n": 1e3 },
        "initial_device_display_name": "Kept",
        "device_keys": {
            "user_id": user.id,
            "device_id": device_id,
            "dehydrated": true,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": { format!("ed25519:{device_id}"): "key", format!("curve25519:{device_id}"): "key" },
            "signatures": {},
        },
        "one_time_keys": { "signed_curve25519:A": { "key": "one", "signatures": {} } },
        "fallback_keys": { "signed_curve25519:F": { "key": "last", "fallback": true, "signatures": {} } },
    })
}

async fn claim(claimant: &User, of: &User, device_id: &str) -> Value {
    let wanted = json!({ "one_time_keys": { &of.id: { device_id: "signed_curve25519" } } });
    let answer = claimant.post(format!("{V3}/keys/claim")).json(&wanted).await.ok();
    answer["one_time_keys"][&of.id][device_id].clone()
}

async fn devices(of: &User) -> Vec<String> {
    let listed = of.get(format!("{V3}/devices")).await.ok();
    let devices = listed["devices"].as_array().unwrap().iter();
    devices.map(|device| device["device_id"].as_str().unwrap().to_owned()).collect()
}

async fn send(from: &User, to: &User, device_id: &str, number: usize) {
    let messages = json!({ "messages": { &to.id: { device_id: { "number": number } } } });
    from.put(format!("{V3}/sendToDevice/m.test/t{number}")).json(&messages).await.ok();
}

on_both_databases! {
    async fn a_device_is_kept_for_a_client_to_come_which_reads_its_messages_as_often_as_it_must(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        alice.get(DEVICE).await.error(404, "M_NOT_FOUND");
        alice.delete(DEVICE).await.error(404, "M_NOT_FOUND");
        assert_eq!(alice.put(DEVICE).json(&dehydrated(&alice, "ab/+1")).await.ok(), json!({ "device_id": "ab/+1" }));
        let kept = alice.get(DEVICE).await.ok();
        assert_eq!(kept["device_id"], "ab/+1");
        assert_eq!(kept["device_data"], dehydrated(&alice, "x")["device_data"]);

        let wanted = json!({ "device_keys": { &alice.id: [] } });
        let shown = bob.post(format!("{V3}/keys/query")).json(&wanted).await.ok();
        let shown = &shown["device_keys"][&alice.id]["ab/+1"];
        assert_eq!((&shown["dehydrated"], &shown["unsigned"]["device_display_name"]), (&json!(true), &json!("Kept")));
        for key in ["signed_curve25519:A", "signed_curve25519:F", "signed_curve25519:F"] {
            assert!(claim(&bob, &alice, "ab/+1").await[key].is_object(), "{key}");
        }

        for number in 0..101 {
            send(&bob, &alice, "ab/+1", number).await;
        }
        let events = format!("{DEVICE}/ab%2F%2B1/events");
        for _ in 0..2 {
            let (mut read, mut from) = (Vec::new(), json!({}));
            loop {
                let answer = alice.post(&events).json(&from).await.ok();
                let batch = answer["events"].as_array().unwrap();
                if batch.is_empty() {
                    break;
                }
                read.extend(batch.iter().map(|event| event["content"]["number"].as_u64().unwrap()));
                from = json!({ "next_batch": answer["next_batch"] });
            }
            assert_eq!(read, (0..101).collect::<Vec<_>>());
        }
        assert_eq!(alice.get(&events).await.ok()["events"][0]["sender"], *bob.id);
        alice.post(&events).json(&json!({ "next_batch": "x" })).await.error(400, "M_INVALID_PARAM");
        alice.post(format!("{DEVICE}/other/events")).json(&json!({})).await.error(403, "M_FORBIDDEN");
        bob.post(&events).json(&json!({})).await.error(403, "M_FORBIDDEN");

        // The next one takes its place, and is deleted with all that it has.
        alice.put(DEVICE).json(&dehydrated(&alice, "next")).await.ok();
        assert_eq!(devices(&alice).await, [alice.device_id.as_str(), "next"]);
        alice.post(&events).json(&json!({})).await.error(403, "M_FORBIDDEN");
        let shown = bob.post(format!("{V3}/keys/query")).json(&wanted).await.ok();
        assert_eq!(shown["device_keys"][&alice.id].as_object().unwrap().keys().collect::<Vec<_>>(), ["next"]);
        assert_eq!(alice.delete(DEVICE).await.ok(), json!({ "device_id": "next" }));
        assert_eq!(devices(&alice).await, [alice.device_id.as_str()]);
        assert_eq!(claim(&bob, &alice, "next").await, Value::Null);
    }

    async fn what_is_no_device_with_keys_is_not_kept(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let with = |key: &str, value: Value| {
            let mut body = dehydrated(&alice, "kept");
            body[key] = value;
            body
        };
        for (body, errcode) in [
            (json!({}), "M_BAD_JSON"),
            (with("device_id", json!("")), "M_BAD_JSON"),
            (with("device_id", json!("other")), "M_INVALID_PARAM"),
            (with("device_id", json!("x".repeat(256))), "M_BAD_JSON"),
            (with("device_data", json!([])), "M_BAD_JSON"),
            (with("device_data", json!({ "algorithm": 5 })), "M_BAD_JSON"),
            (with("device_data", json!({ "algorithm": "x", "more": "x".repeat(300_000) })), "M_BAD_JSON"),
            (with("device_keys", json!({})), "M_BAD_JSON"),
            (with("device_keys", json!(5)), "M_BAD_JSON"),
            (with("one_time_keys", json!({ "signed_curve25519": {} })), "M_BAD_JSON"),
            (with("fallback_keys", json!({ "rot13:A": "x" })), "M_INVALID_PARAM"),
            // A device that somebody is logged in with.
            (dehydrated(&alice, &alice.device_id), "M_INVALID_PARAM"),
        ] {
            alice.put(DEVICE).json(&body).await.error(400, errcode);
        }
        alice.get(DEVICE).await.error(404, "M_NOT_FOUND");
        assert_eq!(devices(&alice).await.len(), 1);
    }
}
