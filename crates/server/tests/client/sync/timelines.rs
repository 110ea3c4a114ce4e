//! Timelines, the gaps in them, and the state around them

use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

use super::{
    act, after_start, bodies, filtered, ids, joined, keys, next, nothing_but, redact, send_texts, set, sync, timeline,
    token, topic,
};
use crate::V3;

/// What `/messages` has backwards from a token, in pages.
async fn all_before(user: &User, room: &str, from: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut from = from.to_owned();
    for _ in 0..100 {
        let path = format!("{V3}/rooms/{}/messages?dir=b&limit=4&from={}", path_segment(room), path_segment(&from));
        let page = user.get(path).await.ok();
        found.extend(ids(page["chunk"].as_array().unwrap()).into_iter().map(str::to_owned));
        let Some(end) = page["end"].as_str() else { return found };
        end.clone_into(&mut from);
    }
    unreachable!("the pages do not end");
}

/// What `state` has in `member` of the content of the events of this type.
fn contents<'a>(state: &'a Value, event_type: &str, member: &str) -> Vec<&'a Value> {
    let events = state["events"].as_array().unwrap().iter();
    events.filter(|event| event["type"] == event_type).map(|event| &event["content"][member]).collect()
}

/// Takes out the ages, which differ from answer to answer.
fn without_ages(mut answer: Value) -> Value {
    fn remove(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.remove("age");
                members.values_mut().for_each(remove);
            }
            Value::Array(items) => items.iter_mut().for_each(remove),
            _ => {}
        }
    }
    remove(&mut answer);
    answer
}

on_both_databases! {
    async fn a_first_sync_has_each_event_in_the_timeline_or_in_the_state(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let (short, long) = (alice.create_room(&json!({})).await, alice.create_room(&json!({ "name": "old" })).await);
        send_texts(&alice, &long, 9).await;
        set(&alice, &long, "m.room.name", json!({ "name": "new" })).await;
        let answer = alice.sync(None, 0).await;

        let room = joined(&answer, &short);
        assert_eq!((&room["timeline"]["limited"], &room["state"]["events"]), (&json!(false), &json!([])), "{room}");
        assert_eq!(timeline(room)[0]["type"], "m.room.create");

        let room = joined(&answer, &long);
        assert_eq!((&room["timeline"]["limited"], timeline(room).len()), (&json!(true), 10));
        let state = room["state"]["events"].as_array().unwrap();
        let (shown, before) = (ids(timeline(room)), ids(state));
        assert!(before.iter().all(|id| !shown.contains(id)), "{room}");
        assert!(keys(&room["state"]).contains(&("m.room.create", "")), "{room}");
        assert_eq!(contents(&room["state"], "m.room.name", "name"), ["old"]);
        assert!(state.iter().chain(timeline(room)).all(|event| event.get("room_id").is_none()), "{room}");
        let everything = all_before(&alice, &long, next(&answer)).await;
        let older = all_before(&alice, &long, room["timeline"]["prev_batch"].as_str().unwrap()).await;
        assert_eq!(everything[10..], older);
        assert!(everything[..10].iter().rev().eq(ids(timeline(room)).iter()));
    }

    async fn later_answers_have_only_what_is_new(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let (room, quiet) = (alice.create_room(&json!({})).await, alice.create_room(&json!({})).await);
        let since = token(&alice).await;
        let sent = send_texts(&alice, &room, 2).await;
        let answer = alice.sync(Some(&since), 0).await;
        assert_eq!(ids(timeline(joined(&answer, &room))), sent);
        assert_eq!(joined(&answer, &room)["timeline"]["limited"], false);
        assert_eq!(joined(&answer, &room)["state"]["events"], json!([]));
        assert!(answer["rooms"]["join"].get(&quiet).is_none(), "{answer}");
        let nothing = alice.sync(Some(next(&answer)), 0).await;
        assert_eq!(nothing, nothing_but(next(&answer)));
        // A client that did not get the answer asks again.
        assert_eq!(without_ages(alice.sync(Some(&since), 0).await), without_ages(answer));
    }

    async fn a_gap_is_named_and_can_be_filled_without_repetition(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "topic": "first" })).await;
        let since = token(&alice).await;
        topic(&alice, &room, "second").await;
        let lost = topic(&alice, &room, "third").await;
        let sent = send_texts(&alice, &room, 12).await;
        let check = async |answer: &Value, server: &TestServer| {
            let room_answer = joined(answer, &room);
            assert_eq!(room_answer["timeline"]["limited"], true, "{answer}");
            assert_eq!(ids(timeline(room_answer)), sent[2..]);
            assert_eq!(ids(room_answer["state"]["events"].as_array().unwrap()), [lost.as_str()]);
            let from = room_answer["timeline"]["prev_batch"].as_str().unwrap();
            let path = format!("{V3}/rooms/{}/messages?dir=b&limit=4&from={from}", path_segment(&room));
            let page = server.client().get(path).token(&alice.token).await.ok();
            let expected = [&sent[1], &sent[0], &lost];
            assert_eq!(ids(page["chunk"].as_array().unwrap())[..3], expected);
        };
        check(&alice.sync(Some(&since), 0).await, &server).await;
        let everything = all_before(&alice, &room, next(&alice.sync(None, 0).await)).await;
        assert_eq!(everything.iter().collect::<std::collections::BTreeSet<_>>().len(), everything.len());
        server.shutdown().await;
        let again = TestServer::start(&db).await;
        let answer = again.client().get(format!("{V3}/sync?since={since}")).token(&alice.token).await.ok();
        check(&answer, &again).await;
    }

    async fn full_state_and_state_after_are_what_the_client_asks_for(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let (room, quiet) = (alice.create_room(&json!({ "topic": "first" })).await, alice.create_room(&json!({})).await);
        let since = token(&alice).await;
        let begin = format!("since={since}");
        topic(&alice, &room, "second").await;
        let topics = |answer: &Value, key: &str| json!(contents(&joined(answer, &room)[key], "m.room.topic", "topic"));

        let full = sync(&alice, &format!("{begin}&full_state=true")).await;
        assert_eq!(topics(&full, "state"), json!(["first"]));
        assert!(keys(&joined(&full, &room)["state"]).contains(&("m.room.create", "")), "{full}");
        assert!(keys(&joined(&full, &quiet)["state"]).contains(&("m.room.create", "")), "{full}");
        assert_eq!(timeline(joined(&full, &room)).len(), 1);

        let after = sync(&alice, &format!("{begin}&use_state_after=true")).await;
        assert_eq!(topics(&after, "state_after"), json!(["second"]));
        assert_eq!(keys(&joined(&after, &room)["state_after"]).len(), 1);
        assert!(joined(&after, &room).get("state").is_none(), "{after}");

        let both = sync(&alice, &format!("{begin}&use_state_after=true&full_state=true")).await;
        assert_eq!(topics(&both, "state_after"), json!(["second"]));
        for names in ["use_state_after=true", "org.matrix.msc4222.use_state_after=true&use_state_after=true"] {
            let first = sync(&alice, names).await;
            assert_eq!(topics(&first, "state_after"), json!(["second"]), "{names}");
        }
        let first = sync(&alice, "org.matrix.msc4222.use_state_after=true").await;
        assert!(keys(&joined(&first, &quiet)["state_after"]).contains(&("m.room.create", "")), "{first}");
    }

    async fn a_limit_of_zero_has_no_timeline_but_all_state(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let filter = json!({ "room": { "timeline": { "limit": 0 } } });
        let first = filtered(&alice, &filter, "").await;
        assert!(timeline(joined(&first, &room)).is_empty() && joined(&first, &room)["timeline"]["limited"] == true);
        assert!(keys(&joined(&first, &room)["state"]).contains(&("m.room.member", &alice.id)), "{first}");
        topic(&alice, &room, "new").await;
        let answer = filtered(&alice, &filter, &format!("since={}", next(&first))).await;
        assert!(timeline(joined(&answer, &room)).is_empty() && joined(&answer, &room)["timeline"]["limited"] == true);
        assert_eq!(keys(&joined(&answer, &room)["state"]), [("m.room.topic", "")].into());
    }

    async fn an_old_token_gets_after_a_restart_what_it_got_before(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let (quiet, gone) = (alice.create_room(&json!({})).await, bob.create_room(&json!({ "preset": "public_chat" })).await);
        let called = bob.create_room(&json!({})).await;
        alice.join(&gone).await;
        let since = token(&alice).await;
        bob.join(&room).await;
        topic(&alice, &room, "new").await;
        let sent = send_texts(&bob, &room, 3).await;
        redact(&bob, &room, &sent[1]).await;
        alice.send_text(&room, "of this device").await;
        act(&alice, &gone, "leave", json!({})).await;
        act(&bob, &called, "invite", json!({ "user_id": alice.id })).await;
        let path = format!("{V3}/user/{}/account_data/org.example", path_segment(&alice.id));
        let _ = alice.put(path).json(&json!({ "a": 1 })).await.ok();

        let filter = |filter: Value| format!("&filter={}", path_segment(&json!({ "room": filter }).to_string()));
        let queries = [
            String::new(),
            "&use_state_after=true".to_owned(),
            "&full_state=true".to_owned(),
            filter(json!({ "timeline": { "limit": 1 } })),
            filter(json!({ "timeline": { "limit": 0 } })) + "&use_state_after=true",
            filter(json!({ "timeline": { "types": ["m.room.message"] } })),
            filter(json!({ "timeline": { "types": ["m.room.message"], "limit": 2 } })),
            filter(json!({ "timeline": { "types": ["m.room.member"], "limit": 2 } })),
            filter(json!({ "timeline": { "not_senders": [bob.id] } })),
            filter(json!({ "state": { "lazy_load_members": true }, "timeline": { "limit": 3 } })),
            filter(json!({ "timeline": { "not_types": ["m.room.topic"] }, "state": { "not_types": ["m.room.member"] } })),
        ]
        .map(|further| format!("since={since}{further}"));
        let mut before = Vec::new();
        for query in &queries {
            before.push(sync(&alice, query).await);
        }
        let first = &before[0];
        assert!(first["rooms"]["join"].get(&quiet).is_none(), "{first}");
        assert_eq!(bodies(timeline(joined(first, &room))), ["0", "2", "of this device"]);
        assert!(first["rooms"]["leave"][&gone].is_object() && first["rooms"]["invite"][&called].is_object(), "{first}");

        server.shutdown().await;
        for (query, before) in queries.iter().zip(before) {
            // Started for each, as answering changes what is remembered.
            let answer = Box::pin(after_start(&db, &alice, query)).await;
            assert_eq!(without_ages(answer), without_ages(before), "{query}");
        }
    }
}
