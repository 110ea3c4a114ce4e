//! Messages to devices are sent and fetched while the server is killed: each arrives once, and those of a sender in their order.

use std::collections::HashMap;

use futures::future::join_all;
use serde_json::{Value, json};
use testing::{Client, User, path_segment};

const V3: &str = "/_matrix/client/v3";

/// Somebody who sends numbered messages to all devices of all readers.
struct Sender {
    user: User,
    /// How many were acknowledged.
    sent: u64,
}

/// A device that fetches its messages.
struct Reader {
    user: User,
    since: Option<String>,
    /// How many messages it has of each sender.
    got: HashMap<String, u64>,
}

/// Who sends messages to whom.
pub(crate) struct Messages {
    senders: Vec<Sender>,
    readers: Vec<Reader>,
}

impl Messages {
    pub(crate) async fn new(client: &Client, senders: u64, readers: u64) -> Self {
        let register = async |what: &str, count: u64| {
            let names: Vec<String> = (0..count).map(|number| format!("{what}{number}")).collect();
            join_all(names.iter().map(|name| User::register(client, name))).await
        };
        let senders = register("sender", senders).await.into_iter().map(|user| Sender { user, sent: 0 });
        let readers = register("reader", readers).await.into_iter();
        let readers = readers.map(|user| Reader { user, since: None, got: HashMap::new() });
        Self { senders: senders.collect(), readers: readers.collect() }
    }

    /// How many messages were acknowledged.
    pub(crate) fn sent(&self) -> u64 {
        self.senders.iter().map(|sender| sender.sent).sum()
    }

    /// Sends and fetches until the server is gone.
    pub(crate) async fn load(&mut self, client: &Client) {
        let to_all: Vec<String> = self.readers.iter().map(|reader| reader.user.id.clone()).collect();
        let to_all = &to_all;
        let sending = self.senders.iter_mut().map(|sender| async move { while sender.send(client, to_all).await {} });
        let reading = self.readers.iter_mut().map(|reader| async move { while reader.read(client).await.is_some() {} });
        tokio::join!(join_all(sending), join_all(reading));
    }

    /// Repeats what had no answer, fetches everything, and counts.
    pub(crate) async fn check_after_restart(&mut self, client: &Client) {
        let to_all: Vec<String> = self.readers.iter().map(|reader| reader.user.id.clone()).collect();
        let repeated = join_all(self.senders.iter_mut().map(|sender| sender.send(client, &to_all))).await;
        assert!(repeated.into_iter().all(|is_sent| is_sent));
        let reading =
            self.readers.iter_mut().map(|reader| async move { while reader.read(client).await.unwrap() > 0 {} });
        join_all(reading).await;
        for reader in &self.readers {
            for sender in &self.senders {
                let got = reader.got.get(&sender.user.id).copied().unwrap_or(0);
                assert_eq!(got, sender.sent, "{} has not got all messages of {}", reader.user.id, sender.user.id);
            }
        }
    }
}

impl Sender {
    /// Sends the next message, or sends it again; whether it was acknowledged.
    async fn send(&mut self, client: &Client, to_all: &[String]) -> bool {
        let number = self.sent;
        let messages = to_all.iter().map(|user_id| (user_id.clone(), json!({ "*": { "number": number } })));
        let messages: serde_json::Map<String, Value> = messages.collect();
        let path = format!("{V3}/sendToDevice/test.numbered/{number}");
        let request = client.put(path).token(&self.user.token).json(&json!({ "messages": messages }));
        let Ok(answer) = request.send().await else { return false };
        answer.ok();
        self.sent += 1;
        true
    }
}

impl Reader {
    /// Fetches messages; how many there were, if there was an answer.
    async fn read(&mut self, client: &Client) -> Option<usize> {
        let since = self.since.as_deref().map(|since| format!("&since={}", path_segment(since))).unwrap_or_default();
        let path = format!("{V3}/sync?timeout=0{since}");
        let answer = client.get(path).token(&self.user.token).send().await.ok()?.ok();
        self.since = Some(answer["next_batch"].as_str().unwrap().to_owned());
        let events = answer["to_device"]["events"].as_array().map_or(&[][..], Vec::as_slice);
        for event in events {
            let sender = event["sender"].as_str().unwrap();
            let expected = self.got.entry(sender.to_owned()).or_default();
            let number = event["content"]["number"].as_u64().unwrap();
            assert_eq!(number, *expected, "the next message of {sender} to {} is another one", self.user.id);
            *expected += 1;
        }
        Some(events.len())
    }
}
