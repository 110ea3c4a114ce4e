//! Lazy-loaded members, summaries

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testing::{TestServer, eventually, on_both_databases, path_segment};

use super::{
    act, after_start, filtered, heroes, joined, keys, members, next, redact, send_texts, set, timeline, token,
};

fn lazy(redundant: bool) -> Value {
    let state = json!({ "lazy_load_members": true, "include_redundant_members": redundant });
    json!({ "room": { "state": state, "timeline": { "limit": 1 } } })
}

on_both_databases! {
    async fn with_lazy_loading_only_those_who_speak_are_told_and_once(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let room = alice.create_room(&json!({ "preset": "public_chat", "name": "n" })).await;
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

    async fn with_lazy_loading_everybody_is_told_who_changed_in_a_gap(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let mut others = Vec::new();
        for name in ["stays", "leaves", "joins", "banned", "renames"] {
            others.push(server.register(name).await);
        }
        let [stays, leaves, joins, banned, renames] = &others[..] else { unreachable!() };
        let room = alice.create_room(&json!({ "preset": "public_chat", "name": "n" })).await;
        for user in [stays, leaves, banned, renames] {
            user.join(&room).await;
        }
        let first = filtered(&alice, &lazy(false), "").await;
        act(leaves, &room, "leave", json!({})).await;
        joins.join(&room).await;
        act(&alice, &room, "ban", json!({ "user_id": banned.id })).await;
        let name = format!("/_matrix/client/v3/profile/{}/displayname", path_segment(&renames.id));
        assert!(renames.put(name).json(&json!({ "displayname": "R" })).await.ok().is_object());
        let changed = BTreeSet::from([leaves.id.as_str(), &joins.id, &banned.id, &renames.id]);
        eventually("the new name to reach the room", async || {
            let path = format!("/_matrix/client/v3/rooms/{}/state/m.room.member/{}", path_segment(&room), path_segment(&renames.id));
            (alice.get(path).await.ok()["displayname"] == "R").then_some(())
        })
        .await;
        send_texts(&alice, &room, 3).await;

        let query = format!("since={}", next(&first));
        for full in ["", "&full_state=true"] {
            let answer = filtered(&alice, &lazy(false), &format!("{query}{full}")).await;
            let found = members(&joined(&answer, &room)["state"]);
            assert!(found.is_superset(&changed) && !found.contains(stays.id.as_str()), "{full}: {answer}");
        }
        server.shutdown().await;
        let filter = path_segment(&lazy(false).to_string());
        let answer = Box::pin(after_start(&db, &alice, &format!("filter={filter}&{query}"))).await;
        assert!(members(&joined(&answer, &room)["state"]).is_superset(&changed), "{answer}");
    }

    async fn with_lazy_loading_those_who_stand_for_the_room_are_told(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let room = alice.create_room(&json!({ "preset": "public_chat", "invite": [carol.id] })).await;
        bob.join(&room).await;
        alice.send_text(&room, "so that nobody else is in the timeline").await;
        let first = filtered(&alice, &lazy(false), "").await;
        assert_eq!(heroes(joined(&first, &room)), [carol.id.as_str(), &bob.id], "by the order of the log");
        let told = members(&joined(&first, &room)["state"]);
        assert_eq!(told, BTreeSet::from([alice.id.as_str(), &bob.id, &carol.id]), "{first}");

        let dave = server.register("dave").await;
        dave.join(&room).await;
        alice.send_text(&room, "again").await;
        let second = filtered(&alice, &lazy(false), &format!("since={}", next(&first))).await;
        assert_eq!(heroes(joined(&second, &room)), [carol.id.as_str(), &bob.id, &dave.id]);
        // Of the others the client knows.
        assert_eq!(members(&joined(&second, &room)["state"]), BTreeSet::from([dave.id.as_str()]), "{second}");
    }

    async fn the_first_five_stand_for_a_room_in_the_order_of_the_log(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let mut expected = Vec::new();
        for number in (0..7).rev() {
            let user = server.register(&format!("user{number}")).await;
            if number % 2 == 0 {
                act(&alice, &room, "invite", json!({ "user_id": user.id })).await;
            } else {
                user.join(&room).await;
            }
            expected.push(user.id);
        }
        assert_eq!(heroes(joined(&alice.sync(None, 0).await, &room)), expected[..5]);

        // Those who have gone stand for a room only if nobody is there.
        let empty = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let (bob, carol) = (server.register("bob").await, server.register("carol").await);
        act(&alice, &empty, "ban", json!({ "user_id": bob.id })).await;
        carol.join(&empty).await;
        assert_eq!(heroes(joined(&alice.sync(None, 0).await, &empty)), [carol.id.as_str()]);
        act(&carol, &empty, "leave", json!({})).await;
        assert_eq!(heroes(joined(&alice.sync(None, 0).await, &empty)), [bob.id.as_str(), &carol.id]);
    }

    async fn a_name_or_alias_without_text_is_none(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        for content in [json!({}), json!({ "name": "" }), json!({ "name": null }), json!({ "name": "n" })] {
            let since = token(&alice).await;
            set(&alice, &room, "m.room.name", content.clone()).await;
            let is_named = content["name"] == "n";
            for answer in [alice.sync(None, 0).await, alice.sync(Some(&since), 0).await] {
                assert_eq!(joined(&answer, &room)["summary"].get("m.heroes").is_none(), is_named, "{content}: {answer}");
            }
        }
        let named = set(&alice, &room, "m.room.name", json!({ "name": "again" })).await;
        let since = token(&alice).await;
        redact(&alice, &room, &named).await;
        set(&alice, &room, "m.room.canonical_alias", json!({ "alt_aliases": [] })).await;
        for answer in [alice.sync(None, 0).await, alice.sync(Some(&since), 0).await] {
            assert_eq!(heroes(joined(&answer, &room)), [bob.id.as_str()], "{answer}");
        }
    }

    async fn members_that_the_filter_excludes_make_no_empty_entry(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let without = json!({ "not_types": ["m.room.member"] });
        for lazy in [false, true] {
            let state = json!({ "not_types": ["m.room.member"], "lazy_load_members": lazy });
            let filter = json!({ "room": { "timeline": without, "state": state } });
            let first = filtered(&alice, &filter, "").await;
            assert!(keys(&joined(&first, &room)["state"]).iter().all(|(kind, _)| *kind != "m.room.member"), "{first}");
            bob.join(&room).await;
            let second = filtered(&alice, &filter, &format!("since={}", next(&first))).await;
            assert!(second.get("rooms").is_none(), "{second}");
            act(&bob, &room, "leave", json!({})).await;
        }
    }
}
