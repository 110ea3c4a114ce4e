//! What a filter lets through

use serde_json::json;
use testing::{TestServer, on_both_databases, path_segment};

use super::{bodies, filtered, get, joined, keys, send_texts, sync, timeline, token, topic};
use crate::V3;

on_both_databases! {
    async fn a_filter_works_the_same_in_the_request_and_stored(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({})).await;
        let other = alice.create_room(&json!({})).await;
        send_texts(&alice, &room, 3).await;
        let filter = json!({ "room": { "rooms": [room], "timeline": { "limit": 2, "types": ["m.room.message"] } } });
        let path = format!("{V3}/user/{}/filter", path_segment(&alice.id));
        let stored = alice.post(path).json(&filter).await.ok()["filter_id"].as_str().unwrap().to_owned();
        for answer in [filtered(&alice, &filter, "").await, sync(&alice, &format!("filter={stored}")).await] {
            assert_eq!(bodies(timeline(joined(&answer, &room))), ["1", "2"]);
            assert_eq!(joined(&answer, &room)["timeline"]["limited"], true);
            assert!(answer["rooms"]["join"].get(&other).is_none(), "{answer}");
        }
        get(&bob, &format!("filter={stored}")).await.error(400, "M_INVALID_PARAM");
    }

    async fn rare_events_fill_a_timeline_from_behind_many_others(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let since = token(&alice).await;
        send_texts(&alice, &room, 3).await;
        for number in 0..15 {
            topic(&alice, &room, &number.to_string()).await;
        }
        for (limit, expected) in [(1, &["2"][..]), (2, &["1", "2"]), (4, &["0", "1", "2"])] {
            let filter = json!({ "room": { "timeline": { "limit": limit, "types": ["m.room.message"] } } });
            for query in [String::new(), format!("since={since}")] {
                let answer = filtered(&alice, &filter, &query).await;
                let room_answer = joined(&answer, &room);
                assert_eq!(bodies(timeline(room_answer)), expected, "{limit} {query}");
                assert_eq!(room_answer["timeline"]["limited"], limit < 3, "{limit} {query}");
                let state = &room_answer["state"];
                assert!(keys(state).contains(&("m.room.topic", "")), "{limit} {query}: {state}");

                let from = room_answer["timeline"]["prev_batch"].as_str().unwrap();
                let types = path_segment(&json!({ "types": ["m.room.message"] }).to_string());
                let path = format!("{V3}/rooms/{}/messages?dir=b&from={from}&filter={types}", path_segment(&room));
                let page = alice.get(path).await.ok();
                assert_eq!(bodies(page["chunk"].as_array().unwrap()).len(), 3 - expected.len(), "{limit} {query}");
            }
        }
    }

    async fn filters_that_are_none_are_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        for filter in ["77", "x", "{", "{\"room\":5}", "{\"room\":{\"timeline\":{\"limit\":\"5\"}}}"] {
            get(&alice, &format!("filter={}", path_segment(filter))).await.error(400, "M_INVALID_PARAM");
        }
    }

    async fn state_that_the_timeline_filter_excludes_is_still_told(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        alice.send_text(&room, "first").await;
        let filter = json!({ "room": { "timeline": { "types": ["m.room.message"] } } });
        let first = filtered(&alice, &filter, "").await;
        assert_eq!(bodies(timeline(joined(&first, &room))), ["first"]);
        let state = keys(&joined(&first, &room)["state"]);
        assert!(state.contains(&("m.room.create", "")) && state.contains(&("m.room.member", &alice.id)), "{first}");

        let since = token(&alice).await;
        topic(&alice, &room, "old").await;
        topic(&alice, &room, "new").await;
        alice.send_text(&room, "second").await;
        let query = format!("since={since}");
        let of_tail = filtered(&alice, &filter, &query).await;
        assert_eq!(keys(&joined(&of_tail, &room)["state"]), [("m.room.topic", "")].into());
        assert_eq!(joined(&of_tail, &room)["state"]["events"][0]["content"]["topic"], "new");

        server.shutdown().await;
        let again = TestServer::start(&db).await;
        let query = format!("{V3}/sync?filter={}&{query}", path_segment(&filter.to_string()));
        let of_database = again.client().get(query).token(&alice.token).await.ok();
        assert_eq!(keys(&joined(&of_database, &room)["state"]), [("m.room.topic", "")].into());
        assert_eq!(joined(&of_database, &room)["state"]["events"][0]["content"]["topic"], "new");
    }

    async fn state_and_account_data_are_filtered_by_type(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "name": "n", "topic": "t" })).await;
        send_texts(&alice, &room, 10).await;
        let user = format!("{V3}/user/{}", path_segment(&alice.id));
        for path in [format!("{user}/account_data"), format!("{user}/rooms/{}/account_data", path_segment(&room))] {
            for data_type in ["org.a", "org.b"] {
                let _ = alice.put(format!("{path}/{data_type}")).json(&json!({})).await.ok();
            }
        }
        let filter = json!({
            "account_data": { "types": ["org.a"] },
            "room": { "state": { "types": ["m.room.name"] }, "account_data": { "not_types": ["org.a"] } },
        });
        let answer = filtered(&alice, &filter, "").await;
        assert_eq!(keys(&joined(&answer, &room)["state"]), [("m.room.name", "")].into());
        assert_eq!(answer["account_data"]["events"], json!([{ "type": "org.a", "content": {} }]));
        let of_room = &joined(&answer, &room)["account_data"]["events"];
        assert_eq!(of_room, &json!([{ "type": "org.b", "content": {} }]));
    }

    async fn state_that_the_filter_hides_is_not_undone_by_older_state(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let levels = json!({ "users": { bob.id.as_str(): 50 } });
        let room = alice.create_room(&json!({ "preset": "public_chat", "power_level_content_override": levels })).await;
        bob.join(&room).await;
        let since = token(&alice).await;
        topic(&alice, &room, "shown and old").await;
        alice.send_text(&room, "1").await;
        topic(&bob, &room, "hidden and new").await;
        alice.send_text(&room, "2").await;
        let filter = json!({ "room": { "timeline": { "not_senders": [bob.id] } } });
        for query in [String::new(), format!("since={since}")] {
            let answer = filtered(&alice, &filter, &query).await;
            let of_room = joined(&answer, &room);
            let mut events = of_room["state"]["events"].as_array().unwrap().iter().chain(timeline(of_room));
            let last = events.rfind(|event| event["type"] == "m.room.topic").unwrap();
            assert_eq!(last["content"]["topic"], "hidden and new", "{query}: {answer}");
            assert_eq!(bodies(timeline(of_room)), ["1", "2"], "{query}");
            let is_limited = &of_room["timeline"]["limited"];
            assert_eq!(*is_limited, true, "what is before the timeline can be read on");
        }
    }

    async fn both_spellings_of_a_parameter_can_be_given(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        for (stable, unstable, key) in [("true", "false", "state_after"), ("false", "true", "state"), ("", "true", "state_after")] {
            let stable = if stable.is_empty() { String::new() } else { format!("use_state_after={stable}&") };
            let query = format!("{stable}org.matrix.msc4222.use_state_after={unstable}");
            let answer = sync(&alice, &query).await;
            assert!(joined(&answer, &room).get(key).is_some(), "{query}: {answer}");
        }
    }
}
