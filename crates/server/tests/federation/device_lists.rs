//! `m.device_list_update` of another server, and what is kept of its users' keys.

use serde_json::{Value, json};
use testing::{User, eventually, on_both_databases, path_segment};

use crate::remote_user::{BOB, RemoteUser};
use crate::{V3, servers};

const QUERY: &str = "/_matrix/federation/v1/user/keys/query";

fn keys(device_id: &str) -> Value {
    json!({ "user_id": BOB, "device_id": device_id, "algorithms": [], "keys": {}, "signatures": {} })
}

fn devices(stream_id: i64, device_ids: &[&str]) -> String {
    let devices = device_ids.iter().map(|device_id| json!({ "device_id": device_id, "keys": keys(device_id) }));
    json!({ "user_id": BOB, "stream_id": stream_id, "devices": devices.collect::<Vec<_>>() }).to_string()
}

fn update(user_id: &str, device_id: &str, stream_id: i64, prev_id: &[i64]) -> Value {
    let content = json!({
        "user_id": user_id, "device_id": device_id, "stream_id": stream_id, "prev_id": prev_id, "keys": keys(device_id),
    });
    json!({ "edu_type": "m.device_list_update", "content": content })
}

/// The devices whose keys are told of bob.
async fn known(user: &User) -> Vec<String> {
    let answer = user.post(format!("{V3}/keys/query")).json(&json!({ "device_keys": { BOB: [] } })).await.ok();
    answer["device_keys"][BOB].as_object().map(|devices| devices.keys().cloned().collect()).unwrap_or_default()
}

/// Waits until the user is told that bob's keys have changed.
async fn is_told(user: &User, since: &mut String) {
    eventually("bob's keys have changed", async || {
        let synced = user.sync(Some(since), 1_000).await;
        *since = synced["next_batch"].as_str().unwrap().to_owned();
        synced["device_lists"]["changed"].as_array()?.contains(&json!(BOB)).then_some(())
    })
    .await;
}

on_both_databases! {
    async fn a_change_that_follows_is_taken_over_and_after_a_missing_one_all_keys_are_asked_for(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let bob = RemoteUser::join(&server, &remote, &alice).await;
        let mut since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        let path = format!("/_matrix/federation/v1/user/devices/{}", path_segment(BOB));
        let told = async |id: &str, edus: &[Value]| {
            bob.transaction(id, &json!({ "pdus": [], "edus": edus })).await.ok();
        };

        remote.answer(&path, 200, devices(5, &["A"]));
        told("a", &[update(BOB, "A", 5, &[])]).await;
        is_told(&alice, &mut since).await;
        assert_eq!(known(&alice).await, ["A"]);
        told("b", &[update(BOB, "B", 6, &[5]), update(BOB, "C", 7, &[6])]).await;
        is_told(&alice, &mut since).await;
        assert_eq!(known(&alice).await, ["A", "B", "C"]);
        // What is told again, and what a server says of others' users, changes nothing.
        let strange = json!({ "edu_type": "m.device_list_update", "content": { "user_id": BOB.len() } });
        told("c", &[update(BOB, "D", 7, &[6]), update(&alice.id, "D", 8, &[7]), strange]).await;
        assert_eq!(known(&alice).await, ["A", "B", "C"]);
        assert_eq!((remote.requests(&path).len(), remote.requests(QUERY).len()), (1, 0));

        remote.answer(&path, 200, devices(9, &["B"]));
        told("d", &[update(BOB, "B", 9, &[8])]).await;
        is_told(&alice, &mut since).await;
        assert_eq!(known(&alice).await, ["B"]);

        // Nobody tells of changes any more when no room is shared.
        alice.post(format!("{V3}/rooms/{}/leave", path_segment(&bob.room_id))).json(&json!({})).await.ok();
        remote.answer(QUERY, 200, json!({ "device_keys": { BOB: { "E": keys("E") } } }).to_string());
        assert_eq!(known(&alice).await, ["E"]);
        server.shutdown().await;
    }
}
