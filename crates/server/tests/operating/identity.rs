//! A database belongs to one server: its name, and its signing key.

use std::fs;

use serde_json::{Value, json};
use testing::{ServerProcess, on_both_databases};

use crate::PROGRAM;

/// What a command says that fails.
async fn refusal(server: &ServerProcess, arguments: &[&str]) -> String {
    let output = server.run(arguments).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

async fn succeeds(server: &ServerProcess, arguments: &[&str]) -> String {
    let output = server.run(arguments).await;
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The IDs of the keys that a server signs with and has signed with.
async fn published(server: &ServerProcess) -> (Vec<String>, Vec<String>) {
    let document = server.client().get("/_matrix/key/v2/server").await.ok();
    let ids = |keys: &Value| keys.as_object().unwrap().keys().cloned().collect();
    for old in document["old_verify_keys"].as_object().unwrap().values() {
        assert!(old["key"].is_string() && old["expired_ts"].as_i64().unwrap() > 1_700_000_000_000, "{old}");
    }
    (ids(&document["verify_keys"]), ids(&document["old_verify_keys"]))
}

on_both_databases! {
    async fn a_database_is_not_served_under_another_name(db: TestDatabase) {
        let mut server = ServerProcess::start(PROGRAM, &db).await;
        server.register("alice").await;
        server.terminate().await;
        let file = db.folder().join("test.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("[server]", "[server]\nname = 'other.example'")).unwrap();
        for arguments in [&["serve"][..], &["user", "create", "--name", "bob"], &["signing-key", "rotate"]] {
            let refused = refusal(&server, arguments).await;
            let expected = "the database belongs to the server \"localhost\", and server.name is \"other.example\": \
                            set server.name = \"localhost\"";
            assert!(refused.contains(expected), "{refused}");
        }
        fs::write(&file, text).unwrap();
        server.restart().await;
    }

    async fn a_lost_key_is_missed_and_replaced_on_demand_only(db: TestDatabase) {
        let mut server = ServerProcess::start(PROGRAM, &db).await;
        server.register("alice").await.create_room(&json!({})).await;
        let (first, old) = published(&server).await;
        assert!(first.len() == 1 && old.is_empty());
        let running = refusal(&server, &["signing-key", "rotate"]).await;
        let expected = if db.is_postgres() { "stop all servers first" } else { "stop that one first" };
        assert!(running.contains(expected), "{running}");
        server.terminate().await;

        let file = db.folder().join("signing.key");
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let refused = refusal(&server, &["serve"]).await;
        assert!(refused.contains("signing.key is not there") && refused.contains("signing-key rotate"), "{refused}");
        assert!(!file.exists(), "a new key was made without a word");
        fs::write(&file, &text).unwrap();
        server.restart().await;
        assert_eq!(published(&server).await.0, first);
        server.terminate().await;

        fs::remove_file(&file).unwrap();
        let done = succeeds(&server, &["signing-key", "rotate"]).await;
        assert!(done.contains(&format!("{} stays published", first[0])), "{done}");
        server.restart().await;
        let (second, old) = published(&server).await;
        assert_ne!(second, first);
        assert_eq!(old, first);
    }

    async fn another_key_signs_when_it_is_accepted(db: TestDatabase) {
        let mut server = ServerProcess::start(PROGRAM, &db).await;
        let (first, _) = published(&server).await;
        server.terminate().await;
        let done = succeeds(&server, &["signing-key", "rotate"]).await;
        assert!(done.contains("signs this server's events from now on"), "{done}");
        let version = first[0].strip_prefix("ed25519:").unwrap();
        assert!(db.folder().join(format!("signing.key.old-{version}")).exists(), "the former file is not kept");

        let file = db.folder().join("signing.key");
        let seed = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";
        fs::write(&file, format!("ed25519 of_mine {seed}\n")).unwrap();
        let refused = refusal(&server, &["serve"]).await;
        assert!(refused.contains("ed25519:of_mine") && refused.contains("signing-key accept"), "{refused}");
        succeeds(&server, &["signing-key", "accept"]).await;
        server.restart().await;
        let (now, old) = published(&server).await;
        assert_eq!(now, ["ed25519:of_mine"]);
        assert!(old.len() == 2 && old.contains(&first[0]), "{old:?}");
        server.terminate().await;

        // The version of a key says which one it is.
        fs::write(&file, format!("ed25519 {version} {seed}\n")).unwrap();
        let refused = refusal(&server, &["signing-key", "accept"]).await;
        assert!(refused.contains("no other key of this server"), "{refused}");
    }
}
