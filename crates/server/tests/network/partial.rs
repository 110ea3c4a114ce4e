//! Rooms whose members come to be known after a homeserver has joined.

use homeserver_core::Timestamp;
use serde_json::{Value, json};
use storage::Tx;
use testing::{User, eventually, on_both_databases, path_segment};

use crate::world::{Homeserver, Network, V3, becomes, join_via, membership, room_path};

/// Keeps a homeserver from learning the members of a room: it looks as if another node were at it.
async fn hold(homeserver: &Homeserver, room_id: &str) {
    let sql = "INSERT INTO jobs (name, priority, job_key, payload, state, attempts, scheduled_at, due_at, started_at, \
               lease_until, node) VALUES ('complete_room_state', 1, $1, '{}', 1, 1, 0, 0, 0, $2, 'nobody')";
    let (room_id, never) = (room_id.to_owned(), Timestamp(i64::from(u32::MAX) * 1_000));
    let insert = async move |tx: &mut Tx| tx.execute(sql, storage::params![&room_id, never]).await.map(drop);
    homeserver.running().database().write(insert).await.unwrap();
}

/// It may learn them, after it has been started again.
async fn release(homeserver: &mut Homeserver) {
    let delete = async |tx: &mut Tx| tx.execute("DELETE FROM jobs WHERE node = 'nobody'", &[]).await.map(drop);
    homeserver.running().database().write(delete).await.unwrap();
    homeserver.stop().await;
    homeserver.start().await;
}

async fn lazy_sync(user: &User) -> Value {
    let filter = json!({ "room": { "state": { "lazy_load_members": true } } }).to_string();
    user.get(format!("{V3}/sync?filter={}", path_segment(&filter))).await.ok()
}

/// Waits until a user is shown a message, though not all members are known.
async fn is_shown(user: &User, room_id: &str, body: &str) {
    eventually(&format!("{} is shown {body:?}", user.id), async || {
        let synced = lazy_sync(user).await;
        let events = synced["rooms"]["join"][room_id]["timeline"]["events"].as_array().cloned();
        events.into_iter().flatten().find(|event| event["content"]["body"] == body).map(drop)
    })
    .await;
}

/// The IDs of the events of a room's state, sorted.
async fn state_of(user: &User, room_id: &str) -> Vec<String> {
    let state = user.get(room_path(room_id, "state")).await.ok();
    let mut ids: Vec<_> =
        state.as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

on_both_databases! {
    async fn a_room_is_used_before_all_of_its_members_are_known(db: TestDatabase) {
        let mut network = Network::start_with(&db, 3, &[], &[("rooms", "full_state_timeout", "300ms".into())]).await;
        let (alice, carol) = (network[0].register("alice").await, network[0].register("carol").await);
        let (bob, dave) = (network[1].register("bob").await, network[1].register("dave").await);
        let erin = network[2].register("erin").await;
        let room_id = alice.create_room(&json!({ "preset": "public_chat", "name": "Large", "room_version": "11" })).await;
        carol.join(&room_id).await;
        alice.post(room_path(&room_id, "ban")).json(&json!({ "user_id": dave.id })).await.ok();

        hold(&network[1], &room_id).await;
        join_via(&bob, &room_id, &[&network[0]]).await.ok();
        bob.get(room_path(&room_id, "members")).await.error(503, "M_UNKNOWN");
        let synced = bob.sync(None, 0).await;
        assert!(synced["rooms"]["join"].is_null(), "{synced}");
        assert_eq!(membership(&bob, &room_id, &bob.id).await.as_deref(), Some("join"));
        // Nobody gets in by way of a homeserver that does not know who is in.
        join_via(&erin, &room_id, &[&network[1]]).await.error(404, "M_NOT_FOUND");
        bob.send_text(&room_id, "hello").await;
        is_shown(&alice, &room_id, "hello").await;
        carol.send_text(&room_id, "welcome").await;
        is_shown(&bob, &room_id, "welcome").await;
        // That he is banned is not known yet.
        dave.join(&room_id).await;
        let said = dave.send_text(&room_id, "I am back").await;
        is_shown(&bob, &room_id, "I am back").await;

        let second = network.get_mut(1);
        second.stop().await;
        second.start().await;
        let (bob, dave) = (network[1].again(&bob), network[1].again(&dave));
        bob.get(room_path(&room_id, "members")).await.error(503, "M_UNKNOWN");
        carol.send_text(&room_id, "still there?").await;
        is_shown(&bob, &room_id, "still there?").await;

        release(network.get_mut(1)).await;
        let (bob, dave) = (network[1].again(&bob), network[1].again(&dave));
        eventually("all members are known", async || {
            let members = bob.get(room_path(&room_id, "members")).await;
            (members.status == 200).then_some(())
        })
        .await;
        becomes(&bob, &room_id, &dave, "ban").await;
        assert_eq!(state_of(&alice, &room_id).await, state_of(&bob, &room_id).await);
        let path = room_path(&room_id, &format!("event/{}", path_segment(&said)));
        bob.get(path).await.error(404, "M_NOT_FOUND");
        let synced = bob.sync(None, 0).await;
        assert_eq!(synced["rooms"]["join"][&room_id]["summary"]["m.joined_member_count"], 3, "{synced}");
        join_via(&dave, &room_id, &[]).await.error(403, "M_FORBIDDEN");
        join_via(&erin, &room_id, &[&network[1]]).await.ok();
        becomes(&alice, &room_id, &erin, "join").await;
        network.shutdown().await;
    }

    async fn a_room_that_is_known_in_part_is_left_and_entered_again(db: TestDatabase) {
        let mut network = Network::start(&db, 2).await;
        let (alice, bob) = (network[0].register("alice").await, network[1].register("bob").await);
        let frank = network[1].register("frank").await;
        let room_id = alice.create_room(&json!({ "preset": "public_chat", "name": "Large" })).await;
        hold(&network[1], &room_id).await;
        for user in [&bob, &bob, &frank] {
            join_via(user, &room_id, &[&network[0]]).await.ok();
            user.send_text(&room_id, "here I am").await;
            becomes(&alice, &room_id, user, "join").await;
            user.post(room_path(&room_id, "leave")).json(&json!({})).await.ok();
            becomes(&alice, &room_id, user, "leave").await;
        }
        join_via(&bob, &room_id, &[&network[0]]).await.ok();
        release(network.get_mut(1)).await;
        let bob = network[1].again(&bob);
        eventually("all members are known", async || {
            let synced = bob.sync(None, 0).await;
            synced["rooms"]["join"].get(&room_id).map(drop)
        })
        .await;
        assert_eq!(state_of(&alice, &room_id).await, state_of(&bob, &room_id).await);
        alice.send_text(&room_id, "welcome back").await;
        is_shown(&bob, &room_id, "welcome back").await;
        network.shutdown().await;
    }
}
