//! Users who are ignored

use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

use super::{act, after_start, bodies, joined, keys, timeline, token, topic};
use crate::V3;

async fn ignore(user: &User, ignored: &[&User]) {
    let ignored: serde_json::Map<_, _> = ignored.iter().map(|user| (user.id.clone(), json!({}))).collect();
    let path = format!("{V3}/user/{}/account_data/m.ignored_user_list", path_segment(&user.id));
    assert!(user.put(path).json(&json!({ "ignored_users": ignored })).await.ok().is_object());
}

async fn read(user: &User, room: &str, path: &str) -> Answer {
    user.get(format!("{V3}/rooms/{}/{path}", path_segment(room))).await
}

fn of(events: &Value) -> Vec<&str> {
    bodies(events.as_array().unwrap())
}

on_both_databases! {
    async fn what_an_ignored_user_says_is_told_nowhere_and_what_they_change_is(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let levels = json!({ "users": { bob.id.as_str(): 50 } });
        let room = alice.create_room(&json!({ "preset": "public_chat", "power_level_content_override": levels })).await;
        carol.join(&room).await;
        ignore(&alice, &[&bob, &alice]).await;
        let since = token(&alice).await;
        bob.join(&room).await;
        let hidden = bob.send_text(&room, "hidden").await;
        let shown = carol.send_text(&room, "shown").await;
        topic(&bob, &room, "of bob").await;
        bob.send_text(&room, "hidden too").await;
        alice.send_text(&room, "own").await;

        let query = format!("since={since}");
        for answer in [alice.sync(Some(&since), 0).await, alice.sync(None, 0).await] {
            let of_room = joined(&answer, &room);
            assert_eq!(bodies(timeline(of_room)), ["shown", "own"], "{answer}");
            let mut told = keys(&of_room["state"]);
            told.extend(timeline(of_room).iter().filter_map(|it| Some((it["type"].as_str()?, it["state_key"].as_str()?))));
            assert!(told.contains(&("m.room.topic", "")) && told.contains(&("m.room.member", &bob.id)), "{answer}");
        }
        for direction in ["b", "f"] {
            let page = read(&alice, &room, &format!("messages?dir={direction}&limit=50")).await.ok();
            assert_eq!(of(&page["chunk"]).len(), 2, "{page}");
        }
        let context = read(&alice, &room, &format!("context/{}?limit=20", path_segment(&shown))).await.ok();
        assert_eq!((of(&context["events_before"]), of(&context["events_after"])), (vec![], vec!["own"]), "{context}");
        read(&alice, &room, &format!("context/{}", path_segment(&hidden))).await.error(404, "M_NOT_FOUND");
        read(&alice, &room, &format!("event/{}", path_segment(&hidden))).await.error(404, "M_NOT_FOUND");
        // Others are not concerned.
        assert_eq!(of(&read(&carol, &room, "messages?dir=b&limit=50").await.ok()["chunk"]).len(), 4);

        server.shutdown().await;
        let answer = Box::pin(after_start(&db, &alice, &query)).await;
        assert_eq!(bodies(timeline(joined(&answer, &room))), ["shown", "own"], "{answer}");
    }

    async fn a_change_of_the_list_counts_at_once_and_in_both_directions(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let since = token(&alice).await;
        bob.send_text(&room, "before").await;
        let answer = alice.sync(Some(&since), 0).await;
        assert_eq!(bodies(timeline(joined(&answer, &room))), ["before"]);
        ignore(&alice, &[&bob]).await;
        let since = token(&alice).await;
        bob.send_text(&room, "ignored").await;
        assert_eq!(alice.sync(Some(&since), 0).await.get("rooms"), None);
        ignore(&alice, &[]).await;
        let since = token(&alice).await;
        bob.send_text(&room, "after").await;
        let answer = alice.sync(Some(&since), 0).await;
        assert_eq!(bodies(timeline(joined(&answer, &room))), ["after"]);
        let whole = alice.sync(None, 0).await;
        assert_eq!(bodies(timeline(joined(&whole, &room))), ["before", "ignored", "after"]);
    }

    async fn a_sync_goes_on_waiting_when_an_ignored_user_says_something(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        ignore(&alice, &[&bob]).await;
        let since = token(&alice).await;
        let (answer, ()) = tokio::join!(alice.sync(Some(&since), 30_000), async {
            bob.send_text(&room, "hidden").await;
            topic(&alice, &room, "shown").await;
        });
        assert_eq!(timeline(joined(&answer, &room)).len(), 1, "{answer}");
        assert_eq!(timeline(joined(&answer, &room))[0]["type"], "m.room.topic");
    }

    async fn invitations_by_ignored_users_are_not_told(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        ignore(&alice, &[&bob]).await;
        let since = token(&alice).await;
        let of_bob = bob.create_room(&json!({ "invite": [alice.id] })).await;
        let of_carol = carol.create_room(&json!({ "invite": [alice.id] })).await;
        for answer in [alice.sync(Some(&since), 0).await, alice.sync(None, 0).await] {
            let invited = &answer["rooms"]["invite"];
            assert!(invited.get(&of_bob).is_none() && invited[&of_carol].is_object(), "{answer}");
        }
        ignore(&alice, &[]).await;
        assert!(alice.sync(None, 0).await["rooms"]["invite"][&of_bob].is_object());
        alice.join(&of_bob).await;
        ignore(&alice, &[&bob]).await;
        let answer = alice.sync(None, 0).await;
        assert!(joined(&answer, &of_bob).is_object(), "who is in the room stays in it");
        act(&alice, &of_bob, "leave", json!({})).await;
    }
}
