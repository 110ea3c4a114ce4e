use serde_json::json;
use testing::{Answer, User, on_both_databases};

use crate::{V3, at_once, create_room, invite, join, public_room, refused, send, server_with};

async fn redact(user: &User, room: &str, event: &str, transaction: &str) -> Answer {
    user.put(format!("{V3}/rooms/{room}/redact/{event}/{transaction}")).json(&json!({})).await
}

async fn set_topic(user: &User, room: &str, topic: &str) -> Answer {
    user.put(format!("{V3}/rooms/{room}/state/m.room.topic")).json(&json!({ "topic": topic })).await
}

async fn set_name(user: &User, name: &str) -> Answer {
    user.put(format!("{V3}/profile/{}/displayname", user.id)).json(&json!({ "displayname": name })).await
}

on_both_databases! {
    async fn whatever_a_user_puts_into_rooms_counts_as_a_message(db: TestDatabase) {
        let server = server_with(&db, &at_once("message", 5)).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&alice).await;
        let event = send(&alice, &room, "1").await.ok()["event_id"].as_str().unwrap().to_owned();
        set_topic(&alice, &room, "a topic").await.ok();
        // Nothing changes, so nothing is counted.
        set_topic(&alice, &room, "a topic").await.ok();
        set_name(&alice, "Alice").await.ok();
        redact(&alice, &room, &event, "2").await.ok();

        refused(send(&alice, &room, "3").await);
        refused(set_topic(&alice, &room, "another topic").await);
        refused(set_name(&alice, "Malice").await);
        refused(redact(&alice, &room, &event, "4").await);
        refused(invite(&alice, &room, &bob.id).await);
        refused(alice.post(format!("{V3}/rooms/{room}/leave")).json(&json!({})).await);
        refused(create_room(&alice, json!({})).await);
        join(&bob, &room).await.ok();
        send(&bob, &room, "1").await.ok();

        let metrics = server.client().get("/metrics").await.body;
        let metrics = String::from_utf8(metrics.to_vec()).unwrap();
        let has = |line: &str| assert!(metrics.contains(line), "{line} in {metrics}");
        has("rate_limited_requests_total{kind=\"message\"} 7\n");
        has("rate_limit_keys{kind=\"message\"} 2\n");
    }

    async fn what_the_room_refuses_is_not_counted(db: TestDatabase) {
        let server = server_with(&db, &at_once("message", 2)).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({})).await;
        for number in 0..4 {
            send(&bob, &room, &number.to_string()).await.error(403, "M_FORBIDDEN");
            set_topic(&bob, &room, "mine").await.error(403, "M_FORBIDDEN");
            create_room(&bob, json!({ "room_version": "nonsense" })).await.error(400, "M_UNSUPPORTED_ROOM_VERSION");
            set_name(&bob, &"x".repeat(1_000)).await.error(400, "M_INVALID_PARAM");
        }
        let own = bob.create_room(&json!({})).await;
        send(&bob, &own, "a").await.ok();
        refused(send(&bob, &own, "b").await);
    }

    async fn whoever_deactivates_an_account_leaves_all_rooms_at_once(db: TestDatabase) {
        let server = server_with(&db, &at_once("message", 3)).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let mut rooms = Vec::new();
        for _ in 0..3 {
            rooms.push(public_room(&alice).await);
        }
        for room in &rooms {
            join(&bob, room).await.ok();
        }
        refused(send(&bob, &rooms[0], "1").await);
        let auth = json!({ "type": "m.login.password", "password": "password of bob",
                           "identifier": { "type": "m.id.user", "user": "bob" } });
        bob.post(format!("{V3}/account/deactivate")).json(&json!({ "auth": auth })).await.ok();
        for room in &rooms {
            let joined = alice.get(format!("{V3}/rooms/{room}/joined_members")).await.ok();
            assert_eq!(joined["joined"].as_object().unwrap().len(), 1, "{joined}");
        }
    }

    async fn redacting_others_has_a_limit_of_its_own_if_there_is_one(db: TestDatabase) {
        let mut limits = at_once("message", 3);
        limits.insert("admin_redaction".to_owned(), limits["message"].clone());
        let server = server_with(&db, &limits).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = public_room(&alice).await;
        join(&bob, &room).await.ok();
        let mut events = Vec::new();
        for number in 0..2 {
            events.push(send(&bob, &room, &number.to_string()).await.ok()["event_id"].as_str().unwrap().to_owned());
        }
        for transaction in ["1", "2", "3"] {
            redact(&alice, &room, &events[0], transaction).await.ok();
        }
        refused(redact(&alice, &room, &events[1], "4").await);
        let own = send(&alice, &room, "5").await.ok()["event_id"].as_str().unwrap().to_owned();
        redact(&alice, &room, &own, "6").await.ok();
        refused(redact(&alice, &room, &own, "7").await);
    }

    async fn joins_are_counted_by_user_and_staying_is_no_join(db: TestDatabase) {
        let server = server_with(&db, &at_once("joins.local", 2)).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let mut rooms = Vec::new();
        for _ in 0..3 {
            rooms.push(public_room(&alice).await);
        }
        join(&bob, &rooms[0]).await.ok();
        join(&bob, &rooms[0]).await.ok();
        set_name(&bob, "Bob").await.ok();
        join(&bob, &rooms[1]).await.ok();
        refused(join(&bob, &rooms[2]).await);
        refused(bob.post(format!("{V3}/join/{}", rooms[2])).json(&json!({})).await);
        let member = format!("{V3}/rooms/{}/state/m.room.member/{}", rooms[2], bob.id);
        refused(bob.put(member).json(&json!({ "membership": "join" })).await);
    }

    async fn joins_of_rooms_that_are_not_here_are_counted_apart(db: TestDatabase) {
        let server = server_with(&db, &at_once("joins.remote", 2)).await;
        let alice = server.register("alice").await;
        for _ in 0..2 {
            join(&alice, "!nowhere:elsewhere.invalid").await.error(502, "M_CONNECTION_FAILED");
        }
        refused(join(&alice, "!nowhere:elsewhere.invalid").await);
        let room = public_room(&alice).await;
        let bob = server.register("bob").await;
        join(&bob, &room).await.ok();
    }

    async fn joins_are_counted_by_room(db: TestDatabase) {
        let server = server_with(&db, &at_once("joins_per_room", 2)).await;
        let alice = server.register("alice").await;
        let (room, other) = (public_room(&alice).await, public_room(&alice).await);
        let mut users = Vec::new();
        for name in ["bob", "carol", "dave"] {
            users.push(server.register(name).await);
        }
        join(&users[0], &room).await.ok();
        join(&users[1], &room).await.ok();
        refused(join(&users[2], &room).await);
        join(&users[2], &other).await.ok();
    }

    async fn invitations_are_counted_by_room(db: TestDatabase) {
        let server = server_with(&db, &at_once("invites.per_room", 2)).await;
        let alice = server.register("alice").await;
        for name in ["bob", "carol", "dave"] {
            server.register(name).await;
        }
        let (bob, carol, dave) = ("@bob:localhost", "@carol:localhost", "@dave:localhost");
        let room = alice.create_room(&json!({})).await;
        invite(&alice, &room, bob).await.ok();
        invite(&alice, &room, carol).await.ok();
        refused(invite(&alice, &room, dave).await);

        // Waiting would not help against too many at once.
        create_room(&alice, json!({ "invite": [bob, carol, dave] })).await.error(400, "M_INVALID_PARAM");
        let room = alice.create_room(&json!({ "invite": [bob, carol] })).await;
        refused(invite(&alice, &room, dave).await);
    }

    async fn invitations_are_counted_by_who_is_invited(db: TestDatabase) {
        let server = server_with(&db, &at_once("invites.per_user", 1)).await;
        let (alice, mallory) = (server.register("alice").await, server.register("mallory").await);
        let (bob, carol) = (server.register("bob").await, server.register("carol").await);
        let (room, other) = (public_room(&alice).await, public_room(&alice).await);
        // Whoever may not invite cannot use up what others may.
        for _ in 0..3 {
            invite(&mallory, &room, &bob.id).await.error(403, "M_FORBIDDEN");
        }
        invite(&alice, &room, &bob.id).await.ok();
        refused(invite(&alice, &other, &bob.id).await);
        invite(&alice, &other, &carol.id).await.ok();
    }

    async fn invitations_are_counted_by_who_invites(db: TestDatabase) {
        let server = server_with(&db, &at_once("invites.per_issuer", 1)).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let room = public_room(&alice).await;
        invite(&alice, &room, &bob.id).await.ok();
        refused(invite(&alice, &room, &carol.id).await);
        join(&bob, &room).await.ok();
        let own = public_room(&bob).await;
        invite(&bob, &own, &carol.id).await.ok();
    }

    async fn new_and_upgraded_rooms_are_counted_by_user(db: TestDatabase) {
        let server = server_with(&db, &at_once("room_creation", 2)).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({ "room_version": "10" })).await;
        let upgrade = async |room: &str| {
            let path = format!("{V3}/rooms/{room}/upgrade");
            alice.post(path).json(&json!({ "new_version": "11" })).await
        };
        let new = upgrade(&room).await.ok()["replacement_room"].as_str().unwrap().to_owned();
        refused(create_room(&alice, json!({})).await);
        refused(upgrade(&new).await);
        send(&alice, &new, "1").await.ok();
    }

    async fn searches_of_the_user_directory_are_counted_by_user(db: TestDatabase) {
        let server = server_with(&db, &at_once("user_directory", 2)).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let search = async |user: &User| {
            user.post(format!("{V3}/user_directory/search")).json(&json!({ "search_term": "bob" })).await
        };
        search(&alice).await.ok();
        search(&alice).await.ok();
        refused(search(&alice).await);
        search(&bob).await.ok();
    }
}
