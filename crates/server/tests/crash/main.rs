//! The program is killed at random moments while people send, and started again on what it left: whatever it has
//! acknowledged is there, once.
//!
//! A failure prints the seed of its random moments; `SYNAPSE_RUST_CRASH_SEED` repeats them, as far as the machine allows.
//! `SYNAPSE_RUST_CRASH_ROUNDS` makes the tests as long as one likes. `SYNAPSE_RUST_CRASH_CLAIMS` is how many one-time keys are claimed
//! at least, and `SYNAPSE_RUST_CRASH_SENDERS` and `…_READERS` how many there are of messages to devices.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod claims;
mod load;
mod messages;
mod people;
mod reading;
mod state;
mod upgrades;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use testing::{ServerProcess, on_both_databases};

use claims::Claims;
use messages::Messages;
use people::People;

const ROUNDS: u64 = 20;
/// Rounds in which keys are claimed, or messages sent to devices.
const CLAIM_ROUNDS: u64 = 3;
/// Later than elsewhere: many claims share a commit, and all have their answers behind it.
const CLAIMS_KILLED_AFTER_MS: std::ops::Range<u64> = 300..900;
const KILLED_AFTER_MS: std::ops::Range<u64> = 50..600;

on_both_databases! {
    async fn what_was_acknowledged_is_there_once_after_kills_at_random_moments(db: TestDatabase) {
        let seed = number_from("SYNAPSE_RUST_CRASH_SEED").unwrap_or_else(rand::random);
        println!("to repeat this: SYNAPSE_RUST_CRASH_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let settings = [("database", "synchronous", "full".into())];
        let mut server = ServerProcess::start_with(env!("CARGO_BIN_EXE_synapse-rust"), &db, &settings).await;
        let mut people = People::in_shared_rooms(&server.client()).await;
        for round in 0..number_from("SYNAPSE_RUST_CRASH_ROUNDS").unwrap_or(ROUNDS) {
            let started = Instant::now();
            let killed_after = Duration::from_millis(random.random_range(KILLED_AFTER_MS));
            let client = server.client();
            let load = people.load(&client, round, random.random());
            let kill = async {
                tokio::time::sleep(killed_after).await;
                server.kill().await
            };
            let (sent, _) = tokio::join!(load, kill);
            server.restart().await;
            let restarted = started.elapsed() - killed_after;

            println!("round {round}: killed after {killed_after:?}, ready {restarted:?} later; {}", sent.counts());
            people.check_after_restart(&server.client(), sent).await;
            println!("round {round}: took {:?}", started.elapsed());
        }
        people.check_from_the_beginning(&server.client()).await;
        assert_eq!(server.terminate().await.code(), Some(0), "{}", server.log());
    }

    async fn messages_to_devices_arrive_once_and_in_order_after_kills_at_random_moments(db: TestDatabase) {
        let seed = number_from("SYNAPSE_RUST_CRASH_SEED").unwrap_or_else(rand::random);
        println!("to repeat this: SYNAPSE_RUST_CRASH_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut server = ServerProcess::start(env!("CARGO_BIN_EXE_synapse-rust"), &db).await;
        let senders = number_from("SYNAPSE_RUST_CRASH_SENDERS").unwrap_or(20);
        let readers = number_from("SYNAPSE_RUST_CRASH_READERS").unwrap_or(8);
        let mut messages = Messages::new(&server.client(), senders, readers).await;
        for round in 0..number_from("SYNAPSE_RUST_CRASH_ROUNDS").unwrap_or(CLAIM_ROUNDS) {
            let killed_after = Duration::from_millis(random.random_range(KILLED_AFTER_MS));
            let client = server.client();
            let kill = async {
                tokio::time::sleep(killed_after).await;
                server.kill().await
            };
            tokio::join!(messages.load(&client), kill);
            server.restart().await;
            messages.check_after_restart(&server.client()).await;
            println!("round {round}: killed after {killed_after:?}; {} requests acknowledged so far", messages.sent());
        }
        assert_eq!(server.terminate().await.code(), Some(0), "{}", server.log());
    }

    async fn no_key_is_given_out_twice_or_lost_after_kills_at_random_moments(db: TestDatabase) {
        let seed = number_from("SYNAPSE_RUST_CRASH_SEED").unwrap_or_else(rand::random);
        println!("to repeat this: SYNAPSE_RUST_CRASH_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut server = ServerProcess::start(env!("CARGO_BIN_EXE_synapse-rust"), &db).await;
        let mut claims = Claims::new(&server.client()).await;
        let rounds = number_from("SYNAPSE_RUST_CRASH_ROUNDS").unwrap_or(CLAIM_ROUNDS);
        let wanted = number_from("SYNAPSE_RUST_CRASH_CLAIMS").unwrap_or(0);
        for round in 0_u64.. {
            if round >= rounds && claims.given() as u64 >= wanted {
                break;
            }
            let killed_after = Duration::from_millis(random.random_range(CLAIMS_KILLED_AFTER_MS));
            let client = server.client();
            claims.fill(&client, round).await;
            let kill = async {
                tokio::time::sleep(killed_after).await;
                server.kill().await
            };
            tokio::join!(claims.load(&client, random.random()), kill);
            server.restart().await;
            claims.check_after_restart(&server.client()).await;
            println!("round {round}: killed after {killed_after:?}; {} keys were given out so far", claims.given());
        }
        assert!(claims.given() > 0, "nothing was claimed before the server was killed");
        assert_eq!(server.terminate().await.code(), Some(0), "{}", server.log());
    }
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}
