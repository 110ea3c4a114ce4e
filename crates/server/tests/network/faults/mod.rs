//! Homeservers that share rooms through a network that loses, delays and repeats what they say, while some of them are away for a time.
//! Afterwards all of them agree on the rooms, have everything that anybody was told is sent, and have shown nothing twice.
//!
//! A failure prints its seed; `SYNAPSE_RUST_FAULTS_SEED` repeats it, as far as the machine allows. `SYNAPSE_RUST_FAULTS_SEEDS` tries as
//! many seeds as one likes, and `cargo xtask network-faults` sets both.

mod agreement;
mod cluster;
mod links;
mod trial;

use std::collections::BTreeSet;
use std::time::Instant;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;
use testing::{TestDatabase, eventually, on_both_databases};

use self::cluster::Cluster;
use self::trial::Trial;
use crate::world::{becomes, join_via, room_path};

/// The seeds that are tried on each database, unless others are asked for. Always the same: this test is about what has worked, and the
/// command is there to find what does not.
const FIRST_SEED: u64 = 11;
const SEEDS: u64 = 1;

/// Plays the faults of one seed. Returns what was wrong afterwards.
async fn play(db: &TestDatabase, seed: u64) -> Vec<String> {
    let started = Instant::now();
    println!("to repeat this: SYNAPSE_RUST_FAULTS_SEED={seed}");
    let mut trial = Trial::start(db, seed).await;
    let ready = started.elapsed();
    trial.play().await;
    let played = started.elapsed();
    let wrong = trial.end().await;
    println!("seed {seed}: ready {ready:?}, played {:?}, agreed {:?}", played - ready, started.elapsed() - played);
    wrong
}

on_both_databases! {
    async fn homeservers_agree_after_faults(db: TestDatabase) {
        let first = number_from("SYNAPSE_RUST_FAULTS_SEED").unwrap_or(FIRST_SEED);
        let mut failed = Vec::new();
        for seed in first..first + number_from("SYNAPSE_RUST_FAULTS_SEEDS").unwrap_or(SEEDS) {
            for wrong in Box::pin(play(&db, seed)).await {
                println!("SYNAPSE_RUST_FAULTS_SEED={seed}: {wrong}");
                failed.push(seed);
            }
        }
        failed.dedup();
        assert!(failed.is_empty(), "the homeservers do not agree after the faults of these seeds: {failed:?}");
    }
}

on_both_databases! {
    async fn a_homeserver_that_was_not_reached_is_told_later_what_it_may_know(db: TestDatabase) {
        let mut cluster = Cluster::start(&db, &mut StdRng::seed_from_u64(1)).await;
        let (alice, bob) = (cluster.servers[0].register("alice").await, cluster.servers[1].register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let via_first = [&cluster.servers[0]];
        join_via(&bob, &room_id, &via_first).await.ok();
        let read = alice.send_text(&room_id, "one").await;
        let link = cluster.link(0, 1);
        eventually("the first message", async || link.messages().iter().any(|body| body == "one").then_some(())).await;

        // The second homeserver still reaches the first one, but not the other way round.
        link.cut();
        alice.send_text(&room_id, "two").await;
        alice.post(room_path(&room_id, &format!("receipt/m.read/{read}"))).json(&json!({})).await.ok();
        bob.post(room_path(&room_id, "leave")).json(&json!({})).await.ok();
        becomes(&alice, &room_id, &bob, "leave").await;
        alice.send_text(&room_id, "three").await;
        join_via(&bob, &room_id, &via_first).await.ok();
        alice.send_text(&room_id, "four").await;
        cluster.heal().await;
        let link = cluster.link(0, 1);
        eventually("the last message", async || link.messages().iter().any(|body| body == "four").then_some(())).await;
        let messages: BTreeSet<String> = link.messages().into_iter().collect();
        assert_eq!(messages, BTreeSet::from(["four", "one", "two"].map(ToOwned::to_owned)));
        eventually("Alice's receipt", async || {
            let synced = bob.sync(None, 0).await;
            let events = synced["rooms"]["join"][&room_id]["ephemeral"]["events"].as_array()?;
            events.iter().find_map(|event| event["content"][&read]["m.read"].get(&alice.id).map(drop))
        })
        .await;
        cluster.shutdown().await;
    }
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}
