//! SIGHUP on the real program: every key that a reload applies does what it says, and a bad file changes nothing.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};
use testing::{Client, ServerProcess, TestDatabase, on_both_databases};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use toml::{Table, Value};

const PATIENCE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A server whose configuration is changed while it runs.
struct Reloading {
    server: ServerProcess,
    file: PathBuf,
}

impl Reloading {
    async fn start(db: &TestDatabase, further: &[(&str, &str, Value)]) -> Self {
        let server = ServerProcess::start_with(env!("CARGO_BIN_EXE_synapse-rust"), db, further).await;
        Self { server, file: db.folder().join("test.toml") }
    }

    fn client(&self) -> Client {
        self.server.client()
    }

    /// Changes a key, and waits until the server says that it has reloaded it.
    async fn set(&self, section: &str, key: &str, value: impl Into<Value>) {
        let mut settings: Table = fs::read_to_string(&self.file).unwrap().parse().unwrap();
        let entry = settings.entry(section).or_insert_with(|| Table::new().into());
        entry.as_table_mut().unwrap().insert(key.to_owned(), value.into());
        fs::write(&self.file, settings.to_string()).unwrap();
        let reloaded = format!("{section}.{key}");
        let before = self.lines_with(&["configuration reloaded", &reloaded]);
        self.server.hang_up();
        self.wait_for(&["configuration reloaded", &reloaded], before).await;
    }

    fn lines_with(&self, texts: &[&str]) -> usize {
        self.server.log().lines().filter(|line| texts.iter().all(|text| line.contains(text))).count()
    }

    async fn wait_for(&self, texts: &[&str], before: usize) {
        let written = async {
            while self.lines_with(texts) <= before {
                sleep(POLL_INTERVAL).await;
            }
        };
        let written = timeout(PATIENCE, written).await;
        assert!(written.is_ok(), "no line with {texts:?} in the log:\n{}", self.server.log());
    }

    async fn has_password_login(&self) -> bool {
        let flows = self.client().get("/_matrix/client/v3/login").await.ok();
        flows["flows"].as_array().unwrap().iter().any(|flow| flow["type"] == "m.login.password")
    }
}

/// The sum over all caches of a metric.
async fn metric(client: &Client, name: &str) -> f64 {
    let text = client.get("/metrics").send().await.unwrap();
    let text = String::from_utf8(text.body.to_vec()).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

on_both_databases! {
    async fn what_is_reloaded_is_what_the_server_does(db: TestDatabase) {
        let reloading = Reloading::start(&db, &[]).await;
        let (client, alice) = (reloading.client(), reloading.server.register("alice").await);

        reloading.set("rooms", "default_version", "11").await;
        let capabilities = alice.get("/_matrix/client/v3/capabilities").await.ok();
        assert_eq!(capabilities["capabilities"]["m.room_versions"]["default"], "11");
        let room = alice.create_room(&json!({})).await;
        let create = alice.get(format!("/_matrix/client/v3/rooms/{room}/state/m.room.create/")).await.ok();
        assert_eq!(create["room_version"], "11");

        reloading.set("passwords", "enabled", false).await;
        let capabilities = alice.get("/_matrix/client/v3/capabilities").await.ok();
        assert_eq!(capabilities["capabilities"]["m.change_password"]["enabled"], false);
        assert!(!reloading.has_password_login().await);
        reloading.set("passwords", "enabled", true).await;
        assert!(reloading.has_password_login().await);
        reloading.set("passwords", "hash_iterations", 2).await;
        reloading.set("passwords", "hash_memory", "2MiB").await;
        let bob = reloading.server.register("bob").await;
        bob.get("/_matrix/client/v3/account/whoami").await.ok();

        client.get("/.well-known/matrix/client").await.error(404, "M_NOT_FOUND");
        reloading.set("server", "public_base_url", "https://matrix.example.org").await;
        let found = client.get("/.well-known/matrix/client").await.ok();
        assert_eq!(found["m.homeserver"]["base_url"], "https://matrix.example.org");

        reloading.set("registration", "enabled", false).await;
        let refused = client.post("/_matrix/client/v3/register").json(&json!({ "username": "carol" }));
        let refused: Json = serde_json::from_slice(&refused.send().await.unwrap().body).unwrap();
        assert_eq!(refused["errcode"], "M_FORBIDDEN", "nobody is left who may register");
        reloading.set("passwords", "minimum_length", 20).await;
        let short = json!({ "new_password": "nineteen characters" });
        let short = alice.post("/_matrix/client/v3/account/password").json(&short).await;
        short.error(400, "M_WEAK_PASSWORD");
        let by_secret = json!({
            "nonce": "x", "username": "carol", "password": "secret", "mac": "00", "admin": false,
        });
        let register = "/_synapse/admin/v1/register";
        let disabled = client.post(register).json(&by_secret).send().await.unwrap();
        reloading.set("registration", "shared_secret", "hunter2").await;
        let unknown = client.post(register).json(&by_secret).send().await.unwrap();
        let texts = [disabled, unknown].map(|answer| String::from_utf8(answer.body.to_vec()).unwrap());
        assert!(texts[0].contains("not enabled") && texts[1].contains("unrecognised nonce"), "{texts:?}");
        assert!(!reloading.server.log().contains("hunter2"));

        reloading.set("rooms", "full_state_timeout", "5s").await;
        reloading.set("server", "shutdown_timeout", "5s").await;
        reloading.set("caches", "time_to_live", "1h").await;
        reloading.set("telemetry", "log_filter", "debug").await;
        alice.send_text(&room, "still here").await;
    }

    async fn the_budget_of_the_caches_changes_while_they_are_used(db: TestDatabase) {
        let reloading = Reloading::start(&db, &[]).await;
        let (client, alice) = (reloading.client(), reloading.server.register("alice").await);
        let room = alice.create_room(&json!({})).await;
        alice.send_text(&room, "hello").await;
        alice.sync(None, 0).await;
        assert!(metric(&client, "cache_entries").await > 10.0);
        assert!(metric(&client, "cache_size_bytes").await > 1_000.0);
        assert!(metric(&client, "cache_hits_total").await > 10.0);
        let budget: Json = client.get("/health").await.ok()["cache"].clone();
        assert_eq!((&budget["status"], &budget["budget_bytes"]), (&json!("healthy"), &json!(512 << 20)), "{budget}");
        let capacity = metric(&client, "cache_capacity_bytes").await;
        assert!(capacity > f64::from(256 << 20) && capacity <= f64::from(512 << 20), "{capacity}");

        reloading.set("caches", "memory_budget", "8MiB").await;
        assert!(metric(&client, "cache_capacity_bytes").await <= f64::from(8 << 20));
        assert_eq!(client.get("/health").await.ok()["cache"]["budget_bytes"], 8 << 20);
        alice.send_text(&room, "hello again").await;

        reloading.set("caches", "memory_budget", "1GiB").await;
        assert!(metric(&client, "cache_capacity_bytes").await > f64::from(512 << 20));
    }

    async fn more_connections_are_accepted_once_the_limit_is_raised(db: TestDatabase) {
        let reloading = Reloading::start(&db, &[]).await;
        let address = reloading.client().base_url().strip_prefix("http://").unwrap().to_owned();
        let ask = async |stream: &mut TcpStream| {
            stream.write_all(b"GET /_matrix/client/versions HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut begin = [0; 12];
            stream.read_exact(&mut begin).await.map(|_| begin)
        };
        let mut first = TcpStream::connect(&address).await.unwrap();
        assert_eq!(&ask(&mut first).await.unwrap(), b"HTTP/1.1 200");
        reloading.set("server", "max_connections", 1).await;
        // The first one stays, and the place for the next one was taken before the limit was lowered.
        let mut second = TcpStream::connect(&address).await.unwrap();
        assert_eq!(&ask(&mut second).await.unwrap(), b"HTTP/1.1 200");
        let mut third = TcpStream::connect(&address).await.unwrap();
        let mut asked = Box::pin(ask(&mut third));
        assert!(timeout(Duration::from_millis(300), asked.as_mut()).await.is_err(), "there is no room for a third");
        reloading.set("server", "max_connections", 10).await;
        assert_eq!(&timeout(PATIENCE, asked).await.unwrap().unwrap(), b"HTTP/1.1 200");
    }

    async fn a_refused_file_changes_nothing_and_says_what_is_wrong(db: TestDatabase) {
        let reloading = Reloading::start(&db, &[]).await;
        let alice = reloading.server.register("alice").await;
        let good = fs::read_to_string(&reloading.file).unwrap();
        for (number, (bad, expected)) in [
            ("[rooms]\ndefault_version = \"11\"\n[caches]\nmemory_budgte = \"1GiB\"", "did you mean `memory_budget`?"),
            ("[rooms]\ndefault_version = \"11\"\n[caches]\nmemory_budget = \"1\"", "expected a size from"),
            ("[rooms]\ndefault_version = \"11\"\n[telemetry]\nlog_filter = \"a=b=c\"", "telemetry.log_filter"),
            ("[rooms\n", "expected TOML"),
        ].into_iter().enumerate() {
            fs::write(&reloading.file, bad).unwrap();
            reloading.server.hang_up();
            reloading.wait_for(&["is refused and the old one stays", "test.toml", expected], 0).await;
            let capabilities = alice.get("/_matrix/client/v3/capabilities").await.ok();
            assert_eq!(capabilities["capabilities"]["m.room_versions"]["default"], "12", "{number}");
        }
        fs::write(&reloading.file, &good).unwrap();
        reloading.set("caches", "memory_budget", "64MiB").await;
        reloading.server.register("bob").await;
    }
}
