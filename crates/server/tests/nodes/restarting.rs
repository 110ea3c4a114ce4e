//! Servers that are replaced one after the other, behind a proxy that asks another one where one does not answer.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use testing::{Answer, Client, Request, User, path_segment};
use tokio::time::sleep;

use crate::world::{Nodes, PATIENCE, room_of_two, room_path};

const SENDERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);

/// Gives each request to the next server, and to another one if that does not answer it or says 503. Requests can be repeated.
#[derive(Clone)]
struct Proxy {
    clients: Arc<Mutex<Vec<Client>>>,
    next: Arc<AtomicUsize>,
}

impl Proxy {
    fn new(nodes: &Nodes) -> Self {
        let proxy = Self { clients: Arc::default(), next: Arc::default() };
        proxy.points_to(nodes);
        proxy
    }

    fn points_to(&self, nodes: &Nodes) {
        *self.clients.lock().unwrap() = nodes.servers.iter().map(testing::ServerProcess::client).collect();
    }

    async fn ask(&self, request: impl Fn(&Client) -> Request) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let client = {
                let clients = self.clients.lock().unwrap();
                clients[self.next.fetch_add(1, Ordering::Relaxed) % clients.len()].clone()
            };
            match request(&client).send().await {
                Ok(answer) if answer.status != 503 => return answer,
                other => assert!(Instant::now() < deadline, "nobody answers: {other:?}"),
            }
            sleep(PAUSE).await;
        }
    }
}

async fn keep_sending(
    proxy: Proxy,
    user: User,
    room_id: String,
    sender: usize,
    is_over: Arc<AtomicBool>,
) -> Vec<String> {
    let mut sent = Vec::new();
    for count in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let path = room_path(&room_id, &format!("send/m.room.message/s{sender}n{count}"));
        let message = json!({ "msgtype": "m.text", "body": format!("{sender} {count}") });
        let answer = proxy.ask(|client| client.put(&path).token(&user.token).json(&message)).await;
        sent.push(answer.ok()["event_id"].as_str().unwrap().to_owned());
    }
    sent
}

/// Follows until an event has come, and returns all that came.
async fn keep_following(
    proxy: Proxy,
    user: User,
    room_id: String,
    since: String,
    last: Arc<Mutex<Option<String>>>,
) -> Vec<String> {
    let filter = path_segment(r#"{"room":{"timeline":{"limit":500}}}"#);
    let (mut seen, mut since) = (Vec::new(), since);
    loop {
        let path = format!("/_matrix/client/v3/sync?timeout=1000&filter={filter}&since={}", path_segment(&since));
        let answer = proxy.ask(|client| client.get(&path).token(&user.token)).await.ok();
        let room = &answer["rooms"]["join"][&room_id]["timeline"];
        assert_ne!(room["limited"], true, "{room}");
        let events = room["events"].as_array();
        seen.extend(events.into_iter().flatten().map(|event| event["event_id"].as_str().unwrap().to_owned()));
        answer["next_batch"].as_str().unwrap().clone_into(&mut since);
        if last.lock().unwrap().as_ref().is_some_and(|last| seen.contains(last)) {
            return seen;
        }
    }
}

/// People send and follow while `disturb` does something to the servers. Every message is there once, for everybody.
async fn nothing_is_lost_while(mut nodes: Nodes, disturb: impl AsyncFn(&mut Nodes, &dyn Fn(&Nodes))) {
    let (alice, bob, room_id) = room_of_two(&nodes).await;
    let since = bob.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
    let proxy = Proxy::new(&nodes);
    let (is_over, last) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
    let anywhere = nodes.servers[0].client();
    let senders = (0..SENDERS).map(|sender| {
        let sending = keep_sending(proxy.clone(), alice.at(&anywhere), room_id.clone(), sender, is_over.clone());
        tokio::spawn(sending)
    });
    let senders: Vec<_> = senders.collect();
    let following = keep_following(proxy.clone(), bob.at(&anywhere), room_id.clone(), since, last.clone());
    let following = tokio::spawn(following);
    sleep(Duration::from_millis(500)).await;
    let points_to = |nodes: &Nodes| proxy.points_to(nodes);
    disturb(&mut nodes, &points_to).await;
    sleep(Duration::from_millis(500)).await;
    is_over.store(true, Ordering::Relaxed);
    let mut sent = Vec::new();
    for sender in senders {
        sent.extend(sender.await.unwrap());
    }
    let end = nodes.at(0, &alice).send_text(&room_id, "the end").await;
    *last.lock().unwrap() = Some(end.clone());
    let seen = following.await.unwrap();
    assert!(sent.len() > 20, "only {} messages were sent", sent.len());
    for event_id in &sent {
        assert_eq!(seen.iter().filter(|id| *id == event_id).count(), 1, "{event_id}");
    }
    assert_eq!(seen.len(), sent.len() + 1);
    let checked = nodes.servers[0].run(&["room", "check", &room_id]).await;
    assert!(checked.status.success(), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_request() {
    let nodes = Nodes::start(2).await;
    nothing_is_lost_while(nodes, async |nodes, points_to| {
        for server in [0, 1, 0] {
            assert!(nodes.servers[server].terminate().await.success());
            sleep(Duration::from_millis(300)).await;
            nodes.servers[server].restart().await;
            points_to(nodes);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_replaced_loses_nothing() {
    let nodes = Nodes::start(2).await;
    nothing_is_lost_while(nodes, async |nodes, points_to| {
        for server in [1, 0] {
            nodes.servers[server].kill().await;
            sleep(Duration::from_millis(500)).await;
            nodes.servers[server].restart().await;
            points_to(nodes);
            sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
}
