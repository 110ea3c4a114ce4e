use background::{RemoveExpired, RemoveUnseenDevices};
use serde_json::json;
use storage::{Database, Tx, params};
use testing::{TestServer, on_both_databases};

use crate::{V3, count, execute, run};

/// Keys of servers, of which one shares a room and one is new, and events that were passed on, of which the former lacks the last.
async fn keep_of_servers(database: &Database) {
    let write = async |tx: &mut Tx| {
        let sql = "INSERT INTO servers (server_name) VALUES ('stranger.example'), ('friend.example'), ('new.example')";
        tx.execute(sql, &[]).await?;
        let sql = "INSERT INTO server_keys (server_sn, document, dropped, fetched_at) SELECT server_sn, $1, '{}', \
                   CASE server_name WHEN 'new.example' THEN 9000000000000 ELSE 1 END FROM servers";
        tx.execute(sql, params![&[1_u8][..]]).await?;
        let sql = "INSERT INTO room_servers (server_sn, room_sn) SELECT server_sn, 1 FROM servers \
                   WHERE server_name = 'friend.example'";
        tx.execute(sql, &[]).await?;
        let sql = "INSERT INTO destinations (server_sn, sent_up_to) SELECT server_sn, 1 FROM servers \
                   WHERE server_name = 'friend.example'";
        tx.execute(sql, &[]).await?;
        tx.execute("UPDATE outbox_head SET position = 100", &[]).await?;
        let sql = "INSERT INTO forwarded_events (position, room_sn, event_sn) VALUES (1, 1, 1), (2, 1, 2)";
        tx.execute(sql, &[]).await.map(drop)
    };
    database.write(write).await.unwrap();
}

const MIGRATION: &str = include_str!("../../../storage/src/migrations/0014_thumbnail_sizes.sql");

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
        keep_of_servers(&database).await;

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
        let kept = "SELECT s.server_name FROM servers s JOIN server_keys k ON k.server_sn = s.server_sn ORDER BY 1";
        let kept: Vec<String> = database.query(kept, &[], |row| row.get(0)).await.unwrap();
        assert_eq!(kept, ["friend.example", "new.example"]);
        assert_eq!(count(&database, "SELECT MIN(position) FROM forwarded_events").await, 2);

        alice.get(format!("{V3}/account/whoami")).await.ok();
        // Its client is still told that it may refresh it, and can.
        let expired = server.client().get(format!("{V3}/account/whoami"));
        let expired = expired.token(refreshable["access_token"].as_str().unwrap()).await.error(401, "M_UNKNOWN_TOKEN");
        assert_eq!(expired["soft_logout"], true);
        let refresh = json!({ "refresh_token": refreshable["refresh_token"] });
        server.client().post(format!("{V3}/refresh")).json(&refresh).await.ok();
        server.shutdown().await;
    }

    async fn media_that_nobody_will_have_any_more_is_removed(db: TestDatabase) {
        let settings = [("media", "remote_media_lifetime", "30days".into())];
        let server = TestServer::start_with(&db, &settings).await;
        let alice = server.register("alice").await;
        let database = server.database();
        let announce = || async { alice.post("/_matrix/media/v1/create").await.ok() };
        announce().await;
        execute(&database, "UPDATE media SET expires_at = 1").await;
        announce().await;
        let upload = alice.post("/_matrix/media/v3/upload").body("kept").await.ok();
        execute(&database, "UPDATE media SET created_at = 1 WHERE file IS NOT NULL").await;
        let own: Vec<String> = database.query("SELECT file FROM media WHERE file IS NOT NULL", &[], |row| row.get(0)).await.unwrap();
        let media = db.folder().join("media");
        let path = |file: &str| media.join(&file[..2]).join(&file[2..4]).join(file);
        assert!(path(&own[0]).is_file());
        let [old, young, small] = ["o", "y", "s"].map(|letter| letter.repeat(32));
        for file in [&old, &young, &small] {
            std::fs::create_dir_all(path(file).parent().unwrap()).unwrap();
            std::fs::write(path(file), "fetched").unwrap();
        }
        let stored = [old.clone(), young.clone(), small.clone()];
        database.write(async move |tx| {
            let [old, young, small] = &stored;
            let sql = "INSERT INTO media (server_name, media_id, created_at, file, size_bytes) VALUES ('a.example', $1, $2, $3, 7)";
            tx.execute(sql, params!["old", 1, old]).await?;
            tx.execute(sql, params!["young", i64::MAX, young]).await?;
            let sql = "INSERT INTO media_thumbnails (server_name, media_id, width, height, is_cropped, file, size_bytes, content_type) \
                       VALUES ('a.example', 'old', 32, 32, $1, $2, 7, 'image/png')";
            tx.execute(sql, params![true, small]).await.map(drop)
        }).await.unwrap();
        let read = async |id: &str| alice.get(format!("/_matrix/client/v1/media/download/a.example/{id}")).await.status.as_u16();
        assert_eq!((read("old").await, read("young").await), (200, 200));

        run(&database, RemoveExpired {}).await;
        assert_eq!(count(&database, "SELECT COUNT(*) FROM media WHERE file IS NULL").await, 1);
        assert_eq!(count(&database, "SELECT COUNT(*) FROM media_thumbnails").await, 0);
        assert_eq!([&old, &young, &small].map(|file| path(file).exists()), [false, true, false]);
        assert_eq!(read("young").await, 200);
        assert_eq!(read("old").await, 502, "it is asked for again, of a server that there is not");
        let kept = upload["content_uri"].as_str().unwrap().strip_prefix("mxc://").unwrap();
        assert_eq!(alice.get(format!("/_matrix/client/v1/media/download/{kept}")).await.body, "kept");
        server.shutdown().await;
    }

    async fn thumbnails_of_sizes_that_are_not_made_any_more_are_removed(db: TestDatabase) {
        let server = TestServer::start(&db).await;
        let database = server.database();
        let media = db.folder().join("media");
        let path = |file: &str| media.join(&file[..2]).join(&file[2..4]).join(file);
        let sizes = [
            (32, 32, true), (96, 96, true), (320, 240, false), (640, 480, false), (800, 600, false),
            (96, 48, true), (320, 240, true), (800, 600, true), (32, 32, false), (0, 0, false), (0, 0, true), (1, 800, true),
        ];
        let names: Vec<String> = (b'a'..).take(sizes.len()).map(|letter| char::from(letter).to_string().repeat(32)).collect();
        for file in &names {
            std::fs::create_dir_all(path(file).parent().unwrap()).unwrap();
            std::fs::write(path(file), "made").unwrap();
        }
        // As a version left them that had no list of sizes.
        let stored = names.clone();
        database.write(async move |tx| {
            let sql = "INSERT INTO media_thumbnails (server_name, media_id, width, height, is_cropped, file, size_bytes, content_type) \
                       VALUES ('localhost', 'a', $1, $2, $3, $4, 4, 'image/png')";
            for ((width, height, is_cropped), file) in sizes.into_iter().zip(&stored) {
                tx.execute(sql, params![width, height, is_cropped, file]).await?;
            }
            // What the migration does with these.
            for statement in MIGRATION.split(';').filter(|sql| sql.contains("INSERT INTO") || sql.contains("DELETE FROM")) {
                tx.execute(statement, &[]).await?;
            }
            Ok(())
        }).await.unwrap();

        assert_eq!(count(&database, "SELECT COUNT(*) FROM media_thumbnails").await, 5);
        run(&database, RemoveExpired {}).await;
        let left: Vec<bool> = names.iter().map(|file| path(file).exists()).collect();
        assert_eq!(left, [[true; 5].as_slice(), &[false; 7]].concat());
        assert_eq!(count(&database, "SELECT COUNT(*) FROM media_files_to_remove").await, 0);
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
