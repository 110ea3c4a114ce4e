//! Rooms of whose state not everything is known, as after a join over federation

use std::time::{Duration, Instant};

use homeserver_core::RoomSn;
use serde_json::{Value, json};
use storage::{Database, Interned};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

use super::V3;

/// Until a request that was sent waits.
const SETTLED: Duration = Duration::from_millis(300);
/// Whoever is answered sooner did not wait.
const SOON: Duration = Duration::from_secs(10);
const LONG_MS: u64 = 60_000;

async fn number(database: &Database, room: &str) -> RoomSn {
    Interned::new(database.clone()).find_room(room).await.unwrap().unwrap()
}

async fn mark_partial(server: &TestServer, room: &str) {
    let room_sn = number(&server.database(), room).await;
    server.database().write(async move |tx| tx.mark_state_partial(room_sn).await).await.unwrap();
}

async fn mark_whole(server: &TestServer, room: &str) {
    let room_sn = number(&server.database(), room).await;
    server.database().write(async move |tx| tx.mark_state_whole(room_sn).await).await.unwrap();
}

async fn get(user: &User, room: &str, path: &str) -> Answer {
    user.get(format!("{V3}/rooms/{}/{path}", path_segment(room))).await
}

async fn post(user: &User, room: &str, path: &str, body: Value) -> Answer {
    user.post(format!("{V3}/rooms/{}/{path}", path_segment(room))).json(&body).await
}

async fn lazy_sync(user: &User, since: Option<&Value>) -> Value {
    let filter = json!({ "room": { "state": { "lazy_load_members": true } } }).to_string();
    let since = since.map_or_else(String::new, |since| format!("&since={}", path_segment(since.as_str().unwrap())));
    user.get(format!("{V3}/sync?filter={}{since}", path_segment(&filter))).await.ok()
}

async fn sync(user: &User, since: &Value) -> Value {
    user.sync(since.as_str(), 0).await
}

fn count(list: &Value, event_type: &str) -> usize {
    list.as_array().unwrap().iter().filter(|event| event["type"] == event_type).count()
}

/// How many member events of a room an answer of `/sync` has.
fn members(room: &Value) -> usize {
    count(&room["state"]["events"], "m.room.member") + count(&room["timeline"]["events"], "m.room.member")
}

/// A server that gives up soon, a room of two users, and the users.
async fn impatient(db: &testing::TestDatabase) -> (TestServer, User, User, String) {
    let server = TestServer::start_with(db, &[("rooms", "full_state_timeout", "200ms".into())]).await;
    let (alice, bob) = (server.register("alice").await, server.register("bob").await);
    let room = alice.create_room(&json!({ "preset": "public_chat", "name": "Here" })).await;
    bob.join(&room).await;
    (server, alice, bob, room)
}

on_both_databases! {
    async fn whoever_asks_for_all_members_waits_until_they_are_known(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let event = alice.send_text(&room, "hello").await;
        mark_partial(&server, &room).await;

        let begun = Instant::now();
        let context = format!("context/{}", path_segment(&event));
        let stranger = format!("state/m.room.member/{}", path_segment("@x:elsewhere"));
        let completion = async {
            tokio::time::sleep(SETTLED).await;
            let when = Instant::now();
            mark_whole(&server, &room).await;
            when
        };
        let timed = async |path: &str| (get(&alice, &room, path).await, Instant::now());
        let (all, joined, state, around, one, completed) = tokio::join!(
            timed("members"),
            timed("joined_members"),
            timed("state"),
            timed(&context),
            timed(&stranger),
            completion,
        );
        for answered in [all.1, joined.1, state.1, around.1, one.1] {
            assert!(answered > completed && begun.elapsed() < SOON);
        }
        assert_eq!(all.0.ok()["chunk"].as_array().unwrap().len(), 2);
        assert_eq!(joined.0.ok()["joined"].as_object().unwrap().len(), 2);
        assert_eq!(count(&state.0.ok(), "m.room.member"), 2);
        assert_eq!(count(&around.0.ok()["state"], "m.room.member"), 2);
        one.0.error(404, "M_NOT_FOUND");
    }

    async fn what_is_known_is_told_at_once_and_the_wait_for_the_rest_has_an_end(db: TestDatabase) {
        let (server, alice, bob, room) = impatient(&db).await;
        mark_partial(&server, &room).await;
        let event = alice.send_text(&room, "hello").await;
        let filter = path_segment(&json!({ "lazy_load_members": true }).to_string());
        let context = format!("context/{}", path_segment(&event));
        let stranger = path_segment("@x:elsewhere");

        for path in ["members", "joined_members", "state", &context, &format!("state/m.room.member/{stranger}")] {
            let refused = get(&alice, &room, path).await;
            assert_eq!(refused.headers["retry-after"], "10", "{path}");
            refused.error(503, "M_UNKNOWN");
        }
        post(&alice, &room, "kick", json!({ "user_id": "@x:elsewhere" })).await.error(503, "M_UNKNOWN");
        post(&alice, &room, "upgrade", json!({ "new_version": "11" })).await.error(503, "M_UNKNOWN");

        assert_eq!(get(&alice, &room, "state/m.room.name").await.ok()["name"], "Here");
        let own = format!("state/m.room.member/{}", path_segment(&bob.id));
        assert_eq!(get(&alice, &room, &own).await.ok()["membership"], "join");
        let nobody = format!("state/m.room.member/{}", path_segment("@nobody:localhost"));
        get(&alice, &room, &nobody).await.error(404, "M_NOT_FOUND");
        let around = get(&alice, &room, &format!("{context}?filter={filter}")).await.ok();
        assert_eq!((count(&around["state"], "m.room.member"), count(&around["state"], "m.room.name")), (2, 1));
        let page = get(&alice, &room, &format!("messages?dir=b&limit=1&filter={filter}")).await.ok();
        assert_eq!((count(&page["chunk"], "m.room.message"), count(&page["state"], "m.room.member")), (1, 1));
        let _ = post(&alice, &room, "kick", json!({ "user_id": bob.id })).await.ok();

        mark_whole(&server, &room).await;
        assert_eq!(get(&alice, &room, "members").await.ok()["chunk"].as_array().unwrap().len(), 2);
        post(&alice, &room, "kick", json!({ "user_id": "@x:elsewhere" })).await.error(403, "M_FORBIDDEN");
        assert!(post(&alice, &room, "upgrade", json!({ "new_version": "11" })).await.ok()["replacement_room"].is_string());
    }

    async fn a_lazy_loading_sync_has_the_room_and_later_the_numbers_of_members(db: TestDatabase) {
        let (server, alice, bob, room) = impatient(&db).await;
        mark_partial(&server, &room).await;
        bob.send_text(&room, "hello").await;
        let first = lazy_sync(&alice, None).await;
        let joined = &first["rooms"]["join"][&room];
        assert_eq!(count(&joined["timeline"]["events"], "m.room.message"), 1, "{first}");
        assert_eq!(joined["summary"], json!({}));

        mark_whole(&server, &room).await;
        let second = lazy_sync(&alice, Some(&first["next_batch"])).await;
        let joined = &second["rooms"]["join"][&room];
        assert_eq!(joined["summary"], json!({ "m.joined_member_count": 2, "m.invited_member_count": 0 }), "{second}");
        let third = lazy_sync(&alice, Some(&second["next_batch"])).await;
        assert!(third["rooms"]["join"].is_null(), "{third}");
    }

    async fn another_sync_has_the_room_once_all_of_it_is_known(db: TestDatabase) {
        let (server, alice, bob, room) = impatient(&db).await;
        mark_partial(&server, &room).await;
        let path = format!("{V3}/user/{}/rooms/{}/account_data/org.example", path_segment(&alice.id), path_segment(&room));
        let _ = alice.put(path).json(&json!({ "a": 1 })).await.ok();
        let first = alice.sync(None, 0).await;
        assert!(first["rooms"]["join"].is_null(), "{first}");
        bob.send_text(&room, "hello").await;
        let second = sync(&alice, &first["next_batch"]).await;
        assert!(second["rooms"]["join"].is_null(), "{second}");

        let begun = Instant::now();
        let (third, ()) = tokio::join!(alice.sync(second["next_batch"].as_str(), LONG_MS), async {
            tokio::time::sleep(SETTLED).await;
            mark_whole(&server, &room).await;
        });
        assert!(begun.elapsed() < SOON, "took {:?}", begun.elapsed());
        let joined = &third["rooms"]["join"][&room];
        assert_eq!((members(joined), &joined["timeline"]["limited"]), (2, &json!(true)), "{third}");
        assert_eq!(count(&joined["timeline"]["events"], "m.room.message"), 1);
        assert_eq!(joined["summary"]["m.joined_member_count"], 2);
        assert_eq!(joined["account_data"]["events"][0]["content"], json!({ "a": 1 }));

        // Those who ask again from before get the same, and those who have it get no more than what is new.
        let again = sync(&alice, &first["next_batch"]).await;
        assert_eq!(members(&again["rooms"]["join"][&room]), 2, "{again}");
        bob.send_text(&room, "more").await;
        let fourth = sync(&alice, &third["next_batch"]).await;
        let joined = &fourth["rooms"]["join"][&room];
        assert_eq!((members(joined), &joined["timeline"]["limited"]), (0, &json!(false)), "{fourth}");
    }

    async fn what_is_known_of_a_room_outlives_the_process(db: TestDatabase) {
        let (server, alice, _, room) = impatient(&db).await;
        mark_partial(&server, &room).await;
        server.shutdown().await;

        let server = TestServer::start_with(&db, &[("rooms", "full_state_timeout", "200ms".into())]).await;
        let ask = async |server: &TestServer, path: &str| server.client().get(format!("{V3}/{path}")).token(&alice.token).await;
        ask(&server, &format!("rooms/{}/members", path_segment(&room))).await.error(503, "M_UNKNOWN");
        let first = ask(&server, "sync").await.ok();
        assert!(first["rooms"]["join"].is_null(), "{first}");
        mark_whole(&server, &room).await;
        server.shutdown().await;

        let server = TestServer::start(&db).await;
        let second = ask(&server, &format!("sync?since={}", first["next_batch"].as_str().unwrap())).await.ok();
        assert_eq!(members(&second["rooms"]["join"][&room]), 2, "{second}");
        let third = ask(&server, &format!("sync?since={}", second["next_batch"].as_str().unwrap())).await.ok();
        assert!(third["rooms"]["join"].is_null(), "{third}");
    }

    async fn a_client_that_was_not_shown_the_room_sees_an_invitation_go(db: TestDatabase) {
        let (server, alice, _, room) = impatient(&db).await;
        let carol = server.register("carol").await;
        let _ = post(&alice, &room, "invite", json!({ "user_id": carol.id })).await.ok();
        mark_partial(&server, &room).await;
        let first = carol.sync(None, 0).await;
        assert!(first["rooms"]["invite"][&room].is_object(), "{first}");
        carol.join(&room).await;
        let second = sync(&carol, &first["next_batch"]).await;
        assert!(second["rooms"].is_null(), "{second}");
        let _ = post(&carol, &room, "leave", json!({})).await.ok();
        let third = sync(&carol, &second["next_batch"]).await;
        let left = &third["rooms"]["leave"][&room];
        assert_eq!(left["state"]["events"], json!([]), "{third}");
        assert!(count(&left["timeline"]["events"], "m.room.member") > 0);
    }
}
