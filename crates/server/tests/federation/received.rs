//! `PUT /_matrix/federation/v1/send/{txnId}`

use serde_json::{Value, json};
use testing::{User, on_both_databases, path_segment};

use crate::remote_user::{BOB, RemoteUser};
use crate::{V3, servers};

/// The bodies of the messages of a room, the oldest first.
async fn messages(user: &User, room_id: &str) -> Vec<String> {
    let path = format!("{V3}/rooms/{}/messages?dir=b&limit=100", path_segment(room_id));
    let answer = user.get(path).await.ok();
    let chunk = answer["chunk"].as_array().unwrap();
    let bodies = chunk.iter().rev().filter_map(|event| event["content"]["body"].as_str());
    bodies.map(str::to_owned).collect()
}

fn fine(pdus: &[&str]) -> Value {
    Value::Object(pdus.iter().map(|id| ((*id).to_owned(), json!({}))).collect())
}

on_both_databases! {
    async fn events_of_other_servers_reach_the_members(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let bob = RemoteUser::join(&server, &remote, &alice).await;
        let since = alice.get(format!("{V3}/sync")).await.ok()["next_batch"].clone();
        let (ids, events): (Vec<String>, Vec<Value>) = (0..5).map(|n| bob.message(&n.to_string())).unzip();
        let body = json!({ "pdus": events });
        let first = bob.transaction("once", &body).await.ok();
        assert_eq!(first["pdus"], fine(&ids.iter().map(String::as_str).collect::<Vec<_>>()));
        let since = path_segment(since.as_str().unwrap());
        let news = alice.get(format!("{V3}/sync?since={since}")).await.ok();
        let shown = news["rooms"]["join"][&bob.room_id]["timeline"]["events"].as_array().unwrap().clone();
        let shown: Vec<&str> = shown.iter().filter_map(|event| event["content"]["body"].as_str()).collect();
        assert_eq!(shown, ["0", "1", "2", "3", "4"]);
        assert_eq!(messages(&alice, &bob.room_id).await, ["0", "1", "2", "3", "4"]);
        // The same again, and under another ID.
        assert_eq!(bob.transaction("once", &body).await.ok(), first);
        assert_eq!(bob.transaction("twice", &body).await.ok(), first);
        assert_eq!(messages(&alice, &bob.room_id).await.len(), 5);
        server.shutdown().await;
    }

    async fn what_is_missing_before_an_event_is_asked_for(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let bob = RemoteUser::join(&server, &remote, &alice).await;
        let between = format!("/_matrix/federation/v1/get_missing_events/{}", path_segment(&bob.room_id));
        let lost: Vec<Value> = ["one", "two"].map(|body| bob.message(body).1).into();
        let (id, event) = bob.message("three");
        remote.answer(&between, 200, json!({ "events": lost }).to_string());
        assert_eq!(bob.send(&[&event]).await, fine(&[&id]));
        assert_eq!(messages(&alice, &bob.room_id).await, ["one", "two", "three"]);
        let asked = remote.requests(&between);
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].json()["latest_events"], json!([id]));
        server.shutdown().await;
    }

    async fn where_too_much_is_missing_the_state_is_asked_for(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let levels = json!({ "users": { &alice.id: 100, BOB: 50 } });
        let room = json!({ "preset": "public_chat", "room_version": "11", "power_level_content_override": levels });
        let room_id = alice.create_room(&room).await;
        let bob = RemoteUser::join_room(&server, &remote, room_id).await;
        let room = path_segment(&bob.room_id);
        bob.message("lost");
        let (topic_id, topic) = bob.event("m.room.topic", Some(""), &json!({ "topic": "tea" }));
        bob.message("lost too");
        let state: Vec<String> = bob.state.borrow().iter().map(|(.., id)| id.clone()).collect();
        let (id, event) = bob.message("found");

        // Nothing is known of what came before: the event is not taken in, and nothing is stored that could hinder it later.
        remote.answer(&format!("/_matrix/federation/v1/get_missing_events/{room}"), 200, "{}");
        let refused = bob.send(&[&event]).await;
        assert!(refused[&id]["error"].is_string(), "{refused}");
        assert!(messages(&alice, &bob.room_id).await.is_empty());

        let state_ids = json!({ "pdu_ids": state, "auth_chain_ids": [] });
        remote.answer(&format!("/_matrix/federation/v1/state_ids/{room}"), 200, state_ids.to_string());
        let path = format!("/_matrix/federation/v1/event/{}", path_segment(&topic_id));
        remote.answer(&path, 200, json!({ "pdus": [topic] }).to_string());
        assert_eq!(bob.send(&[&event]).await, fine(&[&id]));
        assert_eq!(messages(&alice, &bob.room_id).await, ["found"]);
        let topic = alice.get(format!("{V3}/rooms/{room}/state/m.room.topic")).await.ok();
        assert_eq!(topic["topic"], "tea");
        let (id, event) = bob.message("onwards");
        assert_eq!(bob.send(&[&event]).await, fine(&[&id]));
        server.shutdown().await;
    }

    async fn a_server_that_the_room_refuses_is_told_so(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let bob = RemoteUser::join(&server, &remote, &alice).await;
        let room = path_segment(&bob.room_id);
        let acl = json!({ "allow": ["*"], "deny": ["remote.example"] });
        alice.put(format!("{V3}/rooms/{room}/state/m.room.server_acl")).json(&acl).await.ok();
        let (id, event) = bob.message("hello");
        let refused = bob.send(&[&event]).await;
        assert!(refused[&id]["error"].is_string(), "{refused}");
        assert!(messages(&alice, &bob.room_id).await.is_empty());
        server.shutdown().await;
    }

    async fn a_bad_transaction_is_refused_and_bad_events_are_left_out(db: TestDatabase) {
        let (server, remote) = servers(&db, &[]).await;
        let alice = server.register("alice").await;
        let bob = RemoteUser::join(&server, &remote, &alice).await;
        let (id, event) = bob.message("good");
        let many = |count: usize| vec![&event; count];
        bob.transaction("a", &json!({ "pdus": many(51) })).await.error(400, "M_INVALID_PARAM");
        bob.transaction("b", &json!({ "pdus": [], "edus": vec![json!({}); 101] })).await.error(400, "M_INVALID_PARAM");
        bob.transaction("c", &json!({ "pdus": 5 })).await.error(400, "M_BAD_JSON");
        server.client().put("/_matrix/federation/v1/send/d").json(&json!({})).await.error(401, "M_UNAUTHORIZED");

        let (forged_id, mut forged) = bob.message("forged");
        forged["depth"] = json!(1);
        let mut strange = event.clone();
        strange["room_id"] = json!("!elsewhere:remote.example");
        let pdus = [&json!(5), &json!({}), &strange, &forged, &event, &event];
        let answer = bob.send(&pdus).await;
        assert_eq!(answer[&id], json!({}), "{answer}");
        assert_eq!(answer.get(&forged_id), None, "its ID is another one: {answer}");
        assert_eq!(messages(&alice, &bob.room_id).await, ["good"]);
        server.shutdown().await;
    }
}
