//! Reading timelines: `/messages`, `/context`, `/event`

use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

use super::V3;

async fn get(user: &User, room: &str, path: &str) -> Answer {
    user.get(format!("{V3}/rooms/{}/{path}", path_segment(room))).await
}

async fn messages(user: &User, room: &str, query: &str) -> Value {
    get(user, room, &format!("messages?{query}")).await.ok()
}

async fn filtered(user: &User, room: &str, filter: Value) -> Vec<String> {
    let filter = path_segment(&filter.to_string());
    bodies(&messages(user, room, &format!("dir=b&limit=100&filter={filter}")).await["chunk"])
}

async fn event(user: &User, room: &str, event_id: &str) -> Answer {
    get(user, room, &format!("event/{}", path_segment(event_id))).await
}

async fn set_visibility(user: &User, room: &str, visibility: &str) {
    let path = format!("{V3}/rooms/{}/state/m.room.history_visibility", path_segment(room));
    let _ = user.put(path).json(&json!({ "history_visibility": visibility })).await.ok();
}

async fn leave(user: &User, room: &str) {
    let _ = user.post(format!("{V3}/rooms/{}/leave", path_segment(room))).json(&json!({})).await.ok();
}

/// What the messages among `events` say.
fn bodies(events: &Value) -> Vec<String> {
    let body = |event: &Value| event["content"]["body"].as_str().map(str::to_owned);
    events.as_array().unwrap().iter().filter_map(body).collect()
}

fn ids(events: &Value) -> Vec<String> {
    events.as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

/// All pages from one end of a timeline to the other.
async fn all_pages(user: &User, room: &str, query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut page = messages(user, room, query).await;
    for _ in 0..100 {
        found.extend(ids(&page["chunk"]));
        let Some(end) = page["end"].as_str() else { return found };
        page = messages(user, room, &format!("{query}&from={end}")).await;
    }
    unreachable!("the pages do not end");
}

on_both_databases! {
    async fn a_timeline_reads_the_same_in_both_directions_and_in_pages_of_any_size(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let mut sent = Vec::new();
        for number in 0..25 {
            sent.push(alice.send_text(&room, &number.to_string()).await);
        }
        let backwards = all_pages(&alice, &room, "dir=b&limit=7").await;
        let mut newest: Vec<_> = backwards.iter().take(25).cloned().collect();
        newest.reverse();
        assert_eq!(newest, sent);
        for query in ["dir=b&limit=1", "dir=b", "dir=b&limit=1000", "dir=b&limit=99999"] {
            assert_eq!(all_pages(&alice, &room, query).await, backwards, "{query}");
        }
        for query in ["dir=f&limit=4", "dir=f&limit=1000", "limit=6"] {
            let mut forwards = all_pages(&alice, &room, query).await;
            forwards.reverse();
            assert_eq!(forwards, backwards, "{query}");
        }
        let nothing = messages(&alice, &room, "dir=b&limit=0").await;
        assert_eq!(nothing["chunk"], json!([]));
        assert_eq!(ids(&messages(&alice, &room, &format!("dir=b&limit=1&from={}", nothing["end"].as_str().unwrap())).await["chunk"]), backwards[..1]);
    }

    async fn the_tokens_of_sync_and_of_pages_lead_on_from_each_other(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        alice.send_text(&room, "before").await;
        let since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        alice.send_text(&room, "after").await;
        let later = alice.sync(Some(&since), 0).await["next_batch"].as_str().unwrap().to_owned();
        alice.send_text(&room, "later").await;

        assert_eq!(bodies(&messages(&alice, &room, &format!("dir=f&from={since}")).await["chunk"]), ["after", "later"]);
        assert_eq!(bodies(&messages(&alice, &room, &format!("dir=f&from={since}&to={later}")).await["chunk"]), ["after"]);
        assert_eq!(bodies(&messages(&alice, &room, &format!("dir=b&from={since}&limit=1")).await["chunk"]), ["before"]);
        let between = messages(&alice, &room, &format!("dir=b&from={later}&to={since}")).await;
        assert_eq!(bodies(&between["chunk"]), ["after"]);
        let none = messages(&alice, &room, &format!("dir=b&from={}&to={since}", between["end"].as_str().unwrap())).await;
        assert_eq!((&none["chunk"], none.get("end")), (&json!([]), None));
        assert_eq!(bodies(&messages(&alice, &room, &format!("dir=f&from={since}&to={since}")).await["chunk"]), [""; 0]);
    }

    async fn a_client_that_reads_forwards_to_the_end_goes_on_from_there(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let mut place = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        for limit in [1, 2, 10] {
            for body in ["first", "second"] {
                alice.send_text(&room, body).await;
            }
            let mut seen = Vec::new();
            loop {
                let page = messages(&alice, &room, &format!("dir=f&limit={limit}&from={place}")).await;
                seen.extend(bodies(&page["chunk"]));
                let Some(end) = page["end"].as_str() else { break };
                place = end.to_owned();
            }
            assert_eq!(seen, ["first", "second"], "{limit} at once");
        }
        // What a filter lets nothing through of has been passed over too.
        alice.send_text(&room, "not of bob").await;
        let filter = path_segment(&json!({ "senders": [bob.id] }).to_string());
        let page = messages(&alice, &room, &format!("dir=f&from={place}&filter={filter}")).await;
        assert_eq!(page["chunk"], json!([]));
        place = page["end"].as_str().unwrap().to_owned();
        assert_eq!(messages(&alice, &room, &format!("dir=f&from={place}")).await["chunk"], json!([]));
    }

    async fn filters_choose_what_is_read_and_rare_events_are_found(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        bob.send_text(&room, "rare").await;
        let path = format!("{V3}/rooms/{}/send/m.room.message/image", path_segment(&room));
        let image = json!({ "msgtype": "m.image", "body": "image", "url": "mxc://a/b" });
        let _ = alice.put(path).json(&image).await.ok();
        for number in 0..30 {
            alice.send_text(&room, &number.to_string()).await;
        }
        assert_eq!(filtered(&alice, &room, json!({ "senders": [bob.id] })).await, ["rare"]);
        assert_eq!(filtered(&alice, &room, json!({ "contains_url": true })).await, ["image"]);
        assert_eq!(filtered(&alice, &room, json!({ "types": ["m.room.message"], "contains_url": false })).await.len(), 31);
        assert_eq!(filtered(&alice, &room, json!({ "types": ["m.*"], "not_types": ["*.message"] })).await, [""; 0]);
        assert_eq!(filtered(&alice, &room, json!({ "not_senders": [alice.id] })).await, ["rare"]);
        assert_eq!(filtered(&alice, &room, json!({ "not_rooms": [room] })).await, [""; 0]);

        let filter = path_segment(&json!({ "senders": [bob.id], "types": ["m.room.message"] }).to_string());
        let page = messages(&alice, &room, &format!("dir=b&limit=1&filter={filter}")).await;
        assert_eq!(bodies(&page["chunk"]), ["rare"]);
        let rest = messages(&alice, &room, &format!("dir=b&limit=1&filter={filter}&from={}", page["end"].as_str().unwrap())).await;
        assert_eq!((&rest["chunk"], rest.get("end")), (&json!([]), None));
    }

    async fn members_are_loaded_lazily_as_they_were(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        bob.send_text(&room, "x").await;
        leave(&bob, &room).await;
        let since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        alice.send_text(&room, "y").await;
        let members = async |query: String| {
            let page = messages(&alice, &room, &format!("{query}&filter=%7B%22lazy_load_members%22%3Atrue%7D")).await;
            let member = |event: &Value| {
                assert_eq!(event["type"], "m.room.member");
                (event["state_key"].as_str().unwrap().to_owned(), event["content"]["membership"].as_str().unwrap().to_owned())
            };
            page["state"].as_array().map(|state| state.iter().map(member).collect::<Vec<_>>()).unwrap_or_default()
        };
        assert_eq!(members(format!("dir=f&from={since}")).await, [(alice.id.clone(), "join".to_owned())]);
        let page = messages(&alice, &room, &format!("dir=b&from={since}&limit=1")).await;
        let before_leaving = page["end"].as_str().unwrap();
        assert_eq!(members(format!("dir=b&limit=1&from={before_leaving}")).await, [(bob.id.clone(), "join".to_owned())]);
        assert_eq!(members(format!("dir=b&limit=1&from={since}")).await, [(bob.id.clone(), "leave".to_owned())]);
    }

    async fn who_reads_what_depends_on_the_rooms_history_visibility(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob, carol) =
            (server.register("alice").await, server.register("bob").await, server.register("carol").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        set_visibility(&alice, &room, "joined").await;
        let hidden = alice.send_text(&room, "hidden").await;
        get(&bob, &room, "messages?dir=b").await.error(403, "M_FORBIDDEN");
        bob.join(&room).await;
        let seen = alice.send_text(&room, "seen").await;
        leave(&bob, &room).await;
        let missed = alice.send_text(&room, "missed").await;

        let read = async |user: &User| bodies(&messages(user, &room, "dir=b&limit=100").await["chunk"]);
        assert_eq!(read(&bob).await, ["seen"]);
        assert_eq!(bodies(&messages(&bob, &room, "dir=f&limit=100").await["chunk"]), ["seen"]);
        event(&bob, &room, &seen).await.ok();
        for hidden in [&hidden, &missed] {
            event(&bob, &room, hidden).await.error(404, "M_NOT_FOUND");
            get(&bob, &room, &format!("context/{}", path_segment(hidden))).await.error(404, "M_NOT_FOUND");
        }
        event(&carol, &room, &seen).await.error(404, "M_NOT_FOUND");
        get(&carol, &room, &format!("context/{}", path_segment(&seen))).await.error(403, "M_FORBIDDEN");

        bob.join(&room).await;
        assert_eq!(read(&bob).await, ["seen"]);
        set_visibility(&alice, &room, "shared").await;
        alice.send_text(&room, "shared").await;
        carol.join(&room).await;
        assert_eq!(read(&carol).await, ["shared"]);
        assert_eq!(read(&alice).await, ["shared", "missed", "seen", "hidden"]);
    }

    async fn a_world_readable_room_is_open_to_strangers_from_when_it_became_so(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, stranger) = (server.register("alice").await, server.register("stranger").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        alice.send_text(&room, "private").await;
        set_visibility(&alice, &room, "world_readable").await;
        let public = alice.send_text(&room, "public").await;
        let page = messages(&stranger, &room, "dir=b&limit=100").await;
        assert_eq!(bodies(&page["chunk"]), ["public"]);
        let none = messages(&stranger, &room, &format!("dir=b&from={}", page["end"].as_str().unwrap())).await;
        assert_eq!((&none["chunk"], none.get("end")), (&json!([]), None));
        assert_eq!(event(&stranger, &room, &public).await.ok()["unsigned"]["membership"], "leave");
        let around = get(&stranger, &room, &format!("context/{}?limit=2", path_segment(&public))).await.ok();
        assert_eq!(around["events_before"][0]["type"], "m.room.history_visibility");
    }

    async fn a_forgotten_room_is_closed(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        alice.send_text(&room, "x").await;
        leave(&bob, &room).await;
        assert_eq!(bodies(&messages(&bob, &room, "dir=b").await["chunk"]), ["x"]);
        let _ = bob.post(format!("{V3}/rooms/{}/forget", path_segment(&room))).json(&json!({})).await.ok();
        for path in ["messages", "messages?dir=b", "state", "members", "state/m.room.create"] {
            get(&bob, &room, path).await.error(403, "M_FORBIDDEN");
        }
    }

    async fn events_carry_what_belongs_to_their_reader(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        let path = |rest: &str| format!("{V3}/rooms/{}/{rest}", path_segment(&room));
        let sent = alice.put(path("send/m.room.message/t1")).json(&json!({ "body": "x" })).await.ok();
        let id = sent["event_id"].as_str().unwrap();
        bob.join(&room).await;

        let own = event(&alice, &room, id).await.ok();
        assert_eq!((&own["room_id"], &own["event_id"], &own["sender"]), (&json!(room), &json!(id), &json!(alice.id)));
        assert_eq!((&own["unsigned"]["transaction_id"], &own["unsigned"]["membership"]), (&json!("t1"), &json!("join")));
        let others = event(&bob, &room, id).await.ok();
        assert_eq!((others["unsigned"].get("transaction_id"), &others["unsigned"]["membership"]), (None, &json!("leave")));
        let page = messages(&alice, &room, "dir=b&limit=2").await;
        assert_eq!(page["chunk"][1]["unsigned"]["transaction_id"], "t1");

        let redaction = alice.put(path(&format!("redact/{}/t2", path_segment(id)))).json(&json!({ "reason": "no" })).await.ok();
        let redacted = event(&bob, &room, id).await.ok();
        assert_eq!(redacted["content"], json!({}));
        assert_eq!(redacted["unsigned"]["redacted_because"]["event_id"], redaction["event_id"]);
    }

    async fn the_context_of_an_event_is_what_is_around_it(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let mut sent = Vec::new();
        for number in 0..9 {
            sent.push(alice.send_text(&room, &number.to_string()).await);
        }
        let around = async |query: &str| {
            get(&alice, &room, &format!("context/{}{query}", path_segment(&sent[4]))).await.ok()
        };
        let context = around("?limit=5").await;
        assert_eq!(bodies(&context["events_before"]), ["3", "2"]);
        assert_eq!(context["event"]["event_id"], sent[4]);
        assert_eq!(bodies(&context["events_after"]), ["5", "6", "7"]);
        let state: Vec<_> = context["state"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
        assert!(state.contains(&json!("m.room.create")) && state.contains(&json!("m.room.power_levels")), "{state:?}");
        let (start, end) = (context["start"].as_str().unwrap(), context["end"].as_str().unwrap());
        assert_eq!(bodies(&messages(&alice, &room, &format!("dir=b&limit=2&from={start}")).await["chunk"]), ["1", "0"]);
        assert_eq!(bodies(&messages(&alice, &room, &format!("dir=f&from={end}")).await["chunk"]), ["8"]);

        let alone = around("?limit=0").await;
        assert_eq!((&alone["events_before"], &alone["events_after"]), (&json!([]), &json!([])));
        let lazy = around("?limit=0&filter=%7B%22lazy_load_members%22%3Atrue%7D").await;
        let members = |context: &Value| {
            let state = context["state"].as_array().unwrap().iter();
            state.filter(|event| event["type"] == "m.room.member").map(|event| event["state_key"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(members(&lazy), [json!(alice.id)]);
        assert_eq!(members(&alone).len(), 2);
        let other_room = alice.create_room(&json!({})).await;
        get(&alice, &other_room, &format!("context/{}", path_segment(&sent[4]))).await.error(404, "M_NOT_FOUND");
        event(&alice, &other_room, &sent[4]).await.error(404, "M_NOT_FOUND");
    }

    async fn bad_parameters_are_named(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        for (query, key) in [
            ("dir=x", "dir"),
            ("dir=b&limit=-1", "limit"),
            ("dir=b&limit=many", "limit"),
            ("dir=b&limit=99999999999999999999999", "limit"),
            ("dir=b&from=abc", "from"),
            ("dir=b&to=s1_x", "to"),
            ("dir=b&filter=%5B%5D", "filter"),
            ("dir=b&filter=%7B%22types%22%3A5%7D", "types"),
            ("dir=b&filter=%7B", "filter"),
        ] {
            let error = get(&alice, &room, &format!("messages?{query}")).await.error(400, "M_INVALID_PARAM");
            assert!(error["error"].as_str().unwrap().contains(key), "{query}: {error}");
        }
        get(&alice, &room, "event/nothing").await.error(400, "M_INVALID_PARAM");
        get(&alice, &room, "event/$nothing").await.error(404, "M_NOT_FOUND");
        get(&alice, "!nowhere:localhost", "messages?dir=b").await.error(403, "M_FORBIDDEN");
        assert_eq!(messages(&alice, &room, "dir=f&from=s1_9000000000000000000").await["chunk"], json!([]));
    }

    async fn old_clients_read_a_room_at_once_and_events_of_any_room(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "name": "Lounge" })).await;
        for body in ["first", "second", "third"] {
            alice.send_text(&room, body).await;
        }
        let snapshot = get(&alice, &room, "initialSync?limit=2").await.ok();
        assert_eq!((&snapshot["room_id"], &snapshot["membership"]), (&json!(room), &json!("join")));
        assert_eq!(snapshot["visibility"], "private");
        assert_eq!(bodies(&snapshot["messages"]["chunk"]), ["second", "third"]);
        let start = snapshot["messages"]["start"].as_str().unwrap();
        assert_eq!(bodies(&messages(&alice, &room, &format!("dir=b&limit=1&from={start}")).await["chunk"]), ["first"]);
        let names = snapshot["state"].as_array().unwrap().iter().filter(|event| event["type"] == "m.room.name");
        assert_eq!(names.count(), 1);

        let event_id = ids(&snapshot["messages"]["chunk"])[0].clone();
        let path = format!("{V3}/events/{}", path_segment(&event_id));
        assert_eq!(alice.get(&path).await.ok()["content"]["body"], "second");
        bob.get(&path).await.error(404, "M_NOT_FOUND");
        alice.get(format!("{V3}/events/%24none")).await.error(404, "M_NOT_FOUND");
        get(&bob, &room, "initialSync").await.error(403, "M_FORBIDDEN");
        get(&alice, &room, "initialSync?limit=x").await.error(400, "M_INVALID_PARAM");
        // What everybody may read is read without being there.
        set_visibility(&alice, &room, "world_readable").await;
        let peeked = get(&bob, &room, "initialSync?limit=1").await.ok();
        assert_eq!((peeked.get("membership"), peeked["messages"]["chunk"].as_array().unwrap().len()), (None, 1));
    }
}
