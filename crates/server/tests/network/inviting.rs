//! Inviting users of other homeservers.

use serde_json::{Value, json};
use testing::{Follower, User, eventually, on_both_databases};

use crate::world::{Network, join_via, membership, room_path};

/// The state of an invitation, as the user is shown it.
async fn invite_of(user: &User, room_id: &str) -> Option<Vec<Value>> {
    let synced = user.sync(None, 0).await;
    synced["rooms"]["invite"][room_id]["invite_state"]["events"].as_array().cloned()
}

async fn invite(user: &User, room_id: &str, target: &User) {
    user.post(room_path(room_id, "invite")).json(&json!({ "user_id": target.id })).await.ok();
}

fn has(events: &[Value], event_type: &str, key: &str, value: &str) -> bool {
    events.iter().any(|event| event["type"] == event_type && event["content"][key] == value)
}

on_both_databases! {
    async fn a_user_of_another_homeserver_is_invited_and_joins(db: TestDatabase) {
        let mut network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        for version in ["1", "6", "11", "12"] {
            let mut bob_sees = Follower::start(network[1].again(&bob)).await;
            let request = json!({ "preset": "private_chat", "room_version": version, "name": "Secret" });
            let room_id = alice.create_room(&request).await;
            invite(&alice, &room_id, &bob).await;
            bob_sees.sees("the invitation", |answer: &Value| answer["rooms"]["invite"].get(&room_id).cloned()).await;
            let events = invite_of(&bob, &room_id).await.unwrap();
            assert!(has(&events, "m.room.name", "name", "Secret"), "{events:?}");
            assert!(has(&events, "m.room.create", "room_version", version), "{events:?}");
            assert!(has(&events, "m.room.member", "membership", "invite"), "{events:?}");
            assert!(events.iter().all(|event| event.as_object().unwrap().len() == 4), "{events:?}");
            assert_eq!(membership(&alice, &room_id, &bob.id).await.as_deref(), Some("invite"));
            join_via(&bob, &room_id, &[]).await.ok();
            assert_eq!(membership(&alice, &room_id, &bob.id).await.as_deref(), Some("join"));
            assert_eq!(membership(&bob, &room_id, &alice.id).await.as_deref(), Some("join"));
            assert!(invite_of(&bob, &room_id).await.is_none());
        }
        network.get_mut(1).stop().await;
        network.shutdown().await;
    }

    async fn an_invitation_is_declined_and_survives_a_restart(db: TestDatabase) {
        let mut network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "private_chat" })).await;
        invite(&alice, &room_id, &bob).await;
        network.get_mut(1).stop().await;
        network.get_mut(1).start().await;
        let bob = network[1].again(&bob);
        assert!(invite_of(&bob, &room_id).await.is_some());
        let mut bob_sees = Follower::start(network[1].again(&bob)).await;
        bob.post(room_path(&room_id, "leave")).json(&json!({ "reason": "no time" })).await.ok();
        bob_sees.sees("the end", |answer: &Value| answer["rooms"]["leave"].get(&room_id).cloned()).await;
        assert!(invite_of(&bob, &room_id).await.is_none());
        eventually("the decline", async || {
            (membership(&alice, &room_id, &bob.id).await.as_deref() == Some("leave")).then_some(())
        }).await;
        join_via(&bob, &room_id, &[&network[0]]).await.error(403, "M_FORBIDDEN");
        bob.post(room_path(&room_id, "forget")).json(&json!({})).await.ok();
        // And again.
        invite(&alice, &room_id, &bob).await;
        assert!(invite_of(&bob, &room_id).await.is_some());
        network.shutdown().await;
    }

    async fn an_invitation_of_a_homeserver_that_is_gone_is_declined(db: TestDatabase) {
        let mut network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "private_chat" })).await;
        invite(&alice, &room_id, &bob).await;
        network.get_mut(0).stop().await;
        assert!(!join_via(&bob, &room_id, &[]).await.status.is_success());
        assert!(invite_of(&bob, &room_id).await.is_some());
        bob.post(room_path(&room_id, "leave")).json(&json!({})).await.ok();
        assert!(invite_of(&bob, &room_id).await.is_none());
        network.shutdown().await;
    }

    async fn a_new_room_invites_users_of_other_homeservers(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let carol = network[0].register("carol").await;
        let request = json!({ "preset": "trusted_private_chat", "invite": [bob.id, carol.id], "is_direct": true });
        let room_id = alice.create_room(&request).await;
        for user in [&bob, &carol] {
            let events = invite_of(user, &room_id).await.unwrap();
            let own = events.iter().find(|event| event["state_key"] == user.id).unwrap();
            assert_eq!(own["content"]["is_direct"], true);
        }
        network.shutdown().await;
    }

    async fn nobody_is_invited_who_does_not_exist_or_by_somebody_who_may_not(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "private_chat" })).await;
        let nobody = json!({ "user_id": "@nobody:hs2.test" });
        alice.post(room_path(&room_id, "invite")).json(&nobody).await.error(403, "M_FORBIDDEN");
        assert_eq!(membership(&alice, &room_id, "@nobody:hs2.test").await, None);
        let carol = network[0].register("carol").await;
        carol.post(room_path(&room_id, "invite")).json(&json!({ "user_id": bob.id })).await.error(403, "M_FORBIDDEN");
        assert!(invite_of(&bob, &room_id).await.is_none());
        network.shutdown().await;
    }
}
