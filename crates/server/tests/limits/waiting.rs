use std::time::Duration;

use serde_json::json;
use testing::{Answer, on_both_databases};

use crate::{V3, join, log_in, only, public_room, refused, send, server_with};

/// More than any machine can do before there is a refusal.
const ATTEMPTS: usize = 200;

/// Does it until it is refused, waits for as long as the server says, and does it again.
async fn works_again_after_the_time(attempt: impl AsyncFn(usize) -> Answer, status: u16) {
    let mut refusal = None;
    for number in 0..ATTEMPTS {
        let answer = attempt(number).await;
        if answer.status != status {
            refusal = Some(answer);
            break;
        }
    }
    let wait_ms = refused(refusal.unwrap());
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    let again = attempt(ATTEMPTS).await;
    assert_eq!(again.status, status, "{again}");
}

on_both_databases! {
    async fn messages_are_possible_again_after_the_time_that_was_told(db: TestDatabase) {
        let server = server_with(&db, &only("message", 2.0, 1)).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&alice).await;
        join(&bob, &room).await;
        works_again_after_the_time(async |number| send(&alice, &room, &number.to_string()).await, 200).await;
    }

    async fn requests_of_an_address_are_possible_again_after_the_time_that_was_told(db: TestDatabase) {
        let server = server_with(&db, &only("registration_available", 2.0, 2)).await;
        let client = server.client();
        let path = format!("{V3}/register/available?username=alice");
        works_again_after_the_time(async |_| client.get(&path).await, 200).await;
    }

    async fn guesses_are_possible_again_after_the_time_that_was_told(db: TestDatabase) {
        let server = server_with(&db, &only("login.failed_attempts", 2.0, 1)).await;
        let client = server.client();
        server.register("alice").await;
        works_again_after_the_time(async |_| log_in(&client, "alice", "wrong").await, 403).await;
    }

    async fn joins_of_a_room_are_possible_again_after_the_time_that_was_told(db: TestDatabase) {
        let server = server_with(&db, &only("joins_per_room", 2.0, 1)).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&alice).await;
        let leave = format!("{V3}/rooms/{room}/leave");
        let attempt = async |_| {
            bob.post(&leave).json(&json!({})).await;
            join(&bob, &room).await
        };
        works_again_after_the_time(attempt, 200).await;
    }
}
