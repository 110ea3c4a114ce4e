use background::CountStatistics;
use serde_json::json;
use storage::params;
use testing::{TestServer, User, on_both_databases};

use crate::{execute, run};

const PATH: &str = "/_synapse/admin/v1/statistics/server";

on_both_databases! {
    async fn users_rooms_and_messages_are_counted(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let users = [server.register("alice").await, server.register("bob").await, server.register("carol").await];
        let [alice, bob, carol] = &users;
        let database = server.database();
        execute(&database, "UPDATE accounts SET is_admin = TRUE WHERE user_sn IN (SELECT user_sn FROM users WHERE user_id LIKE '@alice:%')").await;
        let alice = &admin_again(&server, alice).await;
        alice.get(PATH).await.error(404, "M_NOT_FOUND");

        let room_id = alice.create_room(&json!({ "preset": "public_chat" })).await;
        bob.join(&room_id).await;
        alice.send_text(&room_id, "long ago").await;
        execute(&database, "UPDATE events SET origin_server_ts = 1").await;
        for text in ["one", "two", "three"] {
            bob.send_text(&room_id, text).await;
        }
        carol.create_room(&json!({})).await;
        let now = homeserver_core::Clock::now(&homeserver_core::SystemClock);
        database.write(async move |tx| {
            let day = std::time::Duration::from_secs(24 * 3600);
            let sql = "UPDATE devices SET last_seen_at = $2 WHERE user_sn IN (SELECT user_sn FROM users WHERE user_id = $1)";
            tx.execute(sql, params!["@alice:localhost", now]).await?;
            tx.execute(sql, params!["@bob:localhost", now.minus(3 * day)]).await?;
            tx.execute(sql, params!["@carol:localhost", now.minus(40 * day)]).await.map(drop)
        }).await.unwrap();
        run(&database, CountStatistics {}).await;
        let counted = alice.get(PATH).await.ok();
        let expected = json!({
            "local_users": 3, "daily_active_users": 1, "monthly_active_users": 2, "rooms": 2, "daily_messages": 3,
            "daily_sent_messages": 3, "counted_ts": counted["counted_ts"], "history": [],
        });
        assert_eq!(counted, expected);
        run(&database, CountStatistics {}).await;
        assert_eq!(alice.get(format!("{PATH}?limit=5")).await.ok()["history"].as_array().unwrap().len(), 1);
        bob.get(PATH).await.error(403, "M_FORBIDDEN");
        server.client().get(PATH).await.error(401, "M_MISSING_TOKEN");
        server.shutdown().await;
    }
}

/// Who becomes an administrator by a write of ours has to log in anew.
async fn admin_again(server: &TestServer, user: &User) -> User {
    let name = user.id.strip_prefix('@').unwrap().split(':').next().unwrap().to_owned();
    let log_in = json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name },
        "password": format!("password of {name}"),
    });
    let session = server.client().post("/_matrix/client/v3/login").json(&log_in).await.ok();
    let mut user = user.at(&server.client());
    session["access_token"].as_str().unwrap().clone_into(&mut user.token);
    user
}
