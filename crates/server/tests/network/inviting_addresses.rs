//! Inviting people by their addresses, with the help of an identity server.

use serde_json::{Value, json};
use testing::{Answer, RemoteServer, Setting, User, on_both_databases};

use crate::world::{Homeserver, Network, becomes, join_via, membership, room_path};

const ADDRESS: &str = "Somebody@example.org";
const LOOKUP: &str = "/_matrix/identity/v2/lookup";
const STORE_INVITE: &str = "/_matrix/identity/v2/store-invite";

/// Identity servers may be on this machine.
const PRIVATE: [Setting<'static>; 1] = [("network", "allow_private_addresses", toml::Value::Boolean(true))];

/// An identity server that knows nobody yet.
async fn identity_server() -> RemoteServer {
    let identity = RemoteServer::start("127.0.0.1").await;
    let details = json!({ "lookup_pepper": "pepper", "algorithms": ["none"] });
    identity.answer("/_matrix/identity/v2/hash_details", 200, details.to_string());
    identity.answer(LOOKUP, 200, json!({ "mappings": {} }).to_string());
    let key = identity.keys()["verify_keys"]["ed25519:remote"]["key"].clone();
    let stored = json!({ "token": "token", "display_name": "S...@e...", "public_keys": [{ "public_key": key }] });
    identity.answer(STORE_INVITE, 200, stored.to_string());
    identity
}

async fn invite(user: &User, room_id: &str, identity: &RemoteServer) -> Answer {
    let server = format!("127.0.0.1:{}", identity.port());
    let body = json!({ "id_server": server, "id_access_token": "secret", "medium": "email", "address": ADDRESS });
    user.post(room_path(room_id, "invite")).json(&body).await
}

/// The identity server tells a homeserver that the address is its user's.
async fn bind(at: &Homeserver, (room_id, sender, target): (&str, &User, &User), signed: &Value) {
    let invite = json!({
        "medium": "email", "address": ADDRESS, "mxid": target.id, "room_id": room_id, "sender": sender.id, "signed": signed,
    });
    let body = json!({ "medium": "email", "address": ADDRESS, "mxid": target.id, "invites": [invite] });
    at.running().client().put("/_matrix/federation/v1/3pid/onbind").json(&body).await.ok();
}

on_both_databases! {
    async fn who_turns_out_to_own_an_invited_address_is_invited(db: TestDatabase) {
        let (identity, other) = (identity_server().await, RemoteServer::start("other.example").await);
        let network = Network::start_with(&db, 2, &[&identity], &PRIVATE).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let (carol, mallory) = (network[0].register("carol").await, network[1].register("mallory").await);
        let room_id = alice.create_room(&json!({ "preset": "private_chat", "name": "Talk" })).await;
        invite(&alice, &room_id, &identity).await.ok();
        let told = identity.requests(STORE_INVITE).pop().unwrap();
        assert_eq!(told.headers["authorization"], "Bearer secret");
        let told = told.json();
        assert_eq!((&told["address"], &told["room_name"]), (&json!("somebody@example.org"), &json!("Talk")));
        assert_eq!((&told["sender"], &told["room_join_rules"]), (&json!(alice.id), &json!("invite")));
        let state = alice.get(room_path(&room_id, "state/m.room.third_party_invite/token")).await.ok();
        assert_eq!(state["display_name"], "S...@e...");
        assert!(state["key_validity_url"].as_str().unwrap().starts_with("https://127.0.0.1:"));

        // Nobody else gets in by it.
        let forged = other.signed(&json!({ "mxid": mallory.id, "token": "token" }));
        bind(&network[1], (&room_id, &alice, &mallory), &forged).await;
        let for_bob = identity.signed(&json!({ "mxid": bob.id, "token": "token" }));
        bind(&network[1], (&room_id, &alice, &mallory), &for_bob).await;
        assert_eq!(membership(&alice, &room_id, &mallory.id).await, None);
        bind(&network[1], (&room_id, &alice, &bob), &for_bob).await;
        becomes(&alice, &room_id, &bob, "invite").await;
        join_via(&bob, &room_id, &[&network[0]]).await.ok();
        // A user of the same homeserver.
        let for_carol = identity.signed(&json!({ "mxid": carol.id, "token": "token" }));
        bind(&network[0], (&room_id, &alice, &carol), &for_carol).await;
        becomes(&alice, &room_id, &carol, "invite").await;
        carol.join(&room_id).await;
        network.shutdown().await;
    }

    async fn whose_address_is_known_is_invited_at_once(db: TestDatabase) {
        let identity = identity_server().await;
        let network = Network::start_with(&db, 2, &[&identity], &PRIVATE).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "private_chat" })).await;
        invite(&bob, &room_id, &identity).await.error(403, "M_FORBIDDEN");
        assert!(identity.requests(LOOKUP).is_empty(), "who may not invite learns nothing of addresses");
        identity.answer(LOOKUP, 403, json!({ "errcode": "M_TERMS_NOT_SIGNED", "error": "Read them" }).to_string());
        invite(&alice, &room_id, &identity).await.error(403, "M_TERMS_NOT_SIGNED");
        identity.answer(LOOKUP, 200, "[]");
        invite(&alice, &room_id, &identity).await.error(502, "M_UNKNOWN");
        identity.answer(LOOKUP, 200, json!({ "mappings": { "somebody@example.org email": bob.id } }).to_string());
        invite(&alice, &room_id, &identity).await.ok();
        assert_eq!(membership(&alice, &room_id, &bob.id).await.as_deref(), Some("invite"));
        assert!(identity.requests(STORE_INVITE).is_empty());

        let body = json!({ "medium": "email", "address": ADDRESS, "id_server": "127.0.0.1:1", "id_access_token": "x" });
        alice.post(room_path(&room_id, "invite")).json(&body).await.error(502, "M_UNKNOWN");
        for missing in ["medium", "id_server", "id_access_token"] {
            let mut body = body.clone();
            body.as_object_mut().unwrap().remove(missing);
            alice.post(room_path(&room_id, "invite")).json(&body).await.error(400, "M_BAD_JSON");
        }
        // No identity server is in a private network, unless the configuration says so.
        let outside = Network::start_with(&db, 1, &[&identity], &[]).await;
        let dave = outside[0].register("dave").await;
        let room_of_dave = dave.create_room(&json!({})).await;
        let asked = identity.requests(LOOKUP).len();
        invite(&dave, &room_of_dave, &identity).await.error(502, "M_UNKNOWN");
        assert_eq!(identity.requests(LOOKUP).len(), asked);
        outside.shutdown().await;
        let server = format!("127.0.0.1:{}", identity.port());
        let address = json!({ "id_server": server, "id_access_token": "x", "medium": "email", "address": ADDRESS });
        let second = alice.create_room(&json!({ "preset": "private_chat", "invite_3pid": [address] })).await;
        assert_eq!(membership(&alice, &second, &bob.id).await.as_deref(), Some("invite"));
        network.shutdown().await;
    }
}
