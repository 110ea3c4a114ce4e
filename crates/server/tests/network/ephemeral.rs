//! Typing, receipts, presence and messages to devices, between homeservers.

use std::time::Duration;

use serde_json::{Value, json};
use testing::{TestDatabase, User, eventually, on_both_databases, path_segment};

use crate::world::{Network, V3, join_via, room_path};

/// What a user is told by `/sync` until `found` finds what it looks for.
async fn until<T>(user: &User, since: &str, what: &str, found: impl Fn(&Value) -> Option<T>) -> (T, String) {
    let mut since = since.to_owned();
    eventually(what, async || {
        let synced = user.sync(Some(&since), 1_000).await;
        since = synced["next_batch"].as_str().unwrap().to_owned();
        Some((found(&synced)?, since.clone()))
    })
    .await
}

async fn now(user: &User) -> String {
    user.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned()
}

/// The content of an ephemeral event of a room.
fn ephemeral(synced: &Value, room_id: &str, event_type: &str) -> Option<Value> {
    let events = synced["rooms"]["join"][room_id]["ephemeral"]["events"].as_array()?;
    events.iter().find(|event| event["type"] == event_type).map(|event| event["content"].clone())
}

/// Who types in a room, if that is told.
fn typists(synced: &Value, room_id: &str) -> Option<Value> {
    ephemeral(synced, room_id, "m.typing").map(|content| content["user_ids"].clone())
}

async fn types(user: &User, room_id: &str, typing: bool) {
    let path = room_path(room_id, &format!("typing/{}", path_segment(&user.id)));
    user.put(path).json(&json!({ "typing": typing, "timeout": 60_000 })).await.ok();
}

/// A room of Alice at the first homeserver, which Bob at the second one has joined.
async fn shared_room(db: &TestDatabase) -> (Network, User, User, String) {
    let network = Network::start(db, 2).await;
    let (alice, bob, room_id) = share_room(&network).await;
    (network, alice, bob, room_id)
}

async fn share_room(network: &Network) -> (User, User, String) {
    let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    join_via(&bob, &room_id, &[&network[0]]).await.ok();
    (alice, bob, room_id)
}

on_both_databases! {
    async fn who_types_is_shown_at_the_other_homeserver(db: TestDatabase) {
        let (network, alice, bob, room_id) = shared_room(&db).await;
        let (since, of_alice) = (now(&bob).await, now(&alice).await);
        types(&alice, &room_id, true).await;
        let (who, since) = until(&bob, &since, "Alice types", |synced| typists(synced, &room_id)).await;
        assert_eq!(who, json!([alice.id]));
        types(&alice, &room_id, false).await;
        let (who, _) = until(&bob, &since, "Alice stops", |synced| typists(synced, &room_id)).await;
        assert_eq!(who, json!([]));

        types(&bob, &room_id, true).await;
        let seen = |synced: &Value| typists(synced, &room_id).filter(|who| *who == json!([bob.id]));
        until(&alice, &of_alice, "Bob types", seen).await;
        network.shutdown().await;
    }

    async fn receipts_are_shown_at_the_other_homeserver(db: TestDatabase) {
        let (network, alice, bob, room_id) = shared_room(&db).await;
        let (since, of_bob) = (now(&alice).await, now(&bob).await);
        let event_id = alice.send_text(&room_id, "read this").await;
        let arrived = |synced: &Value| {
            let events = synced["rooms"]["join"][&room_id]["timeline"]["events"].as_array()?;
            events.iter().any(|event| event["event_id"] == *event_id).then_some(())
        };
        until(&bob, &of_bob, "the message", arrived).await;
        let private = room_path(&room_id, &format!("receipt/m.read.private/{event_id}"));
        bob.post(private).json(&json!({})).await.ok();
        let public = room_path(&room_id, &format!("receipt/m.read/{event_id}"));
        bob.post(public).json(&json!({ "thread_id": "main" })).await.ok();
        let read = |synced: &Value| Some(ephemeral(synced, &room_id, "m.receipt")?[&event_id].clone());
        let (receipts, _) = until(&alice, &since, "Bob's receipt", read).await;
        assert_eq!(receipts["m.read"][&bob.id]["thread_id"], "main");
        assert!(receipts["m.read"][&bob.id]["ts"].is_i64());
        assert!(receipts.get("m.read.private").is_none(), "{receipts}");
        network.shutdown().await;
    }

    async fn presence_is_shown_at_the_other_homeserver(db: TestDatabase) {
        let network = Network::start_with(&db, 2, &[], &[("presence", "enabled", true.into())]).await;
        let (alice, bob, _) = share_room(&network).await;
        let mut since = now(&bob).await;
        let path = format!("{V3}/presence/{}/status", path_segment(&alice.id));
        for (presence, message) in [("online", "hello"), ("unavailable", "hello")] {
            alice.put(&path).json(&json!({ "presence": presence, "status_msg": message })).await.ok();
            let seen = |synced: &Value| {
                let events = synced["presence"]["events"].as_array()?;
                let of_alice = events.iter().find(|event| event["sender"] == *alice.id)?;
                (of_alice["content"]["presence"] == presence).then(|| of_alice["content"].clone())
            };
            let content;
            (content, since) = until(&bob, &since, presence, seen).await;
            assert_eq!(content["status_msg"], message);
        }
        assert_eq!(bob.get(&path).await.ok()["presence"], "unavailable");
        network.shutdown().await;
    }

    async fn messages_to_devices_arrive_once_after_the_other_homeserver_was_down(db: TestDatabase) {
        let mut network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let since = now(&bob).await;
        let send = |number: u32| {
            let messages = json!({ &bob.id: { &bob.device_id: { "number": number } } });
            alice.put(format!("{V3}/sendToDevice/m.test/{number}")).json(&json!({ "messages": messages }))
        };
        let numbers = |synced: &Value| {
            let events = synced["to_device"]["events"].as_array()?;
            let numbers: Vec<_> = events.iter().filter_map(|event| event["content"]["number"].as_u64()).collect();
            (!numbers.is_empty()).then_some((numbers, events[0]["sender"].clone()))
        };
        send(1).await.ok();
        let ((got, sender), since) = until(&bob, &since, "the first message", numbers).await;
        assert_eq!((got, sender), (vec![1], json!(alice.id)));

        network.get_mut(1).stop().await;
        for number in [2, 3, 2] {
            send(number).await.ok();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The sender forgets what it has in memory.
        network.get_mut(0).stop().await;
        network.get_mut(1).start().await;
        network.get_mut(0).start().await;
        let bob = network[1].again(&bob);
        let (mut got, mut since) = (Vec::new(), since);
        while got.len() < 2 {
            let further;
            ((further, _), since) = until(&bob, &since, "the other messages", numbers).await;
            got.extend(further);
        }
        assert_eq!(got, [2, 3]);
        network.shutdown().await;
    }

    async fn keys_are_asked_for_at_the_other_homeserver_and_changes_of_them_told(db: TestDatabase) {
        let (mut network, alice, bob, room_id) = shared_room(&db).await;
        let since = now(&alice).await;
        let (id, device_id) = (&bob.id, &bob.device_id);
        let keys = json!({
            "device_keys": {
                "user_id": id,
                "device_id": device_id,
                "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
                "keys": { format!("ed25519:{device_id}"): "key", format!("curve25519:{device_id}"): "key" },
                "signatures": {},
            },
            "one_time_keys": { "signed_curve25519:A": { "key": "one", "signatures": {} } },
        });
        bob.post(format!("{V3}/keys/upload")).json(&keys).await.ok();
        let changed = |synced: &Value| {
            let changed = synced["device_lists"]["changed"].as_array()?;
            changed.contains(&json!(id)).then_some(())
        };
        until(&alice, &since, "Bob's keys have changed", changed).await;

        let wanted = json!({ "device_keys": { id: [], &alice.id: [] } });
        let answer = alice.post(format!("{V3}/keys/query")).json(&wanted).await.ok();
        assert_eq!(answer["device_keys"][id][device_id]["keys"], keys["device_keys"]["keys"]);
        assert_eq!(answer["failures"], json!({}));
        let claim = json!({ "one_time_keys": { id: { device_id: "signed_curve25519" } } });
        let claimed = alice.post(format!("{V3}/keys/claim")).json(&claim).await.ok();
        assert_eq!(claimed["one_time_keys"][id][device_id]["signed_curve25519:A"]["key"], "one");
        let again = alice.post(format!("{V3}/keys/claim")).json(&claim).await.ok();
        assert_eq!((&again["one_time_keys"], &again["failures"]), (&json!({}), &json!({})));

        // They are known as long as a room is shared, and no change was told.
        let known = &answer["device_keys"][id];
        network.get_mut(1).stop().await;
        let answer = alice.post(format!("{V3}/keys/query")).json(&wanted).await.ok();
        assert_eq!((&answer["device_keys"][id], &answer["failures"]), (known, &json!({})));
        let leave = room_path(&room_id, "leave");
        alice.post(&leave).json(&json!({})).await.ok();
        let answer = alice.post(format!("{V3}/keys/query")).json(&wanted).await.ok();
        assert!(answer["failures"]["hs2.test"].is_object(), "{answer}");
        network.get_mut(1).start().await;
        network.shutdown().await;
    }

    async fn a_server_that_the_room_keeps_out_is_not_listened_to(db: TestDatabase) {
        let (network, alice, bob, room_id) = shared_room(&db).await;
        let open = alice.create_room(&json!({ "preset": "public_chat" })).await;
        join_via(&bob, &open, &[&network[0]]).await.ok();
        let acl = json!({ "allow": ["*"], "deny": ["hs2.test"] });
        alice.put(room_path(&room_id, "state/m.room.server_acl/")).json(&acl).await.ok();
        let since = now(&alice).await;
        types(&bob, &room_id, true).await;
        types(&bob, &open, true).await;
        let seen = |synced: &Value| {
            assert_eq!(typists(synced, &room_id), None, "{synced}");
            typists(synced, &open)
        };
        until(&alice, &since, "Bob types in the open room", seen).await;
        network.shutdown().await;
    }
}
