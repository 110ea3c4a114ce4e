use futures::future::join_all;
use serde_json::json;
use testing::{Answer, Client, Setting, TestServer, on_both_databases};
use toml::Table;

use crate::{V3, log_in};

const AT_ONCE: usize = 16;

fn limit(running: i64, waiting: i64, longest_wait: &str) -> toml::Value {
    let limit: Table =
        format!("running = {running}\nwaiting = {waiting}\nlongest_wait = '{longest_wait}'").parse().unwrap();
    limit.into()
}

/// A hash takes so long that those who come at the same moment meet.
fn settings(hashing: toml::Value) -> Vec<Setting<'static>> {
    vec![
        ("passwords", "hash_memory", "32MiB".into()),
        ("passwords", "hash_iterations", 4.into()),
        ("limits", "password_hashing", hashing),
    ]
}

async fn log_in_together(client: &Client) -> Vec<Answer> {
    join_all((0..AT_ONCE).map(|_| log_in(client, "alice", "password of alice"))).await
}

/// How many got in; the others were told when to come back.
fn count_successes(answers: Vec<Answer>) -> usize {
    let (got_in, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    for answer in refused {
        let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        let body = answer.error(503, "M_LIMIT_EXCEEDED");
        let retry_after_ms = body["retry_after_ms"].as_u64().unwrap();
        assert!(retry_after_ms >= 1_000 && seconds == retry_after_ms.div_ceil(1000), "{body}");
    }
    got_in.len()
}

async fn metrics(client: &Client) -> String {
    String::from_utf8(client.get("/metrics").await.body.to_vec()).unwrap()
}

on_both_databases! {
    async fn too_many_logins_at_once_are_told_to_come_back_until_a_reload_allows_more(db: TestDatabase) {
        let mut server = TestServer::start_with(&db, &settings(limit(1, 1, "30s"))).await;
        let client = server.client();
        server.register("alice").await;
        let got_in = count_successes(log_in_together(&client).await);
        assert!((1..AT_ONCE).contains(&got_in), "{got_in}");
        let text = metrics(&client).await;
        let has = |line: &str| assert!(text.contains(line), "{line} in {text}");
        let refused = AT_ONCE - got_in;
        has(&format!("limit_refused_total{{limit=\"password_hashing\",reason=\"queue_full\"}} {refused}\n"));
        has("limit_running{limit=\"password_hashing\"} 0\n");
        has("limit_waiting{limit=\"password_hashing\"} 0\n");
        // And the registration.
        has(&format!("limit_wait_seconds_count{{limit=\"password_hashing\"}} {}\n", got_in + 1));

        server.reload_with(&db, &settings(limit(2, 100, "60s")));
        assert_eq!(count_successes(log_in_together(&client).await), AT_ONCE);
    }

    async fn nobody_waits_for_longer_than_the_longest_wait(db: TestDatabase) {
        let server = TestServer::start_with(&db, &settings(limit(1, 1_000, "1ms"))).await;
        let client = server.client();
        server.register("alice").await;
        let got_in = count_successes(log_in_together(&client).await);
        assert!((1..AT_ONCE).contains(&got_in), "{got_in}");
        let expected = format!("reason=\"waited_too_long\"}} {}\n", AT_ONCE - got_in);
        let text = metrics(&client).await;
        assert!(text.contains(&expected), "{expected} in {text}");
    }

    /// Each of these takes its place and gives it back: with one place more than one request is answered.
    async fn what_is_limited_goes_on_with_a_single_place(db: TestDatabase) {
        let one = || limit(1, 100, "60s");
        let server = TestServer::start_with(&db, &[
            ("limits", "user_directory_search", one()),
            ("limits", "room_directory_search", one()),
            ("limits", "large_room_state", one()),
            ("limits", "initial_sync", one()),
            ("limits", "room_creation", one()),
            ("limits", "thumbnails", one()),
        ])
        .await;
        let alice = server.register("alice").await;
        // The smallest picture there is: one point of it.
        let gif = &b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"[..];
        for _ in 0..3 {
            let upload = alice.post("/_matrix/media/v3/upload").body(gif).await.ok();
            let place = upload["content_uri"].as_str().unwrap().strip_prefix("mxc://").unwrap();
            let thumbnail = format!("/_matrix/client/v1/media/thumbnail/{place}?width=32&height=32");
            assert_eq!(alice.get(thumbnail).await.status, 200);
            let room = alice.create_room(&json!({ "room_version": "10" })).await;
            alice.post(format!("{V3}/rooms/{room}/upgrade")).json(&json!({ "new_version": "11" })).await.ok();
            alice.sync(None, 0).await;
            alice.post(format!("{V3}/user_directory/search")).json(&json!({ "search_term": "bob" })).await.ok();
            alice.get(format!("{V3}/publicRooms")).await.ok();
            alice.get(format!("{V3}/rooms/{room}/members")).await.ok();
        }
        let text = metrics(&server.client()).await;
        for (limit, count) in
            [("room_creation", 6), ("initial_sync", 3), ("user_directory_search", 3), ("room_directory_search", 3), ("thumbnails", 3)]
        {
            let line = format!("limit_wait_seconds_count{{limit=\"{limit}\"}} {count}\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
