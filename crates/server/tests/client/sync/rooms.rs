//! Rooms that a user is invited to, knocks at, comes into, and leaves

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

use super::{act, bodies, filtered, ids, joined, keys, left, next, send_texts, timeline, token, topic};
use crate::V3;

fn include_leave() -> Value {
    json!({ "room": { "include_leave": true } })
}

/// Types and state keys of stripped state, which has nothing else than what introduces a room.
fn stripped(state: &Value) -> Vec<(&str, &str)> {
    let events = state["events"].as_array().unwrap();
    for event in events {
        let members: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["content", "sender", "state_key", "type"], "{state}");
    }
    events.iter().map(|event| (event["type"].as_str().unwrap(), event["state_key"].as_str().unwrap())).collect()
}

async fn knock(user: &User, room: &str) {
    let path = format!("{V3}/knock/{}", path_segment(room));
    assert!(user.post(path).json(&json!({})).await.ok().is_object());
}

on_both_databases! {
    async fn an_invited_user_sees_the_stripped_state(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let since = token(&bob).await;
        let room = alice.create_room(&json!({ "name": "n", "topic": "t", "invite": [bob.id] })).await;
        alice.send_text(&room, "not for those outside").await;
        for answer in [bob.sync(Some(&since), 0).await, bob.sync(None, 0).await] {
            let state = stripped(&answer["rooms"]["invite"][&room]["invite_state"]);
            for wanted in ["m.room.create", "m.room.name", "m.room.join_rules"] {
                assert!(state.contains(&(wanted, "")), "{wanted}: {answer}");
            }
            assert!(state.contains(&("m.room.member", &bob.id)) && state.contains(&("m.room.member", &alice.id)), "{answer}");
            assert!(answer["rooms"].get("join").is_none(), "{answer}");
        }
        let since = token(&bob).await;
        topic(&alice, &room, "new").await;
        assert_eq!(bob.sync(Some(&since), 0).await.get("rooms"), None);

        act(&bob, &room, "leave", json!({})).await;
        let declined = bob.sync(Some(&since), 0).await;
        assert!(declined["rooms"].get("invite").is_none(), "{declined}");
        let room_answer = left(&declined, &room);
        assert!(timeline(room_answer).iter().all(|event| event["state_key"] == bob.id.as_str()), "{declined}");
        assert_eq!(room_answer["state"]["events"], json!([]));
        assert_eq!(bob.sync(None, 0).await.get("rooms"), None);
    }

    async fn who_knocks_sees_the_room_from_outside_until_let_in(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let rules = json!({ "type": "m.room.join_rules", "content": { "join_rule": "knock" } });
        let room = alice.create_room(&json!({ "name": "n", "initial_state": [rules] })).await;
        let since = token(&bob).await;
        knock(&bob, &room).await;
        for answer in [bob.sync(Some(&since), 0).await, bob.sync(None, 0).await] {
            let state = stripped(&answer["rooms"]["knock"][&room]["knock_state"]);
            assert!(state.contains(&("m.room.name", "")) && state.contains(&("m.room.member", &bob.id)), "{answer}");
        }
        let since = token(&bob).await;
        act(&alice, &room, "invite", json!({ "user_id": bob.id })).await;
        let invited = bob.sync(Some(&since), 0).await;
        assert!(invited["rooms"]["invite"][&room].is_object() && invited["rooms"].get("knock").is_none(), "{invited}");
        bob.join(&room).await;
        let inside = bob.sync(Some(next(&invited)), 0).await;
        assert!(joined(&inside, &room)["summary"]["m.joined_member_count"] == 2, "{inside}");
    }

    async fn a_room_that_a_user_comes_into_is_told_whole(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        send_texts(&alice, &room, 12).await;
        let since = token(&bob).await;
        bob.join(&room).await;
        let answer = bob.sync(Some(&since), 0).await;
        let first = joined(&answer, &room);
        assert!(keys(&first["state"]).contains(&("m.room.create", "")), "{answer}");
        assert_eq!(first["timeline"]["limited"], true);
        assert_eq!(timeline(first).last().unwrap()["state_key"], bob.id.as_str());

        // Away and back: what was missed is not known in parts.
        act(&bob, &room, "leave", json!({})).await;
        let away = bob.sync(Some(next(&answer)), 0).await;
        topic(&alice, &room, "meanwhile").await;
        bob.join(&room).await;
        for since in [next(&answer), next(&away)] {
            let again = bob.sync(Some(since), 0).await;
            let room_answer = joined(&again, &room);
            let mut known = keys(&room_answer["state"]);
            known.extend(timeline(room_answer).iter().filter_map(|event| {
                Some((event["type"].as_str().unwrap(), event.get("state_key")?.as_str().unwrap()))
            }));
            for wanted in [("m.room.create", ""), ("m.room.topic", ""), ("m.room.member", &alice.id)] {
                assert!(known.contains(&wanted), "{wanted:?}: {again}");
            }
            assert!(again["rooms"].get("leave").is_none(), "{again}");
        }
    }

    async fn who_leaves_or_is_removed_sees_nothing_of_what_comes_after(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        for how in ["leave", "kick", "ban"] {
            let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
            bob.join(&room).await;
            let since = token(&bob).await;
            alice.send_text(&room, "before").await;
            if how == "leave" {
                act(&bob, &room, how, json!({})).await;
            } else {
                act(&alice, &room, how, json!({ "user_id": bob.id })).await;
            }
            alice.send_text(&room, "after").await;
            topic(&alice, &room, "after").await;

            let answer = bob.sync(Some(&since), 0).await;
            let gone = left(&answer, &room);
            assert_eq!(bodies(timeline(gone)), ["before"], "{how}");
            let last = timeline(gone).last().unwrap();
            let membership = if how == "ban" { "ban" } else { "leave" };
            assert_eq!((&last["state_key"], &last["content"]["membership"]), (&json!(bob.id), &json!(membership)));
            assert!(answer["rooms"].get("join").is_none(), "{answer}");
            alice.send_text(&room, "long after").await;
            assert_eq!(bob.sync(Some(next(&answer)), 0).await.get("rooms"), None, "{how}");

            let first = bob.sync(None, 0).await;
            assert!(first["rooms"].get("leave").is_none(), "{first}");
            let archived = filtered(&bob, &include_leave(), "").await;
            let gone = left(&archived, &room);
            assert_eq!(bodies(timeline(gone)), ["before"], "{how}");
            assert!(!keys(&gone["state"]).contains(&("m.room.topic", "")), "{how}");
        }
    }

    async fn who_is_banned_after_leaving_sees_nothing_of_the_time_between(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let since = token(&bob).await;
        act(&bob, &room, "leave", json!({})).await;
        let gone = token(&bob).await;
        alice.send_text(&room, "between").await;
        topic(&alice, &room, "between").await;
        act(&alice, &room, "ban", json!({ "user_id": bob.id })).await;
        for query in [format!("since={since}"), format!("since={gone}"), String::new()] {
            for key in ["state", "state_after"] {
                let after = if key == "state" { "" } else { "&use_state_after=true" };
                let answer = filtered(&bob, &include_leave(), &format!("{query}{after}")).await;
                let banned = left(&answer, &room);
                assert_eq!(timeline(banned).last().unwrap()["content"]["membership"], "ban", "{query}");
                assert_eq!(bodies(timeline(banned)), [""; 0], "{query}");
                let told = timeline(banned).iter().chain(banned[key]["events"].as_array().unwrap());
                assert!(told.into_iter().all(|event| event["type"] != "m.room.topic"), "{answer}");
            }
        }
    }

    async fn state_that_is_not_in_the_visible_history_is_still_told(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        super::set(&alice, &room, "m.room.history_visibility", json!({ "history_visibility": "joined" })).await;
        topic(&alice, &room, "before bob came").await;
        let since = token(&bob).await;
        bob.join(&room).await;
        for answer in [bob.sync(Some(&since), 0).await, bob.sync(None, 0).await] {
            let room_answer = joined(&answer, &room);
            assert!(keys(&room_answer["state"]).contains(&("m.room.topic", "")), "{answer}");
            assert!(timeline(room_answer).iter().all(|event| event["type"] != "m.room.topic"), "{answer}");
        }
    }

    async fn who_comes_and_goes_between_two_answers_is_told_the_room_up_to_there(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let since = token(&bob).await;
        bob.join(&room).await;
        alice.send_text(&room, "while there").await;
        act(&bob, &room, "leave", json!({})).await;
        alice.send_text(&room, "after").await;
        let answer = bob.sync(Some(&since), 0).await;
        assert_eq!(bodies(timeline(left(&answer, &room))), ["while there"]);
    }

    async fn a_forgotten_room_is_not_told_any_more(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let since = token(&bob).await;
        act(&bob, &room, "leave", json!({})).await;
        assert!(left(&filtered(&bob, &include_leave(), "").await, &room).is_object());
        act(&bob, &room, "forget", json!({})).await;
        assert_eq!(filtered(&bob, &include_leave(), "").await.get("rooms"), None);
        // Other devices of the user learn that the room is gone.
        let other = bob.sync(Some(&since), 0).await;
        assert_eq!(timeline(left(&other, &room)).last().unwrap()["state_key"], bob.id.as_str());

        bob.join(&room).await;
        assert!(joined(&bob.sync(None, 0).await, &room).is_object());
    }

    async fn history_for_members_begins_with_the_joining(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let visibility = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } });
        let room = alice.create_room(&json!({ "preset": "public_chat", "initial_state": [visibility] })).await;
        send_texts(&alice, &room, 12).await;
        let since = token(&bob).await;
        bob.join(&room).await;
        let sent = alice.send_text(&room, "welcome").await;
        for answer in [bob.sync(Some(&since), 0).await, bob.sync(None, 0).await] {
            let room_answer = joined(&answer, &room);
            assert_eq!(bodies(timeline(room_answer)), ["welcome"]);
            assert_eq!((timeline(room_answer).len(), ids(timeline(room_answer)).last()), (2, Some(&sent.as_str())));
            assert_eq!(room_answer["timeline"]["limited"], true);
            assert!(keys(&room_answer["state"]).contains(&("m.room.history_visibility", "")), "{answer}");
        }
    }

    async fn who_comes_back_ends_with_the_newest_state(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let visibility = json!({ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } });
        let room = alice.create_room(&json!({ "preset": "public_chat", "initial_state": [visibility] })).await;
        bob.join(&room).await;
        let carol = server.register("carol").await;
        act(&alice, &room, "invite", json!({ "user_id": carol.id })).await;
        topic(&alice, &room, "old").await;
        let since = token(&bob).await;
        act(&bob, &room, "leave", json!({})).await;
        topic(&alice, &room, "new").await;
        carol.join(&room).await;
        act(&alice, &room, "invite", json!({ "user_id": bob.id })).await;
        bob.join(&room).await;
        alice.send_text(&room, "welcome back").await;
        let lazy = json!({ "room": { "state": { "lazy_load_members": true } } });
        for query in [String::new(), format!("since={since}"), format!("since={since}&full_state=true")] {
            for filter in [json!({}), lazy.clone()] {
                let answer = filtered(&bob, &filter, &query).await;
                let of_room = joined(&answer, &room);
                let events = of_room["state"]["events"].as_array().unwrap().iter().chain(timeline(of_room));
                let state: BTreeMap<_, _> = events
                    .filter_map(|event| Some(((event["type"].as_str()?, event["state_key"].as_str()?), &event["content"])))
                    .collect();
                assert_eq!(state[&("m.room.topic", "")]["topic"], "new", "{filter} {query}: {answer}");
                assert_eq!(state[&("m.room.member", bob.id.as_str())]["membership"], "join", "{filter} {query}: {answer}");
                if let Some(carol) = state.get(&("m.room.member", &*carol.id)) {
                    assert_eq!(carol["membership"], "join", "{filter} {query}: {answer}");
                }
                assert_eq!(bodies(timeline(of_room)), ["welcome back"]);
            }
        }
    }
}
