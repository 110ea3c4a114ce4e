//! Joining rooms of other homeservers.

use serde_json::{Value, json};
use testing::{User, eventually, on_both_databases, path_segment};

use crate::world::{Network, V3, becomes, join_via, membership, room_path};

/// Room versions whose rules or formats differ.
const VERSIONS: [&str; 5] = ["1", "6", "10", "11", "12"];

async fn public_room(user: &User, version: &str) -> String {
    let request = json!({ "preset": "public_chat", "room_version": version, "name": "Public" });
    user.create_room(&request).await
}

/// The types and state keys of a room's state, sorted.
async fn state_of(user: &User, room_id: &str) -> Vec<(String, String, String)> {
    let state = user.get(room_path(room_id, "state")).await.ok();
    let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let events = state.as_array().unwrap().iter();
    let mut state: Vec<_> =
        events.map(|event| (text(event, "type"), text(event, "state_key"), text(event, "event_id"))).collect();
    state.sort();
    state
}

on_both_databases! {
    async fn rooms_of_all_versions_are_joined_by_alias_both_ways(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        for (here, there, server) in [(&alice, &bob, "hs1.test"), (&bob, &alice, "hs2.test")] {
            for version in VERSIONS {
                let alias = format!("version-{version}");
                let request = json!({ "preset": "public_chat", "room_version": version, "room_alias_name": alias });
                let room_id = here.create_room(&request).await;
                there.join(&format!("#{alias}:{server}")).await;
                assert_eq!(membership(here, &room_id, &there.id).await.as_deref(), Some("join"), "{version}");
                assert_eq!(state_of(here, &room_id).await, state_of(there, &room_id).await, "{version}");
                eventually("the room is shown", async || {
                    there.sync(None, 0).await["rooms"]["join"].get(&room_id).map(drop)
                })
                .await;
                there.send_text(&room_id, "hello").await;
            }
        }
        network.shutdown().await;
    }

    async fn a_room_is_joined_via_a_named_homeserver_once(db: TestDatabase) {
        let network = Network::start(&db, 3).await;
        let alice = network[0].register("alice").await;
        let (bob, carol) = (network[1].register("bob").await, network[1].register("carol").await);
        // Its ID names no homeserver.
        let room_id = public_room(&alice, "12").await;
        join_via(&bob, &room_id, &[]).await.error(404, "M_NOT_FOUND");
        // The third is not in the room, and this one itself cannot help.
        join_via(&bob, &room_id, &[&network[2]]).await.error(404, "M_NOT_FOUND");
        let via = [&network[1], &network[2], &network[0]];
        let joined = futures::future::join_all([&bob, &carol].map(|user| join_via(user, &room_id, &via)));
        for answer in joined.await {
            assert_eq!(answer.ok(), json!({ "room_id": room_id }));
        }
        for user in [&bob, &carol] {
            assert_eq!(membership(user, &room_id, &bob.id).await.as_deref(), Some("join"));
            assert_eq!(membership(user, &room_id, &carol.id).await.as_deref(), Some("join"));
        }
        // The second of them joined a room that its homeserver was in already, which the other one hears of afterwards.
        for user in [&bob, &carol] {
            becomes(&alice, &room_id, user, "join").await;
        }
        network.shutdown().await;
    }

    async fn what_goes_with_a_join_is_in_the_member_event(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let name = format!("{V3}/profile/{}/displayname", path_segment(&bob.id));
        bob.put(name).json(&json!({ "displayname": "Bob" })).await.ok();
        let room_id = public_room(&alice, "11").await;
        let path = format!("{V3}/join/{}?server_name=hs1.test", path_segment(&room_id));
        bob.post(path).json(&json!({ "reason": "because", "org.example.x": 5 })).await.ok();
        let path = room_path(&room_id, &format!("state/m.room.member/{}", path_segment(&bob.id)));
        let expected =
            json!({ "membership": "join", "displayname": "Bob", "reason": "because", "org.example.x": 5 });
        assert_eq!(alice.get(&path).await.ok(), expected);
        assert_eq!(bob.get(&path).await.ok(), expected);
        network.shutdown().await;
    }

    async fn a_homeserver_refuses_whom_the_room_refuses(db: TestDatabase) {
        let network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let private = alice.create_room(&json!({ "preset": "private_chat", "room_version": "11" })).await;
        join_via(&bob, &private, &[&network[0]]).await.error(403, "M_FORBIDDEN");
        let room_id = public_room(&alice, "11").await;
        alice.post(room_path(&room_id, "ban")).json(&json!({ "user_id": bob.id })).await.ok();
        join_via(&bob, &room_id, &[&network[0]]).await.error(403, "M_FORBIDDEN");
        alice.post(room_path(&room_id, "unban")).json(&json!({ "user_id": bob.id })).await.ok();
        let acl = json!({ "allow": ["*"], "deny": ["hs2.*"] });
        alice.put(room_path(&room_id, "state/m.room.server_acl")).json(&acl).await.ok();
        join_via(&bob, &room_id, &[&network[0]]).await.error(403, "M_FORBIDDEN");
        let closed = alice.create_room(&json!({ "preset": "public_chat", "creation_content": { "m.federate": false } })).await;
        join_via(&bob, &closed, &[&network[0]]).await.error(403, "M_FORBIDDEN");
        let synced = bob.sync(None, 0).await;
        assert!(synced["rooms"].is_null(), "{synced}");
        network.shutdown().await;
    }
}
