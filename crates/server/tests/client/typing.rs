use serde_json::{Value, json};
use testing::{Answer, TestServer, User, eventually, on_both_databases, path_segment};

use crate::V3;

async fn type_in(user: &User, room: &str, body: Value) -> Answer {
    let (room, user_id) = (path_segment(room), path_segment(&user.id));
    user.put(format!("{V3}/rooms/{room}/typing/{user_id}")).json(&body).await
}

/// Who types in a room, if the answer tells.
fn typists<'a>(answer: &'a Value, room: &str) -> Option<Vec<&'a str>> {
    let events = answer["rooms"]["join"][room]["ephemeral"]["events"].as_array()?;
    let event = events.iter().find(|event| event["type"] == "m.typing")?;
    assert_eq!(event.as_object().unwrap().len(), 2, "{event}");
    Some(event["content"]["user_ids"].as_array().unwrap().iter().map(|user_id| user_id.as_str().unwrap()).collect())
}

fn next(answer: &Value) -> Option<&str> {
    answer["next_batch"].as_str()
}

/// What a user is told next of who types in a room.
async fn told<'a>(user: &User, answer: &'a mut Value, room: &str) -> Vec<&'a str> {
    let mut answers = 0;
    loop {
        *answer = user.sync(next(answer), 30_000).await;
        if typists(answer, room).is_some() {
            return typists(answer, room).unwrap_or_default();
        }
        answers += 1;
        assert!(answers < 20, "nothing is told of who types in {room}");
    }
}

on_both_databases! {
    async fn the_room_is_told_who_types_until_they_stop(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, eve) = (server.register("alice").await, server.register("bob").await, server.register("eve").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let (mut of_bob, of_eve) = (bob.sync(None, 0).await, eve.sync(None, 0).await);
        assert_eq!(typists(&of_bob, &room), None, "nobody types yet");

        let (told_waiting, typed) = tokio::join!(
            bob.sync(next(&of_bob), 30_000),
            type_in(&alice, &room, json!({ "typing": true, "timeout": 60_000 })),
        );
        typed.ok();
        assert_eq!(typists(&told_waiting, &room), Some(vec![alice.id.as_str()]));
        assert_eq!(told_waiting["rooms"]["join"][&room]["timeline"]["events"], json!([]));
        // Who types on is no news, and neither is who still does not.
        of_bob = told_waiting;
        type_in(&alice, &room, json!({ "typing": true, "timeout": 60_000 })).await.ok();
        type_in(&bob, &room, json!({ "typing": false })).await.ok();
        assert_eq!(bob.sync(next(&of_bob), 0).await.get("rooms"), None);

        type_in(&bob, &room, json!({ "typing": true })).await.ok();
        assert_eq!(told(&bob, &mut of_bob, &room).await, [&alice.id, &bob.id]);
        assert_eq!(typists(&alice.sync(None, 0).await, &room), Some(vec![alice.id.as_str(), bob.id.as_str()]));
        type_in(&alice, &room, json!({ "typing": false })).await.ok();
        assert_eq!(told(&bob, &mut of_bob, &room).await, [&bob.id]);
        type_in(&bob, &room, json!({ "typing": false, "timeout": 5_000 })).await.ok();
        assert_eq!(told(&bob, &mut of_bob, &room).await, Vec::<&str>::new());
        assert_eq!(eve.sync(next(&of_eve), 0).await.get("rooms"), None, "whoever is not in the room is told nothing");
    }

    async fn typing_ends_by_itself_and_with_the_membership(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let mut of_alice = alice.sync(None, 0).await;
        type_in(&alice, &room, json!({ "typing": true, "timeout": 0 })).await.ok();
        type_in(&bob, &room, json!({ "typing": true, "timeout": 60_000 })).await.ok();
        while told(&alice, &mut of_alice, &room).await != [&bob.id] {}
        let kick = format!("{V3}/rooms/{}/kick", path_segment(&room));
        alice.post(kick).json(&json!({ "user_id": bob.id })).await.ok();
        assert_eq!(told(&alice, &mut of_alice, &room).await, Vec::<&str>::new());
    }

    async fn those_who_were_away_are_told_of_what_changed(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let public = json!({ "preset": "public_chat" });
        let rooms = [alice.create_room(&public).await, alice.create_room(&public).await];
        for room in &rooms {
            bob.join(room).await;
        }
        let typing = json!({ "typing": true, "timeout": 120_000 });
        type_in(&alice, &rooms[0], typing.clone()).await.ok();
        let of_bob = bob.sync(None, 0).await;
        type_in(&alice, &rooms[0], json!({ "typing": false })).await.ok();
        type_in(&alice, &rooms[1], typing).await.ok();
        server.shutdown().await;

        // The log's tail starts anew, so that it is the database that tells.
        let server = TestServer::start(&db).await;
        let bob = bob.at(&server.client());
        let answer = bob.sync(next(&of_bob), 0).await;
        assert_eq!(typists(&answer, &rooms[0]), Some(vec![]));
        assert_eq!(typists(&answer, &rooms[1]), Some(vec![alice.id.as_str()]));
        let filter = json!({ "room": { "ephemeral": { "not_types": ["m.typing"] } } }).to_string();
        let unwanted = bob.get(format!("{V3}/sync?since={}&filter={}", next(&of_bob).unwrap(), path_segment(&filter)));
        assert_eq!(unwanted.await.ok().get("rooms"), None);
        server.shutdown().await;
    }

    async fn typing_of_before_the_clock_was_set_back_ends(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        type_in(&alice, &room, json!({ "typing": true })).await.ok();
        let database = server.database();
        database.write(async |tx| tx.execute("UPDATE typing SET expires_at = expires_at + 864000000", &[]).await).await.unwrap();
        let ended = async || typists(&alice.sync(None, 0).await, &room).is_none().then_some(());
        eventually("nobody types", ended).await;
    }

    async fn others_cannot_type_for_a_user_or_from_outside(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({})).await;
        let typing = json!({ "typing": true, "timeout": 30_000 });
        let path = format!("{V3}/rooms/{}/typing/{}", path_segment(&room), path_segment(&bob.id));
        alice.put(path).json(&typing).await.error(403, "M_FORBIDDEN");
        type_in(&bob, &room, typing.clone()).await.error(403, "M_FORBIDDEN");
        type_in(&bob, "!nowhere:localhost", typing).await.error(403, "M_FORBIDDEN");
        type_in(&alice, &room, json!({ "timeout": 30_000 })).await.error(400, "M_BAD_JSON");
        type_in(&alice, &room, json!({ "typing": "yes" })).await.error(400, "M_BAD_JSON");
        type_in(&alice, &room, json!({ "typing": true, "timeout": -1 })).await.error(400, "M_BAD_JSON");
    }
}
