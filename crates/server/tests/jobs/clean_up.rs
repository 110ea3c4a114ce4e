use serde_json::json;
use services::background::{RemoveExpired, RemoveUnseenDevices};
use storage::params;
use testing::{TestServer, on_both_databases};

use crate::{V3, count, execute, run};

on_both_databases! {
    async fn what_has_run_out_is_removed_and_the_rest_stays(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let alice = server.register("alice").await;
        let room_id = alice.create_room(&json!({})).await;
        alice.send_text(&room_id, "old").await;
        let database = server.database();
        execute(&database, "UPDATE events SET origin_server_ts = 1").await;
        alice.send_text(&room_id, "young").await;
        let log_in = json!({
            "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" },
            "password": "password of alice", "refresh_token": true,
        });
        let refreshable = server.client().post(format!("{V3}/login")).json(&log_in).await.ok();
        execute(&database, "UPDATE access_tokens SET expires_at = 1 WHERE refresh_hash IS NOT NULL").await;
        database.write(async |tx| {
            let sql = "INSERT INTO access_tokens (token_hash, user_sn, device_sn, created_at, expires_at, refresh_hash) \
                       VALUES ($1, 1, 1, 1, 1, $2)";
            for number in 0_u16..1_200 {
                let hash = [&number.to_be_bytes()[..], &[7; 30]].concat();
                tx.execute(sql, params![&hash, &[8_u8; 32][..]]).await?;
            }
            let sql = "INSERT INTO registration_tokens (token, uses_allowed, uses_completed, expires_at) VALUES ($1, $2, $3, $4)";
            tx.execute(sql, params!["late", None::<i64>, 0, Some(1_i64)]).await?;
            tx.execute(sql, params!["used", 1, 1, None::<i64>]).await?;
            tx.execute(sql, params!["good", 2, 1, None::<i64>]).await?;
            let sql = "INSERT INTO uia_sessions (session_id, operation, completed, details, created_at) VALUES ($1, 'x', '[]', '{}', $2)";
            tx.execute(sql, params!["old", 1]).await?;
            tx.execute(sql, params!["young", i64::MAX]).await?;
            let sql = "INSERT INTO typing (room_sn, user_sn, has_ended, expires_at, position) VALUES (1, $1, $2, $3, 1)";
            tx.execute(sql, params![101, true, 1]).await?;
            tx.execute(sql, params![102, true, i64::MAX]).await?;
            tx.execute(sql, params![103, false, 1]).await.map(drop)
        }).await.unwrap();

        run(&database, RemoveExpired {}).await;
        assert_eq!(count(&database, "SELECT COUNT(*) FROM access_tokens WHERE expires_at = 1").await, 1);
        let tokens: Vec<String> = database
            .query("SELECT token FROM registration_tokens WHERE NOT makes_admin ORDER BY token", &[], |row| row.get(0))
            .await
            .unwrap();
        assert_eq!(tokens, ["good"]);
        let sessions = "SELECT session_id FROM uia_sessions WHERE operation = 'x'";
        let sessions: Vec<String> = database.query(sessions, &[], |row| row.get(0)).await.unwrap();
        assert_eq!(sessions, ["young"]);
        assert_eq!(count(&database, "SELECT COUNT(*) FROM client_transactions").await, 1);
        let typing = "SELECT user_sn FROM typing ORDER BY user_sn";
        let typing: Vec<i64> = database.query(typing, &[], |row| row.get(0)).await.unwrap();
        assert_eq!(typing, [102, 103]);

        alice.get(format!("{V3}/account/whoami")).await.ok();
        // Its client is still told that it may refresh it, and can.
        let expired = server.client().get(format!("{V3}/account/whoami"));
        let expired = expired.token(refreshable["access_token"].as_str().unwrap()).await.error(401, "M_UNKNOWN_TOKEN");
        assert_eq!(expired["soft_logout"], true);
        let refresh = json!({ "refresh_token": refreshable["refresh_token"] });
        server.client().post(format!("{V3}/refresh")).json(&refresh).await.ok();
        server.shutdown().await;
    }

    async fn devices_that_were_not_seen_for_long_are_deleted_if_so_configured(db: TestDatabase) {
        let settings = [("jobs", "remove_devices_unseen_for", "30days".into())];
        let server = TestServer::start_with(&db, &settings).await;
        let (alice, bob) = (server.register("alice").await, server.register("bob").await);
        let database = server.database();
        execute(&database, "UPDATE devices SET last_seen_at = NULL, created_at = 1 WHERE device_sn = 1").await;
        run(&database, RemoveUnseenDevices {}).await;
        let gone = if count(&database, "SELECT user_sn FROM devices").await == 1 { &bob } else { &alice };
        let kept = if std::ptr::eq(gone, &bob) { &alice } else { &bob };
        gone.get(format!("{V3}/devices")).await.error(401, "M_UNKNOWN_TOKEN");
        kept.get(format!("{V3}/devices")).await.ok();
        server.shutdown().await;

        let server = TestServer::start(&db).await;
        execute(&server.database(), "UPDATE devices SET last_seen_at = 1").await;
        run(&server.database(), RemoveUnseenDevices {}).await;
        kept.at(&server.client()).get(format!("{V3}/devices")).await.ok();
        server.shutdown().await;
    }
}
