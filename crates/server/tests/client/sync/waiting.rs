//! When an answer comes

use std::time::{Duration, Instant};

use serde_json::json;
use testing::{TestServer, on_both_databases, path_segment};

use super::{act, bodies, get, joined, next, sync, timeline, token};
use crate::V3;

/// Longer than any test may take: who is answered sooner was woken.
const LONG_MS: u64 = 60_000;
const SOON: Duration = Duration::from_secs(20);
/// Until a request that was sent waits.
const SETTLED: Duration = Duration::from_millis(300);

on_both_databases! {
    async fn a_waiting_sync_is_answered_when_something_arrives(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let since = token(&bob).await;
        let begun = Instant::now();

        let (answer, _) = tokio::join!(bob.sync(Some(&since), LONG_MS), async {
            tokio::time::sleep(SETTLED).await;
            alice.send_text(&room, "hello").await
        });
        assert_eq!(bodies(timeline(joined(&answer, &room))), ["hello"]);

        let since = next(&answer).to_owned();
        let other = alice.create_room(&json!({})).await;
        let (answer, ()) = tokio::join!(bob.sync(Some(&since), LONG_MS), async {
            tokio::time::sleep(SETTLED).await;
            act(&alice, &other, "invite", json!({ "user_id": bob.id })).await;
        });
        assert!(answer["rooms"]["invite"][&other].is_object(), "{answer}");

        let since = next(&answer).to_owned();
        let path = format!("{V3}/user/{}/account_data/org.example", path_segment(&bob.id));
        let (answer, _) = tokio::join!(bob.sync(Some(&since), LONG_MS), async {
            tokio::time::sleep(SETTLED).await;
            bob.put(path).json(&json!({ "a": 1 })).await.ok()
        });
        assert_eq!(answer["account_data"]["events"][0]["type"], "org.example", "{answer}");

        let since = next(&answer).to_owned();
        let (answer, new) = tokio::join!(bob.sync(Some(&since), LONG_MS), async {
            tokio::time::sleep(SETTLED).await;
            bob.create_room(&json!({})).await
        });
        assert!(answer["rooms"]["join"][&new].is_object(), "{answer}");
        assert!(begun.elapsed() < SOON, "took {:?}", begun.elapsed());
    }

    async fn a_sync_waits_for_its_timeout_and_not_for_what_concerns_others(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        act(&bob, &room, "leave", json!({})).await;
        let since = token(&bob).await;
        let begun = Instant::now();
        let (answer, _) = tokio::join!(bob.sync(Some(&since), 1_000), async {
            tokio::time::sleep(SETTLED).await;
            alice.send_text(&room, "among ourselves").await
        });
        assert!(begun.elapsed() >= Duration::from_secs(1), "answered after {:?}: {answer}", begun.elapsed());
        assert!(answer.get("rooms").is_none() && answer.get("account_data").is_none(), "{answer}");
    }

    async fn first_and_full_answers_and_those_with_news_do_not_wait(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let begun = Instant::now();
        let since = next(&alice.sync(None, LONG_MS).await).to_owned();
        sync(&alice, &format!("full_state=true&timeout={LONG_MS}&since={since}")).await;
        sync(&alice, &format!("since={since}")).await;
        let room = alice.create_room(&json!({})).await;
        let answer = alice.sync(Some(&since), LONG_MS).await;
        joined(&answer, &room);
        assert!(begun.elapsed() < SOON, "took {:?}", begun.elapsed());
    }

    async fn what_the_filter_excludes_does_not_end_the_waiting(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let (room, other) = (alice.create_room(&json!({})).await, alice.create_room(&json!({})).await);
        let since = token(&alice).await;
        let filter = path_segment(&json!({ "room": { "not_rooms": [other] } }).to_string());
        let query = format!("since={since}&filter={filter}&timeout={LONG_MS}");
        let (answer, _) = tokio::join!(sync(&alice, &query), async {
            tokio::time::sleep(SETTLED).await;
            alice.send_text(&other, "excluded").await;
            tokio::time::sleep(SETTLED).await;
            alice.send_text(&room, "included").await
        });
        assert_eq!(bodies(timeline(joined(&answer, &room))), ["included"]);
        assert!(answer["rooms"]["join"].get(&other).is_none(), "{answer}");
    }

    async fn a_sync_that_waits_while_its_session_ends_tells_nothing(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let since = token(&bob).await;
        let query = format!("since={since}&timeout=3000");
        let (answer, ()) = tokio::join!(get(&bob, &query), async {
            tokio::time::sleep(SETTLED).await;
            let _ = bob.post(format!("{V3}/logout")).json(&json!({})).await.ok();
            alice.send_text(&room, "not for a session that has ended").await;
        });
        answer.error(401, "M_UNKNOWN_TOKEN");
        get(&bob, &query).await.error(401, "M_UNKNOWN_TOKEN");
    }

    async fn a_token_from_the_future_begins_again(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let answer = alice.sync(Some("s1_999999999"), LONG_MS).await;
        assert_eq!(timeline(joined(&answer, &room))[0]["type"], "m.room.create");
    }

    async fn tokens_that_are_none_are_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        for since in ["nothing", "s1_", "s1_x", "s1_-1", "s9_1", "5"] {
            get(&alice, &format!("since={since}")).await.error(400, "M_INVALID_PARAM");
        }
        for query in ["timeout=-1", "timeout=soon", "full_state=perhaps", "set_presence=asleep"] {
            assert_eq!(get(&alice, query).await.status, 400, "{query}");
        }
    }
}
