//! No file descriptors left.

use std::{fs, time::Duration};

use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;
use testing::{ServerProcess, User, on_both_databases, path_segment};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{PATIENCE, PROGRAM};

/// What the server may still open.
const LEFT: usize = 6;
const CONNECTIONS: usize = 40;
/// For how long it is watched, and how much work it may have meanwhile, in hundredths of a second.
const WATCHED: Duration = Duration::from_secs(2);
const MAX_TICKS: u64 = 50;

fn open_descriptors(server: &ServerProcess) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.id().unwrap())).unwrap().count()
}

/// How long the process has run on any core, in hundredths of a second.
fn ticks(server: &ServerProcess) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.id().unwrap())).unwrap();
    // The second field, the name, may hold anything but this.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A connection that is used again and again.
struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn open(server: &ServerProcess) -> Self {
        let stream = TcpStream::connect(server.client().base_url().trim_start_matches("http://")).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn send_text(&mut self, user: &User, room_id: &str, text: &str) {
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{text}", path_segment(room_id));
        let body = json!({ "msgtype": "m.text", "body": text }).to_string();
        let request = Request::put(path).header(HOST, "a").header("authorization", format!("Bearer {}", user.token));
        self.0.ready().await.unwrap();
        let answer = self.0.send_request(request.body(body.into()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body().collect().await.unwrap();
    }
}

on_both_databases! {
    async fn without_file_descriptors_those_connected_are_served_and_the_others_afterwards(db: TestDatabase) {
        let server = ServerProcess::start(PROGRAM, &db).await;
        let alice = server.register("alice").await;
        let room_id = alice.create_room(&json!({})).await;
        let mut connected = Connection::open(&server).await;
        connected.send_text(&alice, &room_id, "before").await;

        let id = Pid::from_raw(server.id().unwrap().try_into().unwrap());
        let limit = u64::try_from(open_descriptors(&server) + LEFT).unwrap();
        let before = prlimit(id, Resource::Nofile, Rlimit { current: Some(limit), maximum: getrlimit(Resource::Nofile).maximum }).unwrap();
        let mut crowd = Vec::new();
        for _ in 0..CONNECTIONS {
            crowd.push(TcpStream::connect(server.client().base_url().trim_start_matches("http://")).await.unwrap());
        }
        let deadline = Instant::now() + PATIENCE;
        while !server.log().contains("cannot accept connections") {
            assert!(Instant::now() < deadline, "descriptors are not exhausted: {}", server.log());
            sleep(WATCHED / 40).await;
        }
        let worked = ticks(&server);
        sleep(WATCHED).await;
        let worked = ticks(&server) - worked;
        assert!(worked < MAX_TICKS, "{worked} hundredths of a second of work in {WATCHED:?}, for nothing");
        timeout(PATIENCE, connected.send_text(&alice, &room_id, "meanwhile")).await.unwrap();
        assert!(server.log().matches("cannot accept connections").count() < 5, "{}", server.log());

        drop(crowd);
        let mut afterwards = timeout(PATIENCE, Connection::open(&server)).await.unwrap();
        timeout(PATIENCE, afterwards.send_text(&alice, &room_id, "after")).await.unwrap();
        prlimit(id, Resource::Nofile, before).unwrap();
        assert_eq!(crate::load::messages(&alice, &room_id).await, ["after", "meanwhile", "before"]);
    }
}
