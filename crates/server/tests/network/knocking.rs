//! Knocking on rooms of other homeservers.

use serde_json::{Value, json};
use testing::{User, on_both_databases};

use crate::world::{Network, enter_via, join_via, membership, room_path};

async fn room_with_rule(user: &User, rule: &str, version: &str) -> String {
    let rules = json!({ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": rule } });
    user.create_room(&json!({ "room_version": version, "initial_state": [rules], "name": "Knock" })).await
}

async fn knock_state(user: &User, room_id: &str) -> Value {
    user.sync(None, 0).await["rooms"]["knock"][room_id]["knock_state"]["events"].take()
}

on_both_databases! {
    async fn a_knock_is_answered_with_an_invitation(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        for (rule, version) in [("knock", "7"), ("knock_restricted", "10"), ("knock", "12")] {
            let room_id = room_with_rule(&alice, rule, version).await;
            join_via(&bob, &room_id, &[&network[0]]).await.error(403, "M_FORBIDDEN");
            let answer = enter_via(&bob, "knock", &room_id, &[&network[0]], json!({ "reason": "please" })).await;
            assert_eq!(answer.ok(), json!({ "room_id": room_id }));
            let events = knock_state(&bob, &room_id).await;
            let events = events.as_array().unwrap();
            assert!(events.iter().any(|event| event["content"]["name"] == "Knock"), "{events:?}");
            assert!(events.iter().any(|event| event["content"]["reason"] == "please"), "{events:?}");
            assert_eq!(membership(&alice, &room_id, &bob.id).await.as_deref(), Some("knock"));
            alice.post(room_path(&room_id, "invite")).json(&json!({ "user_id": bob.id })).await.ok();
            let synced = bob.sync(None, 0).await;
            assert!(synced["rooms"]["invite"][&room_id].is_object(), "{synced}");
            assert!(synced["rooms"]["knock"][&room_id].is_null(), "{synced}");
            join_via(&bob, &room_id, &[]).await.ok();
            assert_eq!(membership(&alice, &room_id, &bob.id).await.as_deref(), Some("join"));
        }
        network.shutdown().await;
    }

    async fn a_knock_is_withdrawn(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let room_id = room_with_rule(&alice, "knock", "11").await;
        enter_via(&bob, "knock", &room_id, &[&network[0]], json!({})).await.ok();
        bob.post(room_path(&room_id, "leave")).json(&json!({})).await.ok();
        assert_eq!(membership(&alice, &room_id, &bob.id).await.as_deref(), Some("leave"));
        assert!(knock_state(&bob, &room_id).await.is_null());
        // One more time.
        enter_via(&bob, "knock", &room_id, &[&network[0]], json!({})).await.ok();
        assert_eq!(membership(&alice, &room_id, &bob.id).await.as_deref(), Some("knock"));
        network.shutdown().await;
    }

    async fn a_room_that_nobody_may_knock_on_refuses(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        for (rule, version) in [("invite", "11"), ("public", "11"), ("knock", "6")] {
            let room_id = room_with_rule(&alice, rule, version).await;
            let answer = enter_via(&bob, "knock", &room_id, &[&network[0]], json!({})).await;
            answer.error(403, "M_FORBIDDEN");
            assert!(knock_state(&bob, &room_id).await.is_null());
        }
        network.shutdown().await;
    }
}
