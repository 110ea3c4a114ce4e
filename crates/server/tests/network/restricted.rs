//! Joining rooms as a member of another room.

use serde_json::json;
use testing::{User, on_both_databases};

use crate::world::{Network, becomes, join_via, membership, room_path};

/// A room that members of `allowed` may join.
async fn restricted_room(user: &User, allowed: &str, version: &str) -> String {
    let allow = json!([{ "type": "m.room_membership", "room_id": allowed }]);
    let rule = if version == "8" { "restricted" } else { "knock_restricted" };
    let rules = json!({ "join_rule": rule, "allow": allow });
    let rules = json!({ "type": "m.room.join_rules", "state_key": "", "content": rules });
    user.create_room(&json!({ "preset": "private_chat", "room_version": version, "initial_state": [rules] })).await
}

on_both_databases! {
    async fn members_of_the_other_room_are_vouched_for(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        for version in ["8", "10", "12"] {
            let allowed = alice.create_room(&json!({ "preset": "public_chat" })).await;
            let room_id = restricted_room(&alice, &allowed, version).await;
            join_via(&bob, &room_id, &[&network[0]]).await.error(403, "M_FORBIDDEN");
            join_via(&bob, &allowed, &[&network[0]]).await.ok();
            join_via(&bob, &room_id, &[&network[0]]).await.ok();
            assert_eq!(membership(&alice, &room_id, &bob.id).await.as_deref(), Some("join"));
            let path = room_path(&room_id, &format!("state/m.room.member/{}", testing::path_segment(&bob.id)));
            assert_eq!(bob.get(path).await.ok()["join_authorised_via_users_server"], alice.id);
        }
        network.shutdown().await;
    }

    async fn a_homeserver_that_cannot_vouch_asks_another_one(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let alice = network[0].register("alice").await;
        let (bob, carol) = (network[1].register("bob").await, network[1].register("carol").await);
        let allowed = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let room_id = restricted_room(&alice, &allowed, "10").await;
        // Nobody of the second homeserver may invite others.
        let levels = room_path(&room_id, "state/m.room.power_levels");
        let mut content = alice.get(&levels).await.ok();
        content["invite"] = json!(50);
        alice.put(&levels).json(&content).await.ok();
        for user in [&bob, &carol] {
            join_via(user, &allowed, &[&network[0]]).await.ok();
            becomes(&alice, &allowed, user, "join").await;
        }
        join_via(&bob, &room_id, &[&network[0]]).await.ok();
        join_via(&carol, &room_id, &[]).await.ok();
        assert_eq!(membership(&alice, &room_id, &carol.id).await.as_deref(), Some("join"));
        assert_eq!(membership(&bob, &room_id, &carol.id).await.as_deref(), Some("join"));
        network.shutdown().await;
    }
}
