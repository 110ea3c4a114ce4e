//! Searching messages: `/search`

use std::sync::Arc;

use rooms::reading::SearchIndexing;
use serde_json::{Value, json};
use storage::Interned;
use testing::{TestServer, User, on_both_databases, path_segment};

use super::V3;

async fn search(user: &User, criteria: Value, next_batch: Option<&str>) -> Value {
    let query = next_batch.map_or_else(String::new, |token| format!("?next_batch={token}"));
    let body = json!({ "search_categories": { "room_events": criteria } });
    let answer = user.post(format!("{V3}/search{query}")).json(&body).await.ok();
    answer["search_categories"]["room_events"].clone()
}

/// What the results say, in their order.
fn bodies(found: &Value) -> Vec<&str> {
    let results = found["results"].as_array().unwrap().iter();
    results.map(|result| result["result"]["content"]["body"].as_str().unwrap_or_default()).collect()
}

/// The newest first, without anything around.
async fn newest(user: &User, search_term: &str) -> Vec<String> {
    let found = search(user, json!({ "search_term": search_term, "order_by": "recent" }), None).await;
    bodies(&found).into_iter().map(str::to_owned).collect()
}

/// Puts all messages into blocks of the index, a few in each.
async fn index(server: &TestServer) {
    let interned = Arc::new(Interned::new(server.database()));
    let indexing = SearchIndexing::new(server.database(), interned).with_block_messages(3);
    while indexing.next_block().await.unwrap().is_some() {}
}

on_both_databases! {
    async fn words_and_their_parts_are_found_in_any_script_indexed_or_not(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "name": "Weather station", "preset": "public_chat" })).await;
        let texts = [
            "Tomorrow it will rain in Straßburg", "昨日は東京に行きました", "我们支持中文搜索", "여러분 안녕하세요",
            "The training went well", "В Москве дождь", "nothing of interest", "quoted minus or star",
        ];
        for text in texts {
            alice.send_text(&room, text).await;
        }
        let redacted = alice.send_text(&room, "a rainy secret").await;
        let path = format!("{V3}/rooms/{}/redact/{}/1", path_segment(&room), path_segment(&redacted));
        let _ = alice.put(path).json(&json!({})).await.ok();
        for is_indexed in [false, true] {
            for (search_term, expected) in [
                ("RAIN", vec![texts[4], texts[0]]),
                ("tomorrow rain", vec![texts[0]]),
                ("strassburg", vec![texts[0]]),
                ("東京", vec![texts[1]]),
                ("搜索", vec![texts[2]]),
                ("文", vec![texts[2]]),
                ("안녕", vec![texts[3]]),
                ("москв", vec![texts[5]]),
                ("\"quoted\" -minus OR *star*", vec![texts[7]]),
                ("not there", vec![]),
                ("\"'*", vec![]),
            ] {
                assert_eq!(newest(&alice, search_term).await, expected, "{search_term} {is_indexed}");
            }
            let named = search(&alice, json!({ "search_term": "weather", "keys": ["content.name"] }), None).await;
            assert_eq!(named["results"][0]["result"]["content"]["name"], "Weather station");
            let in_bodies = search(&alice, json!({ "search_term": "weather", "keys": ["content.body"] }), None).await;
            assert_eq!(in_bodies["results"], json!([]));
            // Who is not in the room finds nothing of it.
            assert!(newest(&bob, "rain").await.is_empty());
            index(&server).await;
        }
        // What is redacted is not found, though the index knows it; what is ignored is not either.
        bob.join(&room).await;
        bob.send_text(&room, "rain again").await;
        assert_eq!(newest(&alice, "rain").await, ["rain again", texts[4], texts[0]]);
        let list = format!("{V3}/user/{}/account_data/m.ignored_user_list", path_segment(&alice.id));
        let _ = alice.put(list).json(&json!({ "ignored_users": { bob.id.clone(): {} } })).await.ok();
        assert_eq!(newest(&alice, "rain").await, [texts[4], texts[0]]);
    }

    async fn only_what_the_reader_may_see_is_found(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let visibility = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } });
        let room = alice.create_room(&json!({ "preset": "public_chat", "initial_state": [visibility] })).await;
        alice.send_text(&room, "secret of before").await;
        bob.join(&room).await;
        alice.send_text(&room, "secret of after").await;
        for _ in 0..2 {
            assert_eq!(newest(&bob, "secret").await, ["secret of after"]);
            assert_eq!(newest(&alice, "secret").await, ["secret of after", "secret of before"]);
            index(&server).await;
        }
    }

    async fn results_come_in_pages_and_groups_with_what_is_around_them(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let other = alice.create_room(&json!({})).await;
        bob.join(&room).await;
        for number in 0..7 {
            alice.send_text(&room, &format!("needle {number} in a long sentence of hay and more hay")).await;
        }
        let best = bob.send_text(&room, "needle").await;
        alice.send_text(&other, "needle elsewhere").await;
        index(&server).await;
        for (order, first) in [("recent", "needle elsewhere"), ("rank", "needle")] {
            let criteria = json!({ "search_term": "needle", "order_by": order, "filter": { "limit": 4 } });
            let (mut seen, mut next) = (Vec::new(), None::<String>);
            loop {
                let page = search(&alice, criteria.clone(), next.as_deref()).await;
                seen.extend(bodies(&page).into_iter().map(str::to_owned));
                next = page["next_batch"].as_str().map(str::to_owned);
                if next.is_none() {
                    break;
                }
            }
            assert_eq!(seen[0], first, "{order}");
            assert_eq!(seen.len(), 9, "{order}: {seen:?}");
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 9, "{order}");
        }

        let criteria = json!({
            "search_term": "needle", "order_by": "recent", "include_state": true,
            "filter": { "rooms": [room], "senders": [bob.id] },
            "event_context": { "before_limit": 2, "after_limit": 1, "include_profile": true },
            "groupings": { "group_by": [{ "key": "room_id" }, { "key": "sender" }] },
        });
        let found = search(&alice, criteria, None).await;
        assert_eq!((&found["count"], &found["highlights"]), (&json!(1), &json!(["needle"])));
        let result = &found["results"][0];
        assert_eq!(result["result"]["event_id"], *best);
        let before = result["context"]["events_before"].as_array().unwrap();
        assert!(before[0]["content"]["body"].as_str().unwrap().starts_with("needle 6"), "{result}");
        assert_eq!((before.len(), &result["context"]["events_after"]), (2, &json!([])));
        assert!(result["context"]["profile_info"][&alice.id].is_object(), "{result}");
        assert!(found["state"][&room].as_array().is_some_and(|state| !state.is_empty()));
        assert_eq!(found["groups"]["room_id"][&room]["results"], json!([best]));
        assert_eq!(found["groups"]["sender"][&bob.id]["results"], json!([best]));
        let from = result["context"]["start"].as_str().unwrap();
        let path = format!("{V3}/rooms/{}/messages?dir=b&limit=1&from={from}", path_segment(&room));
        assert!(alice.get(path).await.ok()["chunk"][0]["content"]["body"].as_str().unwrap().starts_with("needle 4"));
    }

    async fn searches_that_make_no_sense_are_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let path = format!("{V3}/search");
        let ask = |criteria: Value| alice.post(&path).json(&json!({ "search_categories": { "room_events": criteria } }));
        let _ = alice.post(&path).json(&json!({ "search_categories": {} })).await.ok();
        alice.post(&path).json(&json!({})).await.error(400, "M_BAD_JSON");
        ask(json!({})).await.error(400, "M_BAD_JSON");
        ask(json!({ "search_term": 5 })).await.error(400, "M_BAD_JSON");
        ask(json!({ "search_term": "x", "order_by": "size" })).await.error(400, "M_BAD_JSON");
        ask(json!({ "search_term": "x", "keys": ["content.url"] })).await.error(400, "M_INVALID_PARAM");
        ask(json!({ "search_term": "x".repeat(2_000) })).await.error(400, "M_INVALID_PARAM");
        let body = json!({ "search_categories": { "room_events": { "search_term": "x" } } });
        for token in ["x", "n1_5", "k1_", "k1_-1"] {
            alice.post(format!("{path}?next_batch={token}")).json(&body).await.error(400, "M_INVALID_PARAM");
        }
        server.client().post(&path).json(&body).await.error(401, "M_MISSING_TOKEN");
    }
}
