use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ruma::CanonicalJsonObject;
use ruma::signatures::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases};

use crate::V3;
use crate::keys::{device_keys, upload};

/// What stands before the seed of an Ed25519 key in [PKCS#8](https://www.rfc-editor.org/rfc/rfc8410#section-7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

struct Key {
    pair: Ed25519KeyPair,
    public: String,
}

impl Key {
    fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_der(&[PKCS8_PREFIX.as_slice(), &[seed; 32]].concat(), "k".to_owned()).unwrap();
        let public = STANDARD_NO_PAD.encode(pair.public_key());
        Self { pair, public }
    }

    fn object(&self, user: &User, usage: &str) -> Value {
        json!({ "user_id": user.id, "usage": [usage], "keys": { format!("ed25519:{}", self.public): self.public } })
    }

    /// The object with a signature by this key.
    fn signed(&self, mut object: Value, user: &User, key_id: &str) -> Value {
        let mut bare: CanonicalJsonObject = serde_json::from_value(object.clone()).unwrap();
        bare.remove("signatures");
        let signature = self.pair.sign(&serde_json::to_vec(&bare).unwrap()).base64();
        object["signatures"][&user.id][format!("ed25519:{key_id}")] = signature.into();
        object
    }
}

/// The three keys of a user.
struct Keys {
    master: Key,
    self_signing: Key,
    user_signing: Key,
}

impl Keys {
    fn new(seed: u8) -> Self {
        Self { master: Key::new(seed), self_signing: Key::new(seed + 1), user_signing: Key::new(seed + 2) }
    }

    fn body(&self, user: &User) -> Value {
        let by_master = |key: &Key, usage| self.master.signed(key.object(user, usage), user, &self.master.public);
        json!({
            "master_key": self.master.object(user, "master"),
            "self_signing_key": by_master(&self.self_signing, "self_signing"),
            "user_signing_key": by_master(&self.user_signing, "user_signing"),
        })
    }
}

async fn set_keys(user: &User, body: &Value) -> Answer {
    user.post(format!("{V3}/keys/device_signing/upload")).json(body).await
}

async fn query(user: &User, of: &User) -> Value {
    user.post(format!("{V3}/keys/query")).json(&json!({ "device_keys": { &of.id: [] } })).await.ok()
}

async fn sign(user: &User, of: &User, target: &str, object: &Value) -> Value {
    let body = json!({ &of.id: { target: object } });
    user.post(format!("{V3}/keys/signatures/upload")).json(&body).await.ok()["failures"].clone()
}

on_both_databases! {
    async fn the_first_keys_need_no_proof_and_others_do(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let (first, second) = (Keys::new(1).body(&alice), Keys::new(11).body(&alice));
        for _ in 0..2 {
            set_keys(&alice, &first).await.ok();
        }
        let seen = query(&bob, &alice).await;
        assert_eq!(seen["master_keys"][&alice.id], first["master_key"]);
        assert_eq!(seen["self_signing_keys"][&alice.id], first["self_signing_key"]);
        assert_eq!(seen["user_signing_keys"], json!({}), "only the user sees it");
        assert_eq!(query(&alice, &alice).await["user_signing_keys"][&alice.id], first["user_signing_key"]);

        let challenge = set_keys(&alice, &second).await;
        assert_eq!(challenge.status, 401, "{challenge}");
        assert_eq!(query(&bob, &alice).await["master_keys"][&alice.id], first["master_key"]);
        let mut proven = second.clone();
        proven["auth"] = crate::password_stage("alice", "password of alice");
        proven["auth"]["session"] = challenge.json["session"].clone();
        set_keys(&alice, &proven).await.ok();
        assert_eq!(query(&bob, &alice).await["master_keys"][&alice.id], second["master_key"]);
    }

    async fn keys_that_are_not_signed_or_of_others_are_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let keys = Keys::new(21);
        let good = keys.body(&alice);
        let without_master = json!({ "self_signing_key": good["self_signing_key"] });
        set_keys(&alice, &without_master).await.error(400, "M_MISSING_PARAM");
        let mut unsigned = good.clone();
        unsigned["self_signing_key"].as_object_mut().unwrap().remove("signatures");
        set_keys(&alice, &unsigned).await.error(400, "M_INVALID_SIGNATURE");
        let mut wrong = good.clone();
        wrong["user_signing_key"]["extra"] = 1.into();
        set_keys(&alice, &wrong).await.error(400, "M_INVALID_SIGNATURE");
        set_keys(&alice, &keys.body(&bob)).await.error(400, "M_INVALID_PARAM");
        set_keys(&alice, &json!({})).await.error(400, "M_MISSING_PARAM");
        for (field, value) in [("usage", json!(["self_signing"])), ("keys", json!({})), ("keys", json!({ "ed25519:A": "B" }))] {
            let mut other = good.clone();
            other["master_key"][field] = value;
            set_keys(&alice, &other).await.error(400, "M_BAD_JSON");
        }
        assert_eq!(query(&alice, &alice).await["master_keys"], json!({}));
    }

    async fn signatures_are_seen_by_those_who_may(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let (of_alice, of_bob) = (Keys::new(31), Keys::new(41));
        set_keys(&alice, &of_alice.body(&alice)).await.ok();
        set_keys(&bob, &of_bob.body(&bob)).await.ok();
        let device = Key::new(51);
        let keys = device.signed(device_keys(&alice, &device.public), &alice, &alice.device_id);
        upload(&alice, json!({ "device_keys": keys })).await.ok();
        let since = bob.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        let own_since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();

        // The device, by the self-signing key; the master key, by the device.
        let signed = of_alice.self_signing.signed(keys.clone(), &alice, &of_alice.self_signing.public);
        assert_eq!(sign(&alice, &alice, &alice.device_id, &signed).await, json!({}));
        let master = of_alice.master.object(&alice, "master");
        let by_device = device.signed(master.clone(), &alice, &alice.device_id);
        assert_eq!(sign(&alice, &alice, &of_alice.master.public, &by_device).await, json!({}));
        let seen = query(&bob, &alice).await;
        let shown = &seen["device_keys"][&alice.id][&alice.device_id]["signatures"];
        assert_eq!(*shown, signed["signatures"]);
        assert_eq!(seen["master_keys"][&alice.id], by_device);
        assert_eq!(bob.sync(Some(&since), 0).await["device_lists"]["changed"], json!([alice.id]));

        // Bob's master key, by Alice's user-signing key: only Alice sees that.
        let since = bob.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        let bobs = of_bob.master.object(&bob, "master");
        let verified = of_alice.user_signing.signed(bobs.clone(), &alice, &of_alice.user_signing.public);
        assert_eq!(sign(&alice, &bob, &of_bob.master.public, &verified).await, json!({}));
        assert_eq!(query(&alice, &bob).await["master_keys"][&bob.id], verified);
        assert_eq!(query(&bob, &bob).await["master_keys"][&bob.id], bobs);
        assert!(bob.sync(Some(&since), 0).await.get("device_lists").is_none());
        let told = alice.sync(Some(&own_since), 0).await["device_lists"]["changed"].clone();
        assert!(told.as_array().unwrap().contains(&json!(bob.id)), "{told}");

        // What is wrong is told of each.
        let code = |failures: &Value, of: &User, target: &str| failures[&of.id][target]["errcode"].clone();
        let failures = sign(&alice, &alice, "UNKNOWN", &signed).await;
        assert_eq!(code(&failures, &alice, "UNKNOWN"), "M_NOT_FOUND");
        let wrong = of_alice.user_signing.signed(keys.clone(), &alice, &of_alice.self_signing.public);
        let failures = sign(&alice, &alice, &alice.device_id, &wrong).await;
        assert_eq!(code(&failures, &alice, &alice.device_id), "M_INVALID_SIGNATURE");
        let mut other = keys.clone();
        other["algorithms"] = json!([]);
        let failures = sign(&alice, &alice, &alice.device_id, &other).await;
        assert_eq!(code(&failures, &alice, &alice.device_id), "M_INVALID_PARAM");
        let by_bob = of_bob.self_signing.signed(keys, &bob, &of_bob.self_signing.public);
        let failures = sign(&bob, &alice, &alice.device_id, &by_bob).await;
        assert_eq!(code(&failures, &alice, &alice.device_id), "M_NOT_FOUND");
    }
}
