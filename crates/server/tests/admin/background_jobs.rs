use homeserver_core::{Clock as _, SystemClock};
use serde_json::{Value, json};
use storage::{Database, NewJob, Progress, Wanted};
use testing::{TestServer, on_both_databases};

use crate::administrator;

const PATH: &str = "/_synapse/admin/v1/background_jobs";

/// Jobs of a kind that this server does not know, and leaves alone.
async fn schedule(database: &Database, key: Option<&'static str>) -> i64 {
    let now = SystemClock.now();
    let write = async move |tx: &mut storage::Tx| {
        let job = NewJob { name: "foreign", priority: 1, key, payload: "{}", scheduled_at: now, due_at: now };
        tx.schedule_job(&job).await
    };
    database.write(write).await.unwrap().0
}

/// Another node takes all of them, and gives them up.
async fn give_up(database: &Database) {
    let now = SystemClock.now();
    let wanted = Wanted {
        names: vec!["foreign".to_owned()],
        priority: 1,
        limit: 10,
        node: "another node".to_owned(),
        now,
        lease_until: now,
    };
    for job in database.claim_jobs(wanted).await.unwrap() {
        let progress = Progress { done: 3, total: 7, note: Some("Counting sheep".to_owned()) };
        assert!(database.set_job_progress(job.claim.clone(), progress).await.unwrap());
        assert!(database.give_up_job(job.claim, "no more sheep".to_owned(), now).await.unwrap());
    }
}

on_both_databases! {
    async fn an_administrator_sees_and_changes_jobs(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let root = administrator(&server).await;
        let database = server.database();
        let given_up = schedule(&database, Some("k")).await;
        give_up(&database).await;
        let waiting = [schedule(&database, Some("k")).await, schedule(&database, None).await, schedule(&database, None).await];

        let job = root.get(format!("{PATH}/{given_up}")).await.ok();
        assert_eq!((&job["id"], &job["name"], &job["state"]), (&json!(given_up), &json!("foreign"), &json!("given_up")));
        assert_eq!((&job["priority"], &job["attempts"], &job["node"]), (&json!("normal"), &json!(1), &json!("another node")));
        assert_eq!(job["progress"], json!({ "done": 3, "total": 7, "note": "Counting sheep" }));
        assert_eq!(job["last_error"], "no more sheep");
        assert!(job["finished_ts"].is_i64() && job["started_ts"].is_i64() && job["scheduled_ts"].is_i64());
        assert!(job["age_ms"].as_u64().unwrap() < 600_000);

        let ids = |page: &Value| page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect::<Vec<_>>();
        let page = root.get(format!("{PATH}?name=foreign&state=waiting&limit=2")).await.ok();
        assert_eq!(ids(&page), [waiting[2], waiting[1]]);
        let next = root.get(format!("{PATH}?name=foreign&state=waiting&limit=2&from={}", page["next_token"])).await.ok();
        assert_eq!((ids(&next), &next["next_token"]), (vec![waiting[0]], &Value::Null));
        assert_eq!(ids(&root.get(format!("{PATH}?name=nothing")).await.ok()), Vec::<i64>::new());
        assert!(ids(&root.get(format!("{PATH}?limit=4294967295")).await.ok()).len() >= 4);

        root.post(format!("{PATH}/{given_up}/retry")).await.error(400, "M_BAD_STATE");
        assert_eq!(root.delete(format!("{PATH}/{}", waiting[0])).await.ok()["state"], "cancelled");
        root.delete(format!("{PATH}/{}", waiting[0])).await.error(400, "M_BAD_STATE");
        let again = root.post(format!("{PATH}/{given_up}/retry")).await.ok();
        assert_eq!((&again["state"], &again["attempts"]), (&json!("waiting"), &json!(0)));
        root.post(format!("{PATH}/{given_up}/retry")).await.error(400, "M_BAD_STATE");
        server.shutdown().await;
    }

    async fn a_wrong_request_about_jobs_is_refused(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let root = administrator(&server).await;
        for query in ["state=asleep", "limit=-1", "limit=many", "from=x"] {
            root.get(format!("{PATH}?{query}")).await.error(400, "M_INVALID_PARAM");
        }
        for id in ["x", "1.5", "99999999999999999999"] {
            root.get(format!("{PATH}/{id}")).await.error(400, "M_INVALID_PARAM");
        }
        root.get(format!("{PATH}/999999")).await.error(404, "M_NOT_FOUND");
        root.delete(format!("{PATH}/999999")).await.error(404, "M_NOT_FOUND");
        root.post(format!("{PATH}/999999/retry")).await.error(404, "M_NOT_FOUND");
        server.shutdown().await;
    }

    async fn nobody_but_administrators_sees_or_changes_jobs(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let bob = server.register("bob").await;
        let id = schedule(&server.database(), None).await;
        let client = server.client();
        for path in [PATH.to_owned(), format!("{PATH}/{id}")] {
            bob.get(&path).await.error(403, "M_FORBIDDEN");
            client.get(&path).await.error(401, "M_MISSING_TOKEN");
        }
        bob.delete(format!("{PATH}/{id}")).await.error(403, "M_FORBIDDEN");
        client.delete(format!("{PATH}/{id}")).token("x").await.error(401, "M_UNKNOWN_TOKEN");
        bob.post(format!("{PATH}/{id}/retry")).await.error(403, "M_FORBIDDEN");
        let job = server.database().job(storage::JobId(id)).await.unwrap().unwrap();
        assert_eq!(job.state, storage::JobState::Waiting);
        server.shutdown().await;
    }

    async fn jobs_are_in_the_metrics(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        alice.create_room(&json!({})).await;
        let path = format!("/_matrix/client/v3/profile/{}/displayname", testing::path_segment(&alice.id));
        alice.put(&path).json(&json!({ "displayname": "Alice" })).await.ok();
        let metrics = server.client().get("/metrics").await;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        let line = "job_duration_seconds_count{end=\"finished\",job=\"update_member_profile\"} 1";
        assert!(text.lines().any(|found| found == line), "{text}");
        assert!(text.contains("jobs_oldest_due_age_seconds "), "{text}");
        server.shutdown().await;
    }
}
