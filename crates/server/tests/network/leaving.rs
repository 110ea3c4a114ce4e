//! Leaving rooms that homeservers share, and being removed from them.

use serde_json::{Value, json};
use testing::{Follower, User, on_both_databases};

use crate::world::{Network, becomes, join_via, membership, room_path};

/// Alice's room with Bob of another homeserver in it.
async fn shared_room(network: &Network) -> (User, User, String) {
    let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
    let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
    join_via(&bob, &room_id, &[&network[0]]).await.ok();
    (alice, bob, room_id)
}

on_both_databases! {
    async fn what_one_says_the_other_hears(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob, room_id) = shared_room(&network).await;
        let mut alice_sees = Follower::start(network[0].again(&alice)).await;
        let mut bob_sees = Follower::start(network[1].again(&bob)).await;
        for round in 0..3 {
            let (to_bob, to_alice) = (format!("to Bob {round}"), format!("to Alice {round}"));
            alice.send_text(&room_id, &to_bob).await;
            bob_sees.sees_message(&room_id, &to_bob).await;
            bob.send_text(&room_id, &to_alice).await;
            alice_sees.sees_message(&room_id, &to_alice).await;
        }
        network.shutdown().await;
    }

    async fn who_has_left_comes_back(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob, room_id) = shared_room(&network).await;
        for round in 0..3 {
            bob.post(room_path(&room_id, "leave")).json(&json!({})).await.ok();
            becomes(&alice, &room_id, &bob, "leave").await;
            let topic = json!({ "topic": format!("round {round}") });
            alice.put(room_path(&room_id, "state/m.room.topic")).json(&topic).await.ok();
            join_via(&bob, &room_id, &[&network[0]]).await.ok();
            assert_eq!(membership(&alice, &room_id, &bob.id).await.as_deref(), Some("join"));
            assert_eq!(bob.get(room_path(&room_id, "state/m.room.topic")).await.ok(), topic);
            bob.send_text(&room_id, "back again").await;
        }
        network.shutdown().await;
    }

    async fn who_is_removed_or_banned_learns_of_it(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob, room_id) = shared_room(&network).await;
        for (action, after) in [("kick", "leave"), ("ban", "ban")] {
            let mut bob_sees = Follower::start(network[1].again(&bob)).await;
            alice.post(room_path(&room_id, action)).json(&json!({ "user_id": bob.id })).await.ok();
            bob_sees.sees("the end", |answer: &Value| answer["rooms"]["leave"].get(&room_id).cloned()).await;
            assert_eq!(membership(&bob, &room_id, &bob.id).await.as_deref(), Some(after));
            if action == "kick" {
                join_via(&bob, &room_id, &[&network[0]]).await.ok();
            }
        }
        join_via(&bob, &room_id, &[&network[0]]).await.error(403, "M_FORBIDDEN");
        network.shutdown().await;
    }

    async fn an_invitation_is_withdrawn_by_the_user_who_sent_it(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "private_chat" })).await;
        alice.post(room_path(&room_id, "invite")).json(&json!({ "user_id": bob.id })).await.ok();
        let mut bob_sees = Follower::start(network[1].again(&bob)).await;
        alice.post(room_path(&room_id, "kick")).json(&json!({ "user_id": bob.id })).await.ok();
        bob_sees.sees("the end", |answer: &Value| answer["rooms"]["leave"].get(&room_id).cloned()).await;
        let synced = bob.sync(None, 0).await;
        assert!(synced["rooms"]["invite"].is_null(), "{synced}");
        network.shutdown().await;
    }

    async fn a_room_whose_homeservers_are_gone_is_left(db: TestDatabase) {
        let mut network = Network::start(&db, 2).await;
        let (_, bob, room_id) = shared_room(&network).await;
        network.get_mut(0).stop().await;
        bob.post(room_path(&room_id, "leave")).json(&json!({})).await.ok();
        assert_eq!(membership(&bob, &room_id, &bob.id).await.as_deref(), Some("leave"));
        network.shutdown().await;
    }
}
