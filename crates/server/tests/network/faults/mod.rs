//! Homeservers that share rooms through a network that loses, delays and repeats what they say, while some of them are away for a time.
//! Afterwards all of them agree on the rooms, have everything that anybody was told is sent, and have shown nothing twice.
//!
//! A failure prints its seed; `SYNAPSE_RUST_FAULTS_SEED` repeats it, as far as the machine allows. `SYNAPSE_RUST_FAULTS_SEEDS` tries as
//! many seeds as one likes, and `cargo xtask network-faults` sets both.

mod agreement;
mod cluster;
mod links;
mod trial;

use std::time::Instant;

use testing::{TestDatabase, on_both_databases};

use self::trial::Trial;

/// So many seeds are tried on each database, unless another number is asked for.
const SEEDS: u64 = 2;

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
        let first = number_from("SYNAPSE_RUST_FAULTS_SEED").unwrap_or_else(|| rand::random::<u32>().into());
        let mut failed = Vec::new();
        for seed in first..first + number_from("SYNAPSE_RUST_FAULTS_SEEDS").unwrap_or(SEEDS) {
            for wrong in play(&db, seed).await {
                println!("SYNAPSE_RUST_FAULTS_SEED={seed}: {wrong}");
                failed.push(seed);
            }
        }
        failed.dedup();
        assert!(failed.is_empty(), "the homeservers do not agree after the faults of these seeds: {failed:?}");
    }
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}
