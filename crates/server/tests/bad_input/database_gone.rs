//! A database that is gone: 503 soon, and everything as before once it is back.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use testing::{Answer, Request, TestDatabase, TestServer, User, path_segment};
use tokio::time::{Instant, sleep, timeout};

use crate::relay::{Line, Relay};

/// How long a request may take to find out that the database is gone.
const NOTICE_LIMIT: Duration = Duration::from_secs(15);
/// How long after the database is back everything must work again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(10);
/// The pause before a request is repeated.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

struct Scene {
    server: TestServer,
    alice: User,
    bob: User,
    room_id: String,
    relay: Relay,
    // Last, because the others use it.
    _db: TestDatabase,
}

impl Scene {
    async fn new() -> Self {
        let db = TestDatabase::postgres().await;
        let relay = Relay::new(db.url()).await;
        let server = TestServer::start_with(&db, &[("database", "url", relay.url().into())]).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room_id).await;
        alice.send_text(&room_id, "before").await;
        Self { server, alice, bob, room_id, relay, _db: db }
    }

    fn send(&self, transaction: &str) -> Request {
        let room = path_segment(&self.room_id);
        let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{transaction}");
        self.alice.put(path).json(&json!({ "msgtype": "m.text", "body": transaction }))
    }

    /// Requests that read, that write, that do both, and that need an unknown token looked up.
    fn requests(&self, number: usize) -> Vec<Request> {
        let data = format!("/_matrix/client/v3/user/{}/account_data/org.example", path_segment(&self.alice.id));
        vec![
            self.send(&format!("gone{number}")),
            self.alice.get("/_matrix/client/v3/devices"),
            self.alice.get("/_matrix/client/v3/sync?timeout=0"),
            self.alice.put(data).json(&json!({ "a": 1 })),
            self.alice.post("/_matrix/client/v3/createRoom").json(&json!({})),
            self.server.client().get("/_matrix/client/v3/account/whoami").token("unknown"),
            self.server.client().post("/_matrix/client/v3/login").json(&json!({
                "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "bob" }, "password": "password of bob",
            })),
        ]
    }

    async fn is_healthy(&self) -> bool {
        self.server.client().get("/health").await.status == 200
    }

    /// Sends until it is answered, as a client does.
    async fn send_until_answered(&self, transaction: &str) -> String {
        let deadline = Instant::now() + RECOVERY_LIMIT;
        loop {
            let answer = self.send(transaction).await;
            if answer.status == 200 {
                return answer.json["event_id"].as_str().unwrap().to_owned();
            }
            assert_eq!(answer.status, 503, "{answer}");
            assert!(Instant::now() < deadline, "still not sent: {answer}");
            sleep(POLL_INTERVAL).await;
        }
    }

    /// The event IDs of all messages that Bob finds after `since`: by sync, and what sync leaves out by paginating.
    async fn messages_since(&self, since: &str) -> Vec<String> {
        let room = path_segment(&self.room_id);
        let synced = self.bob.sync(Some(since), 0).await;
        let mut seen = messages(&synced, &self.room_id);
        let timeline = &synced["rooms"]["join"][&self.room_id]["timeline"];
        let is_limited = timeline["limited"].as_bool().unwrap_or(false);
        let mut from = is_limited.then(|| timeline["prev_batch"].as_str().unwrap().to_owned());
        while let Some(token) = from.take() {
            let path =
                format!("/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=100&from={}", path_segment(&token));
            let page = self.bob.get(path).await.ok();
            seen.extend(ids(&page["chunk"]));
            from = page["end"].as_str().map(str::to_owned);
        }
        seen
    }

    async fn recover(&mut self) {
        self.relay.set(Line::Open).await;
        let deadline = Instant::now() + RECOVERY_LIMIT;
        while !self.is_healthy().await {
            assert!(Instant::now() < deadline, "still unhealthy");
            sleep(POLL_INTERVAL).await;
        }
        self.send_until_answered("recovered").await;
    }
}

#[track_caller]
fn is_unavailable(answer: Answer) {
    assert_eq!(answer.headers.get("access-control-allow-origin").unwrap(), "*", "{answer}");
    assert!(answer.headers.contains_key("retry-after"), "{answer}");
    answer.error(503, "M_UNKNOWN");
}

/// The event IDs of messages in `room_id`, in the order of the timeline.
fn messages(sync: &Value, room_id: &str) -> Vec<String> {
    ids(&sync["rooms"]["join"][room_id]["timeline"]["events"])
}

fn ids(events: &Value) -> Vec<String> {
    let events = events.as_array().into_iter().flatten();
    let messages = events.filter(|event| event["type"] == "m.room.message");
    messages.map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

async fn everything_is_unavailable_and_comes_back(line: Line) {
    let mut scene = Scene::new().await;
    let since = scene.bob.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
    scene.relay.set(line).await;
    for round in 0..2 {
        let started = Instant::now();
        let requests: Vec<_> = scene.requests(round).into_iter().map(|it| tokio::spawn(it.into_future())).collect();
        for request in requests {
            let answer = timeout(NOTICE_LIMIT, request).await.unwrap_or_else(|_| panic!("a request hangs")).unwrap();
            println!("{:?}: {answer}", started.elapsed());
            // What is in memory may be read without the database.
            if !answer.to_string().starts_with("GET") || answer.status != 200 {
                is_unavailable(answer);
            }
        }
        assert!(!scene.is_healthy().await);
        scene.server.client().get("/_matrix/client/versions").await.ok();
    }
    // All at once, more than there are connections to the database.
    let started = Instant::now();
    let many: Vec<_> =
        (0..200).map(|number| tokio::spawn(scene.send(&format!("many{number}")).into_future())).collect();
    for answer in many {
        is_unavailable(answer.await.unwrap());
    }
    assert!(started.elapsed() < 2 * NOTICE_LIMIT, "{:?}", started.elapsed());

    scene.recover().await;
    let mut expected = BTreeSet::new();
    for number in 0..20 {
        expected.insert(scene.send_until_answered(&format!("many{number}")).await);
    }
    for request in scene.requests(9) {
        let answer = request.await;
        assert!(answer.status == 200 || answer.status == 401, "{answer}");
    }
    let seen = scene.messages_since(&since).await;
    let seen_once: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!(seen.len(), seen_once.len(), "something was sent twice");
    assert!(expected.is_subset(&seen_once), "{expected:?} were answered, {seen_once:?} are there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_refuses_connections_is_a_503_until_it_is_back() {
    Box::pin(everything_is_unavailable_and_comes_back(Line::Cut)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_no_longer_answers_is_a_503_until_it_does() {
    Box::pin(everything_is_unavailable_and_comes_back(Line::Silent)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_reaches_those_who_wait() {
    let mut scene = Scene::new().await;
    let mut since = scene.bob.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
    for round in 0..3 {
        scene.relay.set(Line::CutBeforeAnswerToCommit).await;
        let before = scene.relay.swallowed_commits();
        let lost = format!("lost{round}");
        is_unavailable(scene.send(&lost).await);
        assert_eq!(scene.relay.swallowed_commits(), before + 1, "the commit was not reached");
        scene.relay.set(Line::Open).await;
        // The event is there: who repeats the request gets it, and who waits for something new is woken by it.
        let event_id = scene.send_until_answered(&lost).await;
        let mut seen = Vec::new();
        let deadline = Instant::now() + RECOVERY_LIMIT;
        while !seen.contains(&event_id) {
            assert!(Instant::now() < deadline, "{event_id} was answered, but is in nobody's sync");
            let synced = scene.bob.sync(Some(&since), 1_000).await;
            seen.extend(messages(&synced, &scene.room_id));
            since = synced["next_batch"].as_str().unwrap().to_owned();
        }
        assert_eq!(seen.iter().filter(|seen| **seen == event_id).count(), 1);
        let next = scene.send_until_answered(&format!("next{round}")).await;
        assert!(messages(&scene.bob.sync(Some(&since), 1_000).await, &scene.room_id).contains(&next));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_the_database_comes_and_goes() {
    const SENDERS: usize = 8;
    let mut scene = Scene::new().await;
    let since = scene.bob.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
    let stop = Instant::now() + Duration::from_secs(6);
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (client, token, room) =
                (scene.server.client(), scene.alice.token.clone(), path_segment(&scene.room_id));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    if Instant::now() > stop {
                        break;
                    }
                    let path = format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/s{sender}n{number}");
                    // As a client does: again, with the same transaction ID, until it is answered.
                    loop {
                        let answer = client.put(&path).token(&token).json(&json!({ "body": "x" })).await;
                        if answer.status == 200 {
                            acknowledged.push(answer.json["event_id"].as_str().unwrap().to_owned());
                            break;
                        }
                        assert_eq!(answer.status, 503, "{answer}");
                        sleep(POLL_INTERVAL).await;
                    }
                }
                acknowledged
            })
        })
        .collect();
    let lines = [Line::Cut, Line::CutBeforeAnswerToCommit];
    for round in 0.. {
        if Instant::now() > stop {
            break;
        }
        sleep(Duration::from_millis(250)).await;
        scene.relay.set(lines[round % lines.len()]).await;
        sleep(Duration::from_millis(150)).await;
        scene.relay.set(Line::Open).await;
    }
    let mut acknowledged = Vec::new();
    for sender in senders {
        acknowledged.extend(sender.await.unwrap());
    }
    let expected: BTreeSet<_> = acknowledged.iter().cloned().collect();
    assert_eq!(expected.len(), acknowledged.len(), "two requests were answered with the same event");
    assert!(acknowledged.len() > SENDERS, "hardly anything was sent");

    let seen = scene.messages_since(&since).await;
    let seen_once: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!(seen.len(), seen_once.len(), "something is in the timeline twice");
    let lost: Vec<_> = expected.difference(&seen_once).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged events are lost: {lost:?}", lost.len(), expected.len());
}
