//! People who send messages, and repeat what was not accepted, as clients do.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use testing::{Client, ServerProcess, User, path_segment};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::PATIENCE;

const SENDERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);

/// Messages on their way into one room until it is stopped.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    refused: Arc<Mutex<usize>>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(client: &Client, user: &User, room_id: &str) -> Self {
        let mut load = Self {
            is_over: Arc::default(),
            acknowledged: Arc::default(),
            refused: Arc::default(),
            senders: Vec::new(),
        };
        for sender in 0..SENDERS {
            let (is_over, acknowledged, refused) =
                (load.is_over.clone(), load.acknowledged.clone(), load.refused.clone());
            let (client, token, room) = (client.clone(), user.token.clone(), path_segment(room_id));
            load.senders.push(tokio::spawn(async move {
                for number in 0.. {
                    let text = format!("load {sender}-{number}");
                    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/l{sender}n{number}");
                    // Also at the end: whoever does not know whether a message was taken asks again.
                    loop {
                        let message = json!({ "msgtype": "m.text", "body": text });
                        let answer = client.put(&path).token(&token).json(&message).await;
                        if answer.status == 200 {
                            acknowledged.lock().unwrap().push(text);
                            break;
                        }
                        answer.error(503, "M_UNKNOWN");
                        *refused.lock().unwrap() += 1;
                        sleep(PAUSE).await;
                    }
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            }));
        }
        load
    }

    pub(crate) fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Waits until `count` more messages were acknowledged.
    pub(crate) async fn proceeds_by(&self, count: usize) {
        let before = self.acknowledged().len();
        self.waits_for("more messages", || self.acknowledged().len() >= before + count).await;
    }

    /// Waits until messages are refused.
    pub(crate) async fn is_refused(&self) {
        let before = *self.refused.lock().unwrap();
        self.waits_for("refusals", || *self.refused.lock().unwrap() > before).await;
    }

    async fn waits_for(&self, what: &str, is_there: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_there() {
            assert!(Instant::now() < deadline, "no {what}");
            assert!(self.senders.iter().all(|sender| !sender.is_finished()), "a sender has failed");
            sleep(PAUSE).await;
        }
    }

    /// Ends the load; everything that was acknowledged.
    pub(crate) async fn finish(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Relaxed);
        for sender in self.senders {
            sender.await.unwrap();
        }
        Arc::into_inner(self.acknowledged).unwrap().into_inner().unwrap()
    }
}

/// The texts of all messages in a room, the newest first.
pub(crate) async fn messages(user: &User, room_id: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut from = String::new();
    loop {
        let path = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=500{from}", path_segment(room_id));
        let page = user.get(path).await.ok();
        let texts = page["chunk"].as_array().unwrap().iter().filter_map(|event| event["content"]["body"].as_str());
        found.extend(texts.map(str::to_owned));
        match page["end"].as_str() {
            Some(end) => from = format!("&from={}", path_segment(end)),
            None => return found,
        }
    }
}

/// Fails unless all of `expected` are in the room once.
pub(crate) async fn are_there_once(user: &User, room_id: &str, expected: &[String]) {
    let found = messages(user, room_id).await;
    for text in expected {
        let times = found.iter().filter(|found| *found == text).count();
        assert_eq!(times, 1, "{text:?} was acknowledged and is there {times} times");
    }
}

/// Fails unless all that is stored of a room follows from its events.
pub(crate) async fn is_undamaged(server: &ServerProcess, room_id: &str) {
    let checked = server.run(&["room", "check", room_id]).await;
    assert!(checked.status.success(), "{checked:?}");
}
