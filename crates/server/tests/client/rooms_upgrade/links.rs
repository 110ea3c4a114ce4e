//! Spaces of and around a room that is upgraded

use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases};

use super::{has_state, listing_path, set, state, upgrade};

async fn space(user: &User) -> String {
    user.create_room(&json!({ "preset": "public_chat", "creation_content": { "type": "m.space" } })).await
}

fn via() -> Value {
    json!({ "via": ["localhost"] })
}

on_both_databases! {
    async fn spaces_show_the_new_room_where_the_upgrader_may_say_so(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({})).await;
        let (own, of_bob, left) = (space(&alice).await, space(&bob).await, space(&alice).await);
        alice.join(&of_bob).await;
        let link = json!({ "via": ["elsewhere"], "order": "a", "suggested": true });
        for (user, parent) in [(&alice, &own), (&bob, &of_bob), (&alice, &left)] {
            set(user, parent, "m.space.child", &room, link.clone()).await;
        }
        set(&alice, &left, "m.space.child", &room, json!({})).await;
        set(&alice, &room, "m.space.parent", &own, json!({ "via": ["localhost"], "canonical": true })).await;

        let new = upgrade(&alice, &room, "11").await;
        let expected = json!({ "via": ["localhost"], "order": "a", "suggested": true });
        assert_eq!(state(&alice, &own, "m.space.child", &new).await, expected);
        assert_eq!(state(&alice, &own, "m.space.child", &room).await, json!({}));
        assert_eq!(state(&alice, &of_bob, "m.space.child", &room).await, link);
        assert!(!has_state(&alice, &of_bob, "m.space.child", &new).await);
        assert!(!has_state(&alice, &left, "m.space.child", &new).await);
        assert_eq!(state(&alice, &new, "m.space.parent", &own).await["canonical"], true);
    }

    async fn a_new_space_has_the_children_of_the_old_one_and_they_know_it(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let old = space(&alice).await;
        let (own, of_bob, removed) =
            (alice.create_room(&json!({})).await, bob.create_room(&json!({})).await, alice.create_room(&json!({})).await);
        for child in [&own, &of_bob, &removed] {
            set(&alice, &old, "m.space.child", child, json!({ "via": ["localhost"], "order": "b" })).await;
        }
        set(&alice, &old, "m.space.child", &removed, json!({})).await;
        let canonical = json!({ "via": ["localhost"], "canonical": true });
        set(&alice, &own, "m.space.parent", &old, canonical.clone()).await;
        set(&bob, &of_bob, "m.space.parent", &old, via()).await;

        let new = upgrade(&alice, &old, "12").await;
        assert_eq!(state(&alice, &new, "m.room.create", "").await["type"], "m.space");
        for child in [&own, &of_bob] {
            assert_eq!(state(&alice, &new, "m.space.child", child).await, json!({ "via": ["localhost"], "order": "b" }));
        }
        assert!(!has_state(&alice, &new, "m.space.child", &removed).await);
        assert_eq!(state(&alice, &own, "m.space.parent", &new).await, canonical);
        assert_eq!(state(&alice, &own, "m.space.parent", &old).await, json!({}));
        assert_eq!(state(&bob, &of_bob, "m.space.parent", &old).await, via());
        assert!(!has_state(&bob, &of_bob, "m.space.parent", &new).await);
    }

    async fn a_repeated_request_makes_up_for_what_was_interrupted(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "visibility": "public" })).await;
        let parent = space(&alice).await;
        set(&alice, &parent, "m.space.child", &room, via()).await;
        let new = upgrade(&alice, &room, "12").await;
        // As a crash right after the tombstone leaves it.
        set(&alice, &parent, "m.space.child", &room, via()).await;
        set(&alice, &parent, "m.space.child", &new, json!({})).await;
        alice.put(listing_path(&room)).json(&json!({ "visibility": "public" })).await.ok();

        assert_eq!(upgrade(&alice, &room, "12").await, new);
        assert_eq!(state(&alice, &parent, "m.space.child", &new).await, via());
        assert_eq!(state(&alice, &parent, "m.space.child", &room).await, json!({}));
        assert_eq!(alice.get(listing_path(&room)).await.ok()["visibility"], "private");
    }
}
