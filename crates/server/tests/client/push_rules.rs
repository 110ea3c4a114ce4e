use serde_json::{Value, json};
use testing::{TestServer, User, on_both_databases, path_segment};

use crate::V3;

fn path(kind: &str, rule_id: &str) -> String {
    format!("{V3}/pushrules/global/{kind}/{}", path_segment(rule_id))
}

async fn rule_ids(user: &User, kind: &str) -> Vec<String> {
    let rules = user.get(format!("{V3}/pushrules/")).await.ok();
    let rules = rules["global"][kind].as_array().unwrap();
    rules.iter().map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
}

/// The rules as `/sync` tells them.
fn told(answer: &Value) -> Option<&Value> {
    let events = answer["account_data"]["events"].as_array()?;
    events.iter().find(|event| event["type"] == "m.push_rules").map(|event| &event["content"]["global"])
}

on_both_databases! {
    async fn everybody_has_the_default_rules_and_can_change_what_they_do(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let all = alice.get(format!("{V3}/pushrules/")).await.ok();
        assert_eq!(all["global"], alice.get(format!("{V3}/pushrules/global/")).await.ok());
        assert_eq!(all["global"]["override"][0]["rule_id"], ".m.rule.master");
        let mention = path("override", ".m.rule.is_user_mention");
        let conditions = alice.get(&mention).await.ok()["conditions"].clone();
        assert_eq!(conditions[0]["value"], alice.id.as_str());
        assert_eq!(alice.get(format!("{mention}/enabled")).await.ok(), json!({ "enabled": true }));

        alice.put(format!("{mention}/enabled")).json(&json!({ "enabled": false })).await.ok();
        assert_eq!(alice.get(format!("{mention}/enabled")).await.ok(), json!({ "enabled": false }));
        let message = path("underride", ".m.rule.message");
        alice.put(format!("{message}/actions")).json(&json!({ "actions": [] })).await.ok();
        assert_eq!(alice.get(format!("{message}/actions")).await.ok(), json!({ "actions": [] }));
        assert_eq!(bob.get(format!("{message}/actions")).await.ok(), json!({ "actions": ["notify"] }));
        assert_eq!(bob.get(format!("{V3}/pushrules/")).await.ok()["global"]["sender"], json!([]));
    }

    async fn a_user_adds_orders_and_deletes_rules(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        for (id, place) in [("a", ""), ("b", ""), ("c", "?after=a"), ("d", "?before=a")] {
            let rule = json!({ "pattern": id, "actions": ["notify", { "set_tweak": "highlight" }] });
            alice.put(format!("{}{place}", path("content", id))).json(&rule).await.ok();
        }
        assert_eq!(rule_ids(&alice, "content").await, ["b", "d", "a", "c"]);
        let rule = alice.get(path("content", "a")).await.ok();
        assert_eq!(rule["pattern"], "a");
        assert_eq!((&rule["enabled"], &rule["default"]), (&json!(true), &json!(false)));
        alice.put(format!("{}/enabled", path("content", "a"))).json(&json!({ "enabled": false })).await.ok();
        alice.put(path("content", "a")).json(&json!({ "pattern": "other", "actions": [] })).await.ok();
        let rule = alice.get(path("content", "a")).await.ok();
        assert_eq!((&rule["pattern"], &rule["enabled"]), (&json!("other"), &json!(false)));
        assert_eq!(alice.delete(path("content", "b")).await.ok(), json!({}));
        assert_eq!(rule_ids(&alice, "content").await, ["d", "a", "c"]);
    }

    async fn what_is_no_rule_of_a_user_is_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let rule = json!({ "actions": ["notify"] });
        for (kind, id) in [("room", "!none:x"), ("content", ".m.rule.message"), ("nothing", "x")] {
            alice.get(path(kind, id)).await.error(404, "M_NOT_FOUND");
            alice.delete(path(kind, id)).await.error(404, "M_NOT_FOUND");
            alice.get(format!("{}/enabled", path(kind, id))).await.error(404, "M_NOT_FOUND");
            alice.put(format!("{}/enabled", path(kind, id))).json(&json!({ "enabled": true })).await.error(404, "M_NOT_FOUND");
            alice.get(format!("{}/actions", path(kind, id))).await.error(404, "M_NOT_FOUND");
            alice.put(format!("{}/actions", path(kind, id))).json(&json!({ "actions": [] })).await.error(404, "M_NOT_FOUND");
        }
        let default = path("underride", ".m.rule.message");
        alice.delete(&default).await.error(400, "M_INVALID_PARAM");
        alice.put(&default).json(&rule).await.error(400, "M_INVALID_PARAM");
        for id in [".mine", "a/b", "a\\b", &"x".repeat(256)] {
            alice.put(path("room", id)).json(&rule).await.error(400, "M_INVALID_PARAM");
        }
        let new = path("override", "new");
        alice.put(format!("{new}?before=none")).json(&rule).await.error(400, "M_UNKNOWN");
        alice.put(format!("{new}?after=.m.rule.master")).json(&rule).await.error(400, "M_UNKNOWN");
        for body in [json!({}), json!({ "actions": "notify" }), json!({ "actions": [1] }), json!({ "actions": [], "conditions": 5 })] {
            alice.put(&new).json(&body).await.error(400, "M_BAD_JSON");
        }
        alice.put(path("content", "new")).json(&rule).await.error(400, "M_BAD_JSON");
        alice.put(&new).body("{").await.error(400, "M_NOT_JSON");
        let many: Vec<_> = (0..65).map(|_| json!({ "kind": "event_match", "key": "a", "pattern": "b" })).collect();
        alice.put(&new).json(&json!({ "actions": [], "conditions": many })).await.error(413, "M_TOO_LARGE");
        assert_eq!(rule_ids(&alice, "override").await.iter().filter(|id| !id.starts_with('.')).count(), 0);
    }

    async fn rules_reach_other_devices_by_sync_and_can_be_read_as_account_data(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let first = alice.sync(None, 0).await;
        assert_eq!(told(&first).unwrap()["override"][0]["rule_id"], ".m.rule.master");
        let since = first["next_batch"].as_str();
        assert!(told(&alice.sync(since, 0).await).is_none());
        let muted = path("room", "!room:example.org");
        let (answer, _) = tokio::join!(alice.sync(since, 30_000), async {
            alice.put(&muted).json(&json!({ "actions": [] })).await.ok()
        });
        assert_eq!(told(&answer).unwrap()["room"][0]["rule_id"], "!room:example.org");
        let since = answer["next_batch"].as_str();
        // The same again is no change.
        alice.put(&muted).json(&json!({ "actions": [] })).await.ok();
        assert!(told(&alice.sync(since, 0).await).is_none());
        let data = format!("{V3}/user/{}/account_data/m.push_rules", path_segment(&alice.id));
        assert_eq!(alice.get(&data).await.ok(), alice.get(format!("{V3}/pushrules/")).await.ok());
        alice.put(&data).json(&json!({})).await.error(405, "M_BAD_JSON");
        let filter = path_segment(r#"{"account_data":{"not_types":["m.push_rules"]}}"#);
        assert!(told(&alice.get(format!("{V3}/sync?filter={filter}")).await.ok()).is_none());
    }

    async fn rules_survive_a_restart(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        alice.put(path("sender", "@bob:localhost")).json(&json!({ "actions": [] })).await.ok();
        alice.put(format!("{}/enabled", path("override", ".m.rule.master"))).json(&json!({ "enabled": true })).await.ok();
        let rules = alice.get(format!("{V3}/pushrules/")).await.ok();
        server.shutdown().await;
        let server = TestServer::start(&db).await;
        assert_eq!(alice.at(&server.client()).get(format!("{V3}/pushrules/")).await.ok(), rules);
    }
}
