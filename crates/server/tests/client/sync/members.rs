//! Lazy-loaded members, summaries

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testing::{TestServer, on_both_databases};

use super::{act, filtered, joined, members, next, set, timeline};

fn lazy(redundant: bool) -> Value {
    let state = json!({ "lazy_load_members": true, "include_redundant_members": redundant });
    json!({ "room": { "state": state, "timeline": { "limit": 1 } } })
}

on_both_databases! {
    async fn with_lazy_loading_only_those_who_speak_are_told_and_once(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        carol.join(&room).await;
        bob.send_text(&room, "1").await;
        let first = filtered(&alice, &lazy(false), "").await;
        assert_eq!(members(&joined(&first, &room)["state"]), BTreeSet::from([alice.id.as_str(), &bob.id]));
        let everybody = alice.sync(None, 0).await;
        let listed = members(&joined(&everybody, &room)["state"]).len();
        let joins = timeline(joined(&everybody, &room)).iter().filter(|event| event["type"] == "m.room.member").count();
        assert_eq!(listed + joins, 3, "{everybody}");

        bob.send_text(&room, "2").await;
        let since = format!("since={}", next(&first));
        let second = filtered(&alice, &lazy(false), &since).await;
        assert_eq!(joined(&second, &room)["state"]["events"], json!([]));
        carol.send_text(&room, "3").await;
        let third = filtered(&alice, &lazy(false), &format!("since={}", next(&second))).await;
        assert_eq!(members(&joined(&third, &room)["state"]), BTreeSet::from([carol.id.as_str()]));
        // It may be that the answer was lost.
        let repeated = filtered(&alice, &lazy(false), &format!("since={}", next(&second))).await;
        assert_eq!(members(&joined(&repeated, &room)["state"]), BTreeSet::from([carol.id.as_str()]));

        carol.send_text(&room, "4").await;
        let redundant = filtered(&alice, &lazy(true), &format!("since={}", next(&third))).await;
        assert_eq!(members(&joined(&redundant, &room)["state"]), BTreeSet::from([carol.id.as_str()]));
    }

    async fn a_room_without_a_name_has_heroes_and_all_have_counts(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let room = alice.create_room(&json!({ "preset": "public_chat", "invite": [carol.id] })).await;
        bob.join(&room).await;
        let first = alice.sync(None, 0).await;
        let summary = &joined(&first, &room)["summary"];
        assert_eq!((&summary["m.joined_member_count"], &summary["m.invited_member_count"]), (&json!(2), &json!(1)));
        let heroes: BTreeSet<_> = summary["m.heroes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(heroes, BTreeSet::from([bob.id.as_str(), &carol.id]));

        alice.send_text(&room, "nothing changes").await;
        let second = alice.sync(Some(next(&first)), 0).await;
        assert!(joined(&second, &room).get("summary").is_none(), "{second}");
        act(&carol, &room, "leave", json!({})).await;
        let third = alice.sync(Some(next(&second)), 0).await;
        let summary = &joined(&third, &room)["summary"];
        assert_eq!((&summary["m.invited_member_count"], &summary["m.heroes"]), (&json!(0), &json!([bob.id])));
        set(&alice, &room, "m.room.name", json!({ "name": "n" })).await;
        let named = alice.sync(Some(next(&third)), 0).await;
        let summary = &joined(&named, &room)["summary"];
        assert_eq!((&summary["m.joined_member_count"], summary.get("m.heroes")), (&json!(2), None), "{named}");
    }

    async fn those_who_left_stand_for_an_empty_room(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        act(&bob, &room, "leave", json!({})).await;
        let answer = alice.sync(None, 0).await;
        let summary = &joined(&answer, &room)["summary"];
        assert_eq!((&summary["m.heroes"], &summary["m.joined_member_count"]), (&json!([bob.id]), &json!(1)));
    }
}
