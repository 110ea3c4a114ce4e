//! Homeservers find each other.

use serde_json::json;
use testing::{on_both_databases, path_segment};

use crate::world::{Network, V3};

on_both_databases! {
    async fn homeservers_ask_each_other_for_profiles_and_aliases(db: TestDatabase) {
        let mut network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let room_id = alice.create_room(&json!({ "room_alias_name": "room" })).await;
        let profile = format!("{V3}/profile/{}/displayname", path_segment(&bob.id));
        bob.put(&profile).json(&json!({ "displayname": "Bob" })).await.ok();
        assert_eq!(alice.get(&profile).await.ok(), json!({ "displayname": "Bob" }));
        let alias = format!("{V3}/directory/room/{}", path_segment("#room:hs1.test"));
        assert_eq!(bob.get(&alias).await.ok()["room_id"], room_id);

        network.get_mut(0).stop().await;
        bob.get(&alias).await.error(502, "M_CONNECTION_FAILED");
        network.get_mut(0).start().await;
        let alice = network[0].again(&alice);
        alice.send_text(&room_id, "still here").await;
        network.shutdown().await;
    }
}
