//! Searching for users

use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

use crate::V3;

const PATH: &str = "/_matrix/client/v3/user_directory/search";

async fn search(user: &User, body: Value) -> Value {
    user.post(PATH).json(&body).await.ok()
}

/// The IDs of those whom `user` finds.
async fn find(user: &User, term: &str) -> Vec<String> {
    let answer = search(user, json!({ "search_term": term })).await;
    assert_eq!(answer["limited"], json!(false), "{answer}");
    answer["results"].as_array().unwrap().iter().map(|it| it["user_id"].as_str().unwrap().to_owned()).collect()
}

async fn set_profile(user: &User, field: &str, value: &str) {
    let path = format!("{V3}/profile/{}/{field}", path_segment(&user.id));
    user.put(path).json(&json!({ field: value })).await.ok();
}

async fn set_state(user: &User, room: &str, place: &str, content: Value) {
    user.put(format!("{V3}/rooms/{}/state/{place}", path_segment(room))).json(&content).await.ok();
}

const NOBODY: [&str; 0] = [];

on_both_databases! {
    async fn users_who_share_a_room_find_each_other_by_public_name_and_user_id(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, eve) = (server.register("alice").await, server.register("bob").await, server.register("eve").await);
        set_profile(&alice, "displayname", "Alice Cooper").await;
        set_profile(&alice, "avatar_url", "mxc://localhost/a").await;
        let room = bob.create_room(&json!({ "preset": "private_chat", "invite": [alice.id] })).await;
        assert_eq!(find(&bob, "cooper").await, NOBODY, "an invitation is not yet a shared room");
        alice.join(&room).await;
        let shown = json!({
            "results": [{ "user_id": alice.id, "display_name": "Alice Cooper", "avatar_url": "mxc://localhost/a" }],
            "limited": false,
        });
        for term in ["aLICE", "Alice Cooper", "cooper ali", "@alice", &alice.id] {
            assert_eq!(search(&bob, json!({ "search_term": term })).await, shown, "{term}");
            assert_eq!(find(&eve, term).await, NOBODY, "{term}");
        }
        assert_eq!(find(&alice, "bob").await, [bob.id.as_str()]);
        for term in ["", "  ", "nobody", "alice nobody"] {
            assert_eq!(find(&bob, term).await, NOBODY, "{term:?}");
        }
        alice.post(format!("{V3}/rooms/{}/leave", path_segment(&room))).json(&json!({})).await.ok();
        assert_eq!(find(&bob, "alice").await, NOBODY);
    }

    async fn a_name_for_one_private_room_is_not_found_outside_of_it(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, eve) = (server.register("alice").await, server.register("bob").await, server.register("eve").await);
        set_profile(&alice, "displayname", "Alice Cooper").await;
        alice.create_room(&json!({ "visibility": "public" })).await;
        let room = bob.create_room(&json!({ "invite": [alice.id] })).await;
        alice.join(&room).await;
        let place = format!("m.room.member/{}", path_segment(&alice.id));
        set_state(&alice, &room, &place, json!({ "membership": "join", "displayname": "Freddy" })).await;

        let shown = json!({ "results": [{ "user_id": alice.id, "display_name": "Alice Cooper" }], "limited": false });
        for user in [&bob, &eve] {
            for term in ["Alice Cooper", &alice.id] {
                assert_eq!(search(user, json!({ "search_term": term })).await, shown, "{term}");
            }
        }
        assert_eq!(find(&eve, "Freddy").await, NOBODY);
    }

    async fn users_are_found_by_everybody_while_a_room_of_theirs_is_public(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, eve) = (server.register("alice").await, server.register("eve").await);
        let room = alice.create_room(&json!({ "preset": "private_chat" })).await;
        for (place, key, open, closed) in [
            ("m.room.join_rules", "join_rule", "public", "invite"),
            ("m.room.history_visibility", "history_visibility", "world_readable", "shared"),
        ] {
            // Not even Alice finds herself, though she is in a room with herself.
            for user in [&alice, &eve] {
                assert_eq!(find(user, "alice").await, NOBODY, "{place}");
            }
            set_state(&alice, &room, place, json!({ key: open })).await;
            for user in [&alice, &eve] {
                assert_eq!(find(user, "alice").await, [alice.id.as_str()], "{place}");
            }
            set_state(&alice, &room, place, json!({ key: closed })).await;
        }
        assert_eq!(find(&eve, "alice").await, NOBODY);
    }

    async fn letters_of_all_scripts_have_no_case_and_no_character_is_a_wildcard(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        alice.create_room(&json!({ "preset": "public_chat" })).await;
        for (name, terms, others) in [
            ("Jürgen ИВАН", ["jÜRGEN", "Иван", "ÜR"], ["jurgen", "j_rgen", "j%n"]),
            (r#"50%_a "b" \c"#, ["50%_", r#""B""#, r"\C"], ["5_%", "50!%", r"\\c"]),
            ("Cafe\u{301} ＢＡＲ ﬁn", ["CAFÉ", "bar", "ﬁN"], ["cafe", "b_r", "ca%"]),
            ("山田 太郎!", ["山田", "太郎!", "郎"], ["太山", "太%", "山_"]),
        ] {
            set_profile(&alice, "displayname", name).await;
            for term in terms {
                assert_eq!(find(&bob, term).await, [alice.id.as_str()], "{term} in {name}");
            }
            for term in others {
                assert_eq!(find(&bob, term).await, NOBODY, "{term} in {name}");
            }
        }
    }

    async fn an_answer_has_so_many_users_and_the_best_first(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let bob = server.register("bob").await;
        let room = bob.create_room(&json!({ "preset": "public_chat" })).await;
        let mut friend = None;
        for number in 0..12 {
            let user = server.register(&format!("user{number:02}")).await;
            user.join(&room).await;
            friend = Some(user);
        }
        let (friend, eve) = (friend.unwrap(), server.register("eve").await);
        let private = eve.create_room(&json!({ "invite": [friend.id] })).await;
        friend.join(&private).await;
        set_profile(&bob, "displayname", "user").await;

        let names = |answer: &Value| -> Vec<String> {
            let results = answer["results"].as_array().unwrap().iter();
            results.map(|it| it["user_id"].as_str().unwrap().trim_end_matches(":localhost").to_owned()).collect()
        };
        let default = search(&eve, json!({ "search_term": "user" })).await;
        assert_eq!((names(&default).len(), &default["limited"]), (10, &json!(true)));
        let few = search(&eve, json!({ "search_term": "user", "limit": 3 })).await;
        // Who shares a room, whose name is just that, and then the others.
        assert_eq!((names(&few), &few["limited"]), (["@user11", "@bob", "@user00"].map(str::to_owned).to_vec(), &json!(true)));
        for limit in [13, 100, 4_000_000_000_u32] {
            let all = search(&eve, json!({ "search_term": "user", "limit": limit })).await;
            assert_eq!((names(&all).len(), &all["limited"]), (13, &json!(false)));
        }
        let none = search(&eve, json!({ "search_term": "user", "limit": 0 })).await;
        assert_eq!(none, json!({ "results": [], "limited": true }));
    }

    async fn searches_that_are_wrong_and_those_of_guests_are_refused(db: TestDatabase) {
        let server = TestServer::start_with(&db, &[("registration", "allow_guests", true.into())]).await;
        let alice = server.register("alice").await;
        for (body, errcode) in [
            (json!({}), "M_BAD_JSON"),
            (json!({ "search_term": 5 }), "M_BAD_JSON"),
            (json!({ "search_term": null }), "M_BAD_JSON"),
            (json!({ "search_term": "a", "limit": -1 }), "M_BAD_JSON"),
            (json!({ "search_term": "a", "limit": "1" }), "M_BAD_JSON"),
            (json!({ "search_term": "ä".repeat(513) }), "M_INVALID_PARAM"),
        ] {
            alice.post(PATH).json(&body).await.error(400, errcode);
        }
        assert_eq!(find(&alice, &"ä".repeat(512)).await, NOBODY);
        assert_eq!(find(&alice, &"ä ".repeat(256)).await, NOBODY);
        let client = server.client();
        client.post(PATH).json(&json!({ "search_term": "a" })).await.error(401, "M_MISSING_TOKEN");
        let guest = client.post(format!("{V3}/register?kind=guest")).json(&json!({})).await.ok();
        let refused = client.post(PATH).token(guest["access_token"].as_str().unwrap()).json(&json!({ "search_term": "a" }));
        refused.await.error(403, "M_GUEST_ACCESS_FORBIDDEN");
    }

    async fn who_has_deactivated_the_account_is_not_found(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        alice.create_room(&json!({ "preset": "public_chat" })).await;
        assert_eq!(find(&bob, "alice").await, [alice.id.as_str()]);
        let auth = crate::password_stage("alice", &crate::password_of("alice"));
        alice.post(format!("{V3}/account/deactivate")).json(&json!({ "auth": auth })).await.ok();
        assert_eq!(find(&bob, "alice").await, NOBODY);
    }
}
