//! What this server sends others, of rooms that are shared with them.

use std::collections::BTreeMap;

use http::Method;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use storage::{Database, DatabaseOptions, Interned, Tx, params};
use testing::{RemoteServer, TestDatabase, TestServer, User, eventually, on_both_databases, path_segment};

use crate::{V3, metrics, servers};

const SEND: &str = "/_matrix/federation/v1/send/";
const BOB: &str = "@bob:remote.example";

/// Makes Bob a member of a room, as a join over federation would; the server must not be running.
async fn add_bob(db: &TestDatabase, room: &str) {
    let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
    let interned = Interned::new(database.clone());
    let (room_sn, bob) = (interned.room(room).await.unwrap(), interned.user(BOB).await.unwrap());
    let server_sn = interned.server("remote.example").await.unwrap();
    let join = async move |tx: &mut Tx| {
        let member = "INSERT INTO memberships (room_sn, user_sn, membership, event_sn) VALUES ($1, $2, 1, 1)";
        tx.execute(member, params![room_sn, bob]).await?;
        let server = "INSERT INTO room_servers (server_sn, room_sn) VALUES ($1, $2)";
        tx.execute(server, params![server_sn, room_sn]).await.map(drop)
    };
    database.write(join).await.unwrap();
    database.close().await;
}

/// A server on which Alice is in a room with Bob of the other server.
async fn shared_room(db: &TestDatabase) -> (TestServer, RemoteServer, User, String) {
    let (server, remote) = servers(db, &[]).await;
    let alice = server.register("alice").await;
    let room = alice.create_room(&json!({ "room_version": "11" })).await;
    server.shutdown().await;
    add_bob(db, &room).await;
    remote.answer(SEND, 200, r#"{"pdus":{}}"#);
    let server = TestServer::start_with(db, &remote.settings()).await;
    let alice = User::log_in(&server.client(), "alice").await;
    (server, remote, alice, room)
}

/// The PDUs that the server was sent, in order; those that were sent again only once.
fn received(remote: &RemoteServer) -> Vec<Value> {
    let pdus = remote.requests(SEND).into_iter().flat_map(|request| request.json()["pdus"].as_array().unwrap().clone());
    let mut received: Vec<Value> = Vec::new();
    for pdu in pdus {
        if !received.contains(&pdu) {
            received.push(pdu);
        }
    }
    received
}

fn bodies(remote: &RemoteServer) -> Vec<String> {
    let bodies = received(remote).into_iter().filter_map(|pdu| Some(pdu["content"]["body"].as_str()?.to_owned()));
    bodies.collect()
}

async fn has(remote: &RemoteServer, expected: &[&str]) {
    eventually(&format!("{expected:?} are sent"), async || (bodies(remote) == expected).then_some(())).await;
}

on_both_databases! {
    async fn events_of_this_server_reach_the_others_in_a_room(db: TestDatabase) {
        let (server, remote, alice, room) = Box::pin(shared_room(&db)).await;
        let alone = alice.create_room(&json!({})).await;
        alice.send_text(&alone, "to nobody").await;
        alice.send_text(&room, "hello").await;
        has(&remote, &["hello"]).await;
        let request = remote.requests(SEND).pop().unwrap();
        assert_eq!((&request.method, &request.json()["origin"]), (&Method::PUT, &json!("localhost")));
        let pdu = received(&remote).into_iter().find(|pdu| pdu["content"]["body"] == "hello").unwrap();
        assert_eq!((&pdu["room_id"], &pdu["type"]), (&json!(room), &json!("m.room.message")));
        for key in ["auth_events", "prev_events", "hashes", "signatures", "depth", "origin_server_ts", "sender"] {
            assert!(!pdu[key].is_null(), "{key}: {pdu}");
        }
        assert!(pdu["unsigned"].is_null() && pdu["event_id"].is_null(), "{pdu}");
        check_signature(&server, &request).await;
        for number in 0..120 {
            alice.send_text(&room, &format!("{number}")).await;
        }
        let all: Vec<String> = ["hello".to_owned()].into_iter().chain((0..120).map(|number| number.to_string())).collect();
        has(&remote, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for request in remote.requests(SEND) {
            assert!(request.json()["pdus"].as_array().unwrap().len() <= 50);
        }
        let text = metrics(&server).await;
        assert!(text.contains("outbox_destinations 1") && text.contains("outbox_destinations_behind 0"), "{text}");
        server.shutdown().await;
    }

    async fn a_server_that_was_down_gets_what_it_missed_also_after_a_restart(db: TestDatabase) {
        let (server, remote, alice, room) = Box::pin(shared_room(&db)).await;
        alice.send_text(&room, "1").await;
        has(&remote, &["1"]).await;
        remote.answer(SEND, 503, "down");
        for body in ["2", "3"] {
            alice.send_text(&room, body).await;
        }
        let is_behind = async || metrics(&server).await.contains("outbox_destinations_behind 1").then_some(());
        eventually("it is known to be behind", is_behind).await;
        server.shutdown().await;
        let server = TestServer::start_with(&db, &remote.settings()).await;
        let alice = User::log_in(&server.client(), "alice").await;
        alice.send_text(&room, "4").await;
        remote.answer(SEND, 200, "{}");
        has(&remote, &["1", "2", "3", "4"]).await;
        alice.send_text(&room, "5").await;
        has(&remote, &["1", "2", "3", "4", "5"]).await;
        server.shutdown().await;
    }

    async fn the_server_of_a_user_who_is_banned_learns_of_it_and_of_nothing_after(db: TestDatabase) {
        let (server, remote, alice, room) = Box::pin(shared_room(&db)).await;
        alice.post(format!("{V3}/rooms/{}/ban", path_segment(&room))).json(&json!({ "user_id": BOB })).await.ok();
        alice.send_text(&room, "without bob").await;
        let is_ban = |pdu: &Value| pdu["content"]["membership"] == "ban" && pdu["state_key"] == BOB;
        eventually("the ban is sent", async || received(&remote).iter().any(is_ban).then_some(())).await;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        assert_eq!(bodies(&remote), Vec::<String>::new());
        server.shutdown().await;
    }
}

/// Checks that the request is signed by the key that the server publishes.
async fn check_signature(server: &TestServer, request: &testing::ReceivedRequest) {
    let header = request.headers[AUTHORIZATION].to_str().unwrap().strip_prefix("X-Matrix ").unwrap().to_owned();
    let parameters = header.split(',').map(|pair| pair.split_once('=').unwrap());
    let parameter: BTreeMap<_, _> = parameters.map(|(name, value)| (name, value.trim_matches('"'))).collect();
    let keys = server.client().get(crate::KEYS).await.ok();
    let key = ruma::serde::Base64::parse(keys["verify_keys"][parameter["key"]]["key"].as_str().unwrap()).unwrap();
    let known = [("localhost".to_owned(), [(parameter["key"].to_owned(), key)].into())].into();
    let signed = json!({
        "method": "PUT", "uri": request.uri, "origin": "localhost", "destination": "remote.example",
        "content": request.json(), "signatures": { "localhost": { parameter["key"]: parameter["sig"] } },
    });
    ruma::signatures::verify_json(&known, &serde_json::from_value(signed).unwrap()).unwrap();
}
