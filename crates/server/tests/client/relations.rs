//! Relations between events: `/relations`, `/threads`, and what is told of relations together with events

use serde_json::{Value, json};
use testing::{Answer, TestServer, User, on_both_databases, path_segment};

use super::V3;

const V1: &str = "/_matrix/client/v1";

/// Somebody in a room.
struct InRoom<'a>(&'a User, &'a str);

impl InRoom<'_> {
    async fn get(&self, base: &str, path: &str) -> Answer {
        self.0.get(format!("{base}/rooms/{}/{path}", path_segment(self.1))).await
    }

    async fn send(&self, event_type: &str, content: Value, transaction: &str) -> Answer {
        let path = format!("{V3}/rooms/{}/send/{event_type}/{}", path_segment(self.1), path_segment(transaction));
        self.0.put(path).json(&content).await
    }

    /// Sends a message that relates to another one, and returns its ID.
    async fn relate(&self, rel_type: &str, event_id: &str, body: &str) -> String {
        let relates_to = json!({ "rel_type": rel_type, "event_id": event_id });
        let new = json!({ "msgtype": "m.text", "body": body });
        let content = json!({ "msgtype": "m.text", "body": body, "m.new_content": new, "m.relates_to": relates_to });
        let sent = self.send("m.room.message", content, &format!("{rel_type}{body}")).await.ok();
        sent["event_id"].as_str().unwrap().to_owned()
    }

    async fn react(&self, event_id: &str, key: &str, transaction: &str) -> Answer {
        let relates_to = json!({ "rel_type": "m.annotation", "event_id": event_id, "key": key });
        self.send("m.reaction", json!({ "m.relates_to": relates_to }), transaction).await
    }

    async fn redact(&self, event_id: &str) {
        let (room, event) = (path_segment(self.1), path_segment(event_id));
        let _ = self.0.put(format!("{V3}/rooms/{room}/redact/{event}/r{event}")).json(&json!({})).await.ok();
    }

    /// What is told of an event's relations together with the event, everywhere.
    async fn bundle(&self, event_id: &str) -> Value {
        let event = path_segment(event_id);
        let alone = self.get(V3, &format!("event/{event}")).await.ok();
        let bundle = alone["unsigned"]["m.relations"].clone();
        let context = self.get(V3, &format!("context/{event}?limit=0")).await.ok();
        assert_eq!(without_ages(&context["event"]["unsigned"]["m.relations"]), without_ages(&bundle));
        let page = self.get(V3, "messages?dir=b&limit=100").await.ok();
        let in_page = found(&page["chunk"], event_id);
        assert_eq!(without_ages(&in_page["unsigned"]["m.relations"]), without_ages(&bundle));
        let synced = self.0.get(format!("{V3}/sync?filter={}", path_segment(r#"{"room":{"timeline":{"limit":100}}}"#)));
        let synced = synced.await.ok();
        let in_sync = found(&synced["rooms"]["join"][self.1]["timeline"]["events"], event_id);
        let synced = &in_sync["unsigned"]["m.relations"];
        for kind in ["m.replace", "m.thread", "m.reference"] {
            assert_eq!(synced[kind].is_null(), bundle[kind].is_null(), "{kind}: {synced} {bundle}");
        }
        assert_eq!(synced["m.thread"]["count"], bundle["m.thread"]["count"]);
        assert_eq!(synced["m.replace"]["event_id"], bundle["m.replace"]["event_id"]);
        bundle
    }

    async fn relations(&self, path: &str) -> Value {
        self.get(V1, &format!("relations/{path}")).await.ok()
    }
}

fn found(events: &Value, event_id: &str) -> Value {
    events.as_array().unwrap().iter().find(|event| event["event_id"] == *event_id).cloned().unwrap_or_default()
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["chunk"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap()).collect()
}

/// The same events, read a moment later, are older.
fn without_ages(json: &Value) -> Value {
    match json {
        Value::Object(map) => {
            map.iter().filter(|(key, _)| *key != "age").map(|(key, value)| (key.clone(), without_ages(value))).collect()
        }
        Value::Array(list) => list.iter().map(without_ages).collect(),
        other => other.clone(),
    }
}

async fn ignore(user: &User, ignored: &str) {
    let path = format!("{V3}/user/{}/account_data/m.ignored_user_list", path_segment(&user.id));
    let _ = user.put(path).json(&json!({ "ignored_users": { ignored: {} } })).await.ok();
}

on_both_databases! {
    async fn relations_are_listed_by_kind_and_type_in_pages_and_across_several_steps(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let (alice_in, bob_in) = (InRoom(&alice, &room), InRoom(&bob, &room));
        let root = alice.send_text(&room, "root").await;
        let mut replies = Vec::new();
        for number in 0..5 {
            replies.push(bob_in.relate("m.thread", &root, &number.to_string()).await);
        }
        let edit = alice_in.relate("m.replace", &root, "edited").await;
        let reaction = bob_in.react(&replies[0], "👍", "1").await.ok()["event_id"].as_str().unwrap().to_owned();
        let at = path_segment(&root);

        let newest: Vec<&str> = std::iter::once(&edit).chain(replies.iter().rev()).map(String::as_str).collect();
        assert_eq!(ids(&alice_in.relations(&at).await), newest);
        assert_eq!(ids(&alice_in.relations(&format!("{at}/m.replace")).await), [&edit]);
        assert_eq!(ids(&alice_in.relations(&format!("{at}/m.thread/m.room.message")).await), newest[1..]);
        for none in ["m.thread/m.room.name", "m.thread/m.never.sent", "m.annotation"] {
            assert_eq!(alice_in.relations(&format!("{at}/{none}")).await, json!({ "chunk": [] }), "{none}");
        }
        // In pages of any size, in both directions, within bounds.
        let oldest: Vec<&str> = newest.iter().rev().copied().collect();
        for (direction, expected) in [("b", &newest), ("f", &oldest)] {
            let mut seen: Vec<String> = Vec::new();
            let mut from = String::new();
            loop {
                let page = alice_in.relations(&format!("{at}?dir={direction}&limit=4{from}")).await;
                seen.extend(ids(&page).into_iter().map(str::to_owned));
                let Some(next) = page["next_batch"].as_str() else { break };
                from = format!("&from={next}");
            }
            assert_eq!(seen, *expected, "{direction}");
        }
        let first = alice_in.relations(&format!("{at}?limit=2")).await;
        let to = first["next_batch"].as_str().unwrap();
        assert_eq!(ids(&alice_in.relations(&format!("{at}?to={to}")).await), newest[..2]);

        let whole = alice_in.relations(&format!("{at}?recurse=true")).await;
        assert_eq!((ids(&whole).len(), ids(&whole)[0], &whole["recursion_depth"]), (7, &*reaction, &json!(2)));
        let only = alice_in.relations(&format!("{at}/m.annotation?recurse=true&dir=f")).await;
        assert_eq!(ids(&only), [&reaction]);

        // Filters ask for it.
        let filtered = async |filter: Value| {
            let filter = path_segment(&filter.to_string());
            let page = alice_in.get(V3, &format!("messages?dir=b&limit=100&filter={filter}")).await.ok();
            ids(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(filtered(json!({ "related_by_rel_types": ["m.annotation"] })).await, [&*replies[0]]);
        assert_eq!(filtered(json!({ "related_by_senders": [alice.id] })).await, [&*root]);
        let thread_of_bob = json!({ "related_by_senders": [bob.id], "related_by_rel_types": ["m.thread"] });
        assert_eq!(filtered(thread_of_bob).await, [&*root]);
        assert!(filtered(json!({ "related_by_senders": ["@nobody:localhost"] })).await.is_empty());

        for (query, errcode) in [("from=x", "M_INVALID_PARAM"), ("dir=x", "M_INVALID_PARAM"), ("limit=x", "M_INVALID_PARAM")] {
            alice_in.get(V1, &format!("relations/{at}?{query}")).await.error(400, errcode);
        }
        alice_in.get(V1, "relations/%24none").await.error(404, "M_NOT_FOUND");
        let eve = server.register("eve").await;
        let private = alice.create_room(&json!({})).await;
        let secret = alice.send_text(&private, "secret").await;
        InRoom(&eve, &private).get(V1, &format!("relations/{}", path_segment(&secret))).await.error(404, "M_NOT_FOUND");
        // An event that is in another room.
        alice_in.get(V1, &format!("relations/{}", path_segment(&secret))).await.error(404, "M_NOT_FOUND");
    }

    async fn what_relates_to_an_event_is_told_with_it(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let (alice_in, bob_in) = (InRoom(&alice, &room), InRoom(&bob, &room));
        let root = alice.send_text(&room, "root").await;
        assert_eq!(alice_in.bundle(&root).await, Value::Null);

        // The newest edit of the sender counts, and nobody else's.
        let first = alice_in.relate("m.replace", &root, "one").await;
        let second = alice_in.relate("m.replace", &root, "two").await;
        bob_in.relate("m.replace", &root, "of somebody else").await;
        let relates_to = json!({ "rel_type": "m.replace", "event_id": root });
        let empty = json!({ "msgtype": "m.text", "body": "without new content", "m.relates_to": relates_to });
        let _ = alice_in.send("m.room.message", empty, "empty").await.ok();
        let bundle = bob_in.bundle(&root).await;
        assert_eq!(bundle["m.replace"]["event_id"], *second);
        assert_eq!(bundle["m.replace"]["content"]["m.new_content"]["body"], "two");
        assert_eq!(bob_in.bundle(&second).await, Value::Null, "an edit has nothing of its own");
        alice_in.redact(&second).await;
        assert_eq!(bob_in.bundle(&root).await["m.replace"]["event_id"], *first);

        // A thread. Whoever has looked at it and answers then has taken part in it.
        let reply = bob_in.relate("m.thread", &root, "reply").await;
        let reference = bob_in.relate("m.reference", &root, "reference").await;
        let carol = server.register("carol").await;
        carol.join(&room).await;
        let carol_in = InRoom(&carol, &room);
        let bundle = carol_in.bundle(&root).await;
        assert_eq!(bundle["m.thread"]["count"], 1);
        assert_eq!(bundle["m.thread"]["latest_event"]["event_id"], *reply);
        assert_eq!(bundle["m.thread"]["current_user_participated"], false);
        assert_eq!(bundle["m.reference"], json!({ "chunk": [{ "event_id": reference }] }));
        assert_eq!(alice_in.bundle(&root).await["m.thread"]["current_user_participated"], true);
        let of_carol = carol_in.relate("m.thread", &root, "of carol").await;
        let bundle = carol_in.bundle(&root).await["m.thread"].clone();
        assert_eq!((&bundle["count"], &bundle["current_user_participated"]), (&json!(2), &json!(true)));
        // With the last event of the thread its own edit is told.
        let edit = carol_in.relate("m.replace", &of_carol, "better").await;
        let bundle = bob_in.bundle(&root).await["m.thread"].clone();
        assert_eq!(bundle["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"], *edit);

        // Those whom the reader ignores have not been there.
        ignore(&alice, &carol.id).await;
        let bundle = alice_in.bundle(&root).await["m.thread"].clone();
        assert_eq!((&bundle["count"], &bundle["latest_event"]["event_id"]), (&json!(1), &json!(reply)));
        ignore(&alice, &bob.id).await;
        assert!(alice_in.bundle(&root).await["m.reference"].is_null());

        // What is redacted does not count; a redacted event has no edits, but a thread.
        carol_in.redact(&of_carol).await;
        assert_eq!(bob_in.bundle(&root).await["m.thread"]["count"], 1);
        alice_in.redact(&root).await;
        let bundle = bob_in.bundle(&root).await;
        assert_eq!((bundle["m.replace"].is_null(), &bundle["m.thread"]["count"]), (true, &json!(1)));
        bob_in.redact(&reply).await;
        assert!(bob_in.bundle(&root).await["m.thread"].is_null());

        // Who has left sees what there was.
        let before = alice.send_text(&room, "before").await;
        let seen = alice_in.relate("m.replace", &before, "seen").await;
        let _ = carol.post(format!("{V3}/rooms/{}/leave", path_segment(&room))).json(&json!({})).await.ok();
        alice_in.relate("m.replace", &before, "unseen").await;
        let event = carol_in.get(V3, &format!("event/{}", path_segment(&before))).await.ok();
        assert_eq!(event["unsigned"]["m.relations"]["m.replace"]["event_id"], *seen);
    }

    async fn new_events_in_sync_have_their_relations_with_them(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let since = alice.sync(None, 0).await["next_batch"].as_str().unwrap().to_owned();
        let message = alice.send_text(&room, "message").await;
        let edit = InRoom(&alice, &room).relate("m.replace", &message, "edited").await;
        let new = alice.sync(Some(&since), 0).await;
        let event = found(&new["rooms"]["join"][&room]["timeline"]["events"], &message);
        assert_eq!(event["unsigned"]["m.relations"]["m.replace"]["event_id"], *edit);
        assert_eq!(event["unsigned"]["m.relations"]["m.replace"].get("room_id"), None);
    }

    async fn threads_are_listed_by_their_last_events(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let (alice_in, bob_in) = (InRoom(&alice, &room), InRoom(&bob, &room));
        let (first, second) = (alice.send_text(&room, "first").await, bob.send_text(&room, "second").await);
        bob_in.relate("m.thread", &first, "a").await;
        bob_in.relate("m.thread", &second, "b").await;
        let list = async |of: &InRoom<'_>, query: &str| {
            let page = of.get(V1, &format!("threads?{query}")).await.ok();
            ids(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(list(&alice_in, "").await, [&*second, &*first]);
        assert_eq!(list(&alice_in, "include=participated").await, [&*first]);
        let last = bob_in.relate("m.thread", &first, "c").await;
        let page = bob_in.get(V1, "threads?limit=1&include=participated").await.ok();
        assert_eq!(ids(&page), [&first]);
        assert_eq!(page["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["latest_event"]["event_id"], *last);
        let next = page["next_batch"].as_str().unwrap();
        let page = bob_in.get(V1, &format!("threads?limit=1&from={next}")).await.ok();
        assert_eq!((ids(&page), page.get("next_batch")), (vec![&*second], None));
        // The redaction of its last event moves a thread back.
        bob_in.redact(&last).await;
        assert_eq!(list(&alice_in, "").await, [&*second, &*first]);
        // Redacted, as if the reader had put the thread together: its root is of somebody ignored.
        alice_in.relate("m.thread", &second, "of alice").await;
        ignore(&alice, &bob.id).await;
        let page = alice_in.get(V1, "threads").await.ok();
        assert_eq!((ids(&page), &page["chunk"][0]["content"]), (vec![&*second], &json!({})));

        for query in ["include=x", "limit=0", "from=x"] {
            alice_in.get(V1, &format!("threads?{query}")).await.error(400, "M_INVALID_PARAM");
        }
        let eve = server.register("eve").await;
        InRoom(&eve, &room).get(V1, "threads").await.error(403, "M_FORBIDDEN");
    }

    async fn relations_among_events_that_are_older_than_their_index_become_known(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room = alice.create_room(&json!({})).await;
        let alice_in = InRoom(&alice, &room);
        let root = alice.send_text(&room, "root").await;
        alice_in.relate("m.replace", &root, "edited").await;
        alice_in.relate("m.thread", &root, "first").await;
        let redacted = alice_in.relate("m.thread", &root, "second").await;
        alice_in.redact(&redacted).await;
        let (bundle, list) = (alice_in.bundle(&root).await, alice_in.get(V1, "threads").await.ok());
        // As an upgrade leaves it.
        let database = server.database();
        let emptied = database.write(async |tx| {
            tx.execute("DELETE FROM relations", &[]).await?;
            tx.execute("DELETE FROM thread_roots", &[]).await?;
            tx.set_server_value("relations_missing_up_to", "1000000").await
        });
        emptied.await.unwrap();
        assert!(alice_in.bundle(&root).await.is_null());
        while database.index_old_relations(3).await.unwrap().is_some() {}
        assert_eq!(database.old_relations().await.unwrap(), None);
        assert_eq!(without_ages(&alice_in.bundle(&root).await), without_ages(&bundle));
        assert_eq!(without_ages(&alice_in.get(V1, "threads").await.ok()), without_ages(&list));
    }

    async fn what_clients_may_not_relate_is_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let room = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room).await;
        let (alice_in, bob_in) = (InRoom(&alice, &room), InRoom(&bob, &room));
        let message = alice.send_text(&room, "message").await;
        let reaction = alice_in.react(&message, "👍", "1").await.ok()["event_id"].as_str().unwrap().to_owned();
        alice_in.react(&message, "👍", "2").await.error(400, "M_DUPLICATE_ANNOTATION");
        // A repeated request is none of these, and others may say the same, or the same user something else.
        assert_eq!(alice_in.react(&message, "👍", "1").await.ok()["event_id"], *reaction);
        let _ = bob_in.react(&message, "👍", "1").await.ok();
        let _ = alice_in.react(&message, "🎉", "3").await.ok();
        alice_in.redact(&reaction).await;
        let _ = alice_in.react(&message, "👍", "4").await.ok();

        let reply = bob_in.relate("m.thread", &message, "reply").await;
        let relates_to = json!({ "rel_type": "m.thread", "event_id": reply });
        bob_in.send("m.room.message", json!({ "m.relates_to": relates_to }), "5").await.error(400, "M_UNKNOWN");
        // Events that relate to themselves in a circle, through an event that is not there, or to nonsense, harm nobody.
        for (number, target) in ["$not-there", "", "x", "!room:server"].into_iter().enumerate() {
            let relates_to = json!({ "rel_type": "m.thread", "event_id": target });
            let _ = bob_in.send("m.room.message", json!({ "m.relates_to": relates_to }), &format!("n{number}")).await.ok();
        }
        let page = bob_in.get(V1, "threads").await.ok();
        assert_eq!(ids(&page), [&message]);
    }
}
