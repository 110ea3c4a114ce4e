use http::HeaderName;
use serde_json::Value;
use storage::{Database, DatabaseOptions};
use testing::{ServerProcess, eventually, on_both_databases, path_segment};

use crate::start;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

fn lines(server: &ServerProcess) -> Vec<Value> {
    server.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

on_both_databases! {
    async fn a_request_is_one_line_at_debug_that_tells_who_asked_what_and_nothing_secret(db: TestDatabase) {
        let settings = [("log_format", "json".into()), ("log_filter", "info,access=debug".into())];
        let server = start(&db, &settings).await;
        let alice = server.register("alice").await;
        let answer = alice.get("/_matrix/client/v3/account/whoami?access_token=x").header(REQUEST_ID, "mine-1").await;
        assert_eq!(answer.headers["x-request-id"], "mine-1");
        let line = eventually("the line of the request", async || {
            lines(&server).into_iter().find(|line| line["request_id"] == "mine-1")
        }).await;
        assert_eq!((line["level"].as_str(), line["target"].as_str()), (Some("DEBUG"), Some("access")));
        assert_eq!(line["fields"]["status"], 200);
        assert!(line["fields"]["took_ms"].as_f64().unwrap() > 0.0);
        let request = &line["spans"][0]["fields"];
        assert_eq!((request["method"].as_str(), request["route"].as_str()), (Some("GET"), Some("/_matrix/client/v3/account/whoami")));
        assert_eq!((request["user_id"].as_str(), request["device_id"].as_str()), (Some(&*alice.id), Some(&*alice.device_id)));
        let times = server.log().matches("mine-1").count();
        assert_eq!(times, 2, "in one line, at its top and in its span");
        assert!(!server.log().contains(&alice.token) && !server.log().contains("password of"));
    }

    async fn an_internal_error_is_found_in_the_log_by_what_the_user_quotes(db: TestDatabase) {
        let server = start(&db, &[("log_format", "json".into())]).await;
        let alice = server.register("alice").await;
        let database = Database::open(&DatabaseOptions::new(db.url())).await.unwrap();
        database.write(async |tx| tx.execute("DROP TABLE filters", &[]).await.map(drop)).await.unwrap();
        let answer = alice.get(format!("/_matrix/client/v3/user/{}/filter/0", path_segment(&alice.id))).await;
        let request_id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        let error = answer.error(500, "M_UNKNOWN");
        let sentence = error["error"].as_str().unwrap();
        assert!(sentence.ends_with(&format!("(request ID {request_id})")) && !sentence.contains("filters"), "{sentence}");
        eventually("the error's line", async || lines(&server).into_iter().find(|line| line["level"] == "ERROR")).await;
        let errors: Vec<_> = lines(&server).into_iter().filter(|line| line["level"] == "ERROR").collect();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0]["request_id"], *request_id);
        assert!(errors[0]["fields"]["error"].as_str().unwrap().contains("filters"), "{errors:?}");
        database.close().await;
    }
}
