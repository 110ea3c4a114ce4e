//! SIGTERM while people are sending: whatever was asked is answered, and what was not answered has not happened.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rand::Rng as _;
use serde_json::json;
use testing::{Client, ServerProcess, User, on_both_databases, path_segment};

const ROUNDS: usize = 5;
const SENDERS: usize = 16;
const WAITING: usize = 4;
/// Far less than what the server may wait for requests that do not end.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

on_both_databases! {
    async fn what_was_asked_before_sigterm_is_answered(db: TestDatabase) {
        let mut server = ServerProcess::start(env!("CARGO_BIN_EXE_synapse-rust"), &db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        for round in 0..ROUNDS {
            let client = server.client();
            let is_signalled = AtomicBool::new(false);
            let senders = (0..SENDERS).map(|sender| {
                let sender = Sender { client: &client, alice: &alice, is_signalled: &is_signalled, number: sender };
                sender.send_all(&room, round)
            });
            let since = alice_since(&client, &alice).await;
            let waiting = (0..WAITING).map(|_| wait(&client, &alice, &since));
            let stop = async {
                let delay = Duration::from_millis(rand::rng().random_range(100..400));
                tokio::time::sleep(delay).await;
                is_signalled.store(true, Ordering::SeqCst);
                let signalled = Instant::now();
                let status = server.terminate().await;
                assert_eq!(status.code(), Some(0), "{}", server.log());
                assert!(signalled.elapsed() < STOPS_WITHIN, "it took {:?} to stop", signalled.elapsed());
            };
            let (sent, _, ()) = tokio::join!(join_all(senders), join_all(waiting), stop);

            server.restart().await;
            let sent: BTreeSet<_> = sent.into_iter().flatten().collect();
            let found = messages(&server.client(), &alice, &room, &format!("{round}-")).await;
            assert_eq!(found, sent, "what was answered in round {round}");
            println!("round {round}: {} messages", sent.len());
        }
    }
}

/// One of those who send.
struct Sender<'a> {
    client: &'a Client,
    alice: &'a User,
    is_signalled: &'a AtomicBool,
    number: usize,
}

impl Sender<'_> {
    /// Sends until the server is gone, and gives what was answered.
    async fn send_all(self, room_id: &str, round: usize) -> Vec<String> {
        let mut answered = Vec::new();
        for count in 0_u64.. {
            let text = format!("{round}-{}-{count}", self.number);
            let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{text}", path_segment(room_id));
            let body = json!({ "msgtype": "m.text", "body": text });
            let mut request = self.client.put(path).token(&self.alice.token).json(&body);
            // Half of them keep their connection, the others come with a new one each time.
            if self.number.is_multiple_of(2) {
                request = request.header(http::header::CONNECTION, "close");
            }
            let is_early = !self.is_signalled.load(Ordering::SeqCst);
            match request.send().await {
                Ok(answer) => {
                    answer.ok();
                    answered.push(text);
                }
                Err(unanswered) => {
                    let is_refused = unanswered.to_string().contains("Connection refused");
                    assert!(is_refused || !is_early, "asked before the signal: {unanswered}");
                    break;
                }
            }
        }
        answered
    }
}

async fn alice_since(client: &Client, alice: &User) -> String {
    let sync = client.get("/_matrix/client/v3/sync").token(&alice.token).await.ok();
    sync["next_batch"].as_str().unwrap().to_owned()
}

/// Waits longer than the test takes for something that nobody sends; it is answered all the same.
async fn wait(client: &Client, alice: &User, since: &str) {
    let filter = path_segment(&json!({ "room": { "rooms": [] } }).to_string());
    let path = format!("/_matrix/client/v3/sync?timeout=60000&since={}&filter={filter}", path_segment(since));
    client.get(path).token(&alice.token).await.ok();
}

/// The texts of the messages in a room that begin with `prefix`.
async fn messages(client: &Client, alice: &User, room_id: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut from = String::new();
    loop {
        let path = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=500{from}", path_segment(room_id));
        let page = client.get(path).token(&alice.token).await.ok();
        let texts = page["chunk"].as_array().unwrap().iter().filter_map(|event| event["content"]["body"].as_str());
        found.extend(texts.filter(|text| text.starts_with(prefix)).map(str::to_owned));
        match page["end"].as_str() {
            Some(end) => from = format!("&from={}", path_segment(end)),
            None => return found,
        }
    }
}
