use std::collections::HashSet;

use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases};

use crate::V3;

/// Identity keys that nobody has signed.
pub(crate) fn device_keys(user: &User, key: &str) -> Value {
    json!({
        "user_id": user.id,
        "device_id": user.device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": { format!("ed25519:{}", user.device_id): key, format!("curve25519:{}", user.device_id): key },
        "signatures": {},
    })
}

pub(crate) async fn upload(user: &User, body: Value) -> Answer {
    user.post(format!("{V3}/keys/upload")).json(&body).await
}

fn signed_key(key: &str) -> Value {
    json!({ "key": key, "signatures": {} })
}

/// One-time keys with these numbers.
fn one_time_keys(numbers: impl IntoIterator<Item = usize>) -> Value {
    let keys =
        numbers.into_iter().map(|number| (format!("signed_curve25519:K{number}"), signed_key(&format!("{number}"))));
    Value::Object(keys.collect())
}

async fn claim(claimant: &User, of: &User) -> Value {
    let wanted = json!({ &of.id: { &of.device_id: "signed_curve25519" } });
    let answer = claimant.post(format!("{V3}/keys/claim")).json(&json!({ "one_time_keys": wanted })).await.ok();
    assert_eq!(answer["failures"], json!({}));
    answer["one_time_keys"][&of.id][&of.device_id].clone()
}

async fn query(user: &User, of: &str) -> Value {
    let wanted = json!({ "device_keys": { of: [] }, "timeout": 10_000 });
    user.post(format!("{V3}/keys/query")).json(&wanted).await.ok()["device_keys"][of].clone()
}

fn counts(answer: &Value) -> (&Value, &Value) {
    (&answer["device_one_time_keys_count"]["signed_curve25519"], &answer["device_unused_fallback_key_types"])
}

on_both_databases! {
    async fn device_keys_are_shown_as_they_were_uploaded_with_the_name_of_the_device(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        assert_eq!(query(&bob, &alice.id).await, json!({}));
        let mut keys = device_keys(&alice, "key");
        keys["extra"] = json!({ "b": 1, "a": [null, true] });
        upload(&alice, json!({ "device_keys": keys })).await.ok();
        let name = json!({ "display_name": "Phone" });
        alice.put(format!("{V3}/devices/{}", alice.device_id)).json(&name).await.ok();
        keys["unsigned"] = json!({ "device_display_name": "Phone" });
        assert_eq!(query(&bob, &alice.id).await, json!({ &alice.device_id: keys }));

        let tablet = User::log_in(&server.client(), "alice").await;
        upload(&tablet, json!({ "device_keys": device_keys(&tablet, "other") })).await.ok();
        assert_eq!(query(&bob, &alice.id).await.as_object().unwrap().len(), 2);
        let wanted = json!({ "device_keys": { &alice.id: [tablet.device_id, "NONE"], "@nobody:localhost": [], "@a:elsewhere": [] } });
        let some = bob.post(format!("{V3}/keys/query")).json(&wanted).await.ok();
        assert_eq!(some["device_keys"][&alice.id].as_object().unwrap().keys().collect::<Vec<_>>(), [&tablet.device_id]);
        assert_eq!(some["failures"].as_object().unwrap().keys().collect::<Vec<_>>(), ["elsewhere"]);

        tablet.post(format!("{V3}/logout")).await.ok();
        assert_eq!(query(&bob, &alice.id).await.as_object().unwrap().len(), 1);
        server.shutdown().await;
        let server = TestServer::start(&db).await;
        assert_eq!(query(&bob.at(&server.client()), &alice.id).await[&alice.device_id], keys);
    }

    async fn one_time_keys_are_given_out_oldest_first_and_then_the_fallback_key(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let fresh = alice.sync(None, 0).await;
        assert_eq!(counts(&fresh), (&json!(0), &json!([])));
        for number in [3, 1, 2] {
            let counted = upload(&alice, json!({ "one_time_keys": one_time_keys([number]) })).await.ok();
            assert!(counted["one_time_key_counts"]["signed_curve25519"].is_i64(), "{counted}");
        }
        let fallback = json!({ "key": "F", "fallback": true, "signatures": {} });
        let fallback = json!({ "signed_curve25519:F": fallback });
        upload(&alice, json!({ "fallback_keys": fallback })).await.ok();
        assert_eq!(counts(&alice.sync(None, 0).await), (&json!(3), &json!(["signed_curve25519"])));
        for (left, number) in [(2, 3), (1, 1), (0, 2)] {
            assert_eq!(claim(&bob, &alice).await, one_time_keys([number]));
            let now = alice.sync(fresh["next_batch"].as_str(), 0).await;
            assert_eq!(counts(&now), (&json!(left), &json!(["signed_curve25519"])));
        }
        for _ in 0..2 {
            assert_eq!(claim(&bob, &alice).await, fallback);
            assert_eq!(counts(&alice.sync(None, 0).await), (&json!(0), &json!([])));
        }
        // The same one again is as used as it was; another one is not.
        upload(&alice, json!({ "fallback_keys": fallback })).await.ok();
        assert_eq!(counts(&alice.sync(None, 0).await).1, &json!([]));
        let other = json!({ "signed_curve25519:G": { "key": "G", "fallback": true, "signatures": {} } });
        upload(&alice, json!({ "fallback_keys": other })).await.ok();
        assert_eq!(counts(&alice.sync(None, 0).await).1, &json!(["signed_curve25519"]));
    }

    async fn the_same_key_again_is_no_other_key(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        upload(&alice, json!({ "one_time_keys": one_time_keys(0..3) })).await.ok();
        let overlapping = upload(&alice, json!({ "one_time_keys": one_time_keys(1..4) })).await.ok();
        assert_eq!(overlapping["one_time_key_counts"], json!({ "signed_curve25519": 4 }));
        let mut other = one_time_keys([3, 5]);
        other["signed_curve25519:K3"] = signed_key("another");
        let refused = json!({ "one_time_keys": other, "device_keys": device_keys(&alice, "key") });
        upload(&alice, refused).await.error(400, "M_UNKNOWN");
        assert_eq!(upload(&alice, json!({})).await.ok()["one_time_key_counts"], json!({ "signed_curve25519": 4 }));
        assert_eq!(query(&alice, &alice.id).await, json!({}), "nothing of a refused upload is stored");
        upload(&alice, json!({ "one_time_keys": one_time_keys(10..1_010) })).await.error(413, "M_TOO_LARGE");
    }

    async fn what_are_no_keys_of_the_device_is_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        upload(&alice, json!({ "device_keys": device_keys(&bob, "key") })).await.error(400, "M_INVALID_PARAM");
        let mut signed = device_keys(&alice, "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        signed["signatures"] = json!({ &alice.id: { format!("ed25519:{}", alice.device_id): "x".repeat(86) } });
        upload(&alice, json!({ "device_keys": signed })).await.error(400, "M_INVALID_PARAM");
        for missing in ["algorithms", "keys", "signatures", "user_id", "device_id"] {
            let mut keys = device_keys(&alice, "key");
            keys.as_object_mut().unwrap().remove(missing);
            upload(&alice, json!({ "device_keys": keys })).await.error(400, "M_BAD_JSON");
        }
        for (name, key) in [("curve25519", json!("x")), ("signed_curve25519:A", json!("x")), ("curve25519:A", json!(5))] {
            upload(&alice, json!({ "one_time_keys": { name: key } })).await.error(400, "M_BAD_JSON");
        }
        upload(&alice, json!({ "one_time_keys": { "unknown:A": "x" } })).await.error(400, "M_INVALID_PARAM");
        let two = json!({ "curve25519:A": "x", "curve25519:B": "y" });
        upload(&alice, json!({ "fallback_keys": two })).await.error(400, "M_INVALID_PARAM");
        let fraction = json!({ "signed_curve25519:A": { "key": "x", "signatures": {}, "n": 1.5 } });
        upload(&alice, json!({ "one_time_keys": fraction })).await.error(400, "M_BAD_JSON");
        assert_eq!(query(&alice, &alice.id).await, json!({}));
        assert_eq!(upload(&alice, json!({})).await.ok()["one_time_key_counts"], json!({}));
    }

    async fn no_key_is_given_out_twice_and_none_is_lost(db: TestDatabase) {
        const KEYS: usize = 10;
        let server = TestServer::start(&db).await;
        let mut owners = Vec::new();
        for number in 0..3 {
            let owner = server.register(&format!("owner{number}")).await;
            let fallback = json!({ "signed_curve25519:F": { "key": "F", "fallback": true, "signatures": {} } });
            let keys = json!({ "one_time_keys": one_time_keys(0..KEYS), "fallback_keys": fallback });
            upload(&owner, keys).await.ok();
            owners.push(owner);
        }
        let mut claimants = Vec::new();
        for number in 0..8 {
            claimants.push(server.register(&format!("claimant{number}")).await);
        }
        let wanted: serde_json::Map<String, Value> =
            owners.iter().map(|owner| (owner.id.clone(), json!({ &owner.device_id: "signed_curve25519" }))).collect();
        let wanted = json!({ "one_time_keys": wanted });
        let claims = claimants.iter().flat_map(|claimant| {
            std::iter::repeat_with(|| claimant.post(format!("{V3}/keys/claim")).json(&wanted).into_future()).take(2)
        });
        let answers: Vec<Value> =
            futures::future::join_all(claims).await.into_iter().map(Answer::ok).collect();
        for owner in &owners {
            let (mut given, mut fallbacks) = (HashSet::new(), 0);
            for answer in &answers {
                let keys = answer["one_time_keys"][&owner.id][&owner.device_id].as_object().unwrap();
                let (name, _) = keys.iter().next().unwrap();
                if name.ends_with(":F") {
                    fallbacks += 1;
                } else {
                    assert!(given.insert(name.clone()), "{name} was given out twice");
                }
            }
            assert_eq!((given.len(), fallbacks), (KEYS, 2 * claimants.len() - KEYS));
        }
    }
}
