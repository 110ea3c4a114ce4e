//! Where values come from, what they are when nobody sets them, and what is made from them.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly in the functions around it too")]

use std::{fs, path::Path, thread};

use config::{Changes, Config, DatabaseEngine, Resource};

fn load(file: &str, environment: &[(&str, &str)]) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("homeserver.toml");
    fs::write(&path, file).unwrap();
    config::load(Some(&path), environment.iter().copied()).unwrap().config
}

/// Every name that is promised, with the values of the design.
const EVERY_KEY: &str = r#"
[server]
name = "example.org"
public_base_url = "https://matrix.example.org"
data_dir = "data"
worker_threads = 4
signing_key_path = "data/signing.key"

[[listeners]]
bind = "127.0.0.1:8008"
resources = ["client", "federation", "media", "admin", "health", "metrics"]
tls = { certificate = "cert.pem", private_key = "key.pem" }
trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]

[database]
url = "sqlite://data/homeserver.db"
min_connections = 1
max_connections = 8
connect_timeout = "30s"
idle_timeout = "10m"
max_lifetime = "1h"
synchronous = "full"

[registration]
enabled = false
require_token = false
allow_guests = false
shared_secret = "…"

[passwords]
enabled = true
hash_memory = "19MiB"
hash_iterations = 2
minimum_length = 6
minimum_score = 0

[rooms]
default_version = "12"

[presence]
enabled = true
idle_after = "5m"
offline_after = "30s"

[network]
trusted_ca = ["ca.pem"]
verify_tls = true
allow_private_addresses = false

[federation]
enabled = true
server_addresses = { "hs2" = "127.0.0.2:8448" }
trusted_key_servers = []

[rate_limits]
enabled = true
message = { per_second = 0.2, burst = 10 }
registration = { per_second = 0.17, burst = 3 }
registration_available = { per_second = 1, burst = 10 }
registration_token_validity = { per_second = 0.1, burst = 5 }
interactive_auth = { per_second = 0.5, burst = 20 }
login = { address = { per_second = 0.003, burst = 5 }, account = { per_second = 0.003, burst = 5 } }
admin_redaction = { per_second = 1, burst = 50 }
joins = { local = { per_second = 0.1, burst = 10 }, remote = { per_second = 0.01, burst = 10 } }
joins_per_room = { per_second = 1, burst = 10 }
invites = { per_room = { per_second = 0.3, burst = 10 } }
third_party_invite = { per_second = 0.0025, burst = 5 }
third_party_validation = { per_second = 0.003, burst = 5 }
room_creation = { per_second = 0.016, burst = 10 }
federation = { window_size = "1s", sleep_limit = 10, sleep_delay = "500ms", reject_limit = 50, concurrent = 3 }
media_create = { per_second = 10, burst = 50 }
presence_per_user = { per_second = 0.1, burst = 1 }
delayed_event_mgmt = { per_second = 1, burst = 5 }
reports = { per_second = 1, burst = 5 }
room_directory = { per_second = 1, burst = 50 }
user_directory = { per_second = 0.016, burst = 200 }
remote_queries = { per_second = 1, burst = 30 }
remote_media = { per_second = 5, burst = 200 }
server_keys = { per_second = 2, burst = 100 }
to_device = { per_second = 20, burst = 500 }
login_token = { per_second = 0.017, burst = 2 }
rendezvous = { per_second = 10, burst = 100 }

[limits]
password_hashing = { running = 2, waiting = 50, longest_wait = "10s" }
signature_checks = { running = 2 }
user_directory_search = { waiting = 0 }
room_directory_search = { longest_wait = "1s" }
large_room_state = {}
initial_sync = {}
room_creation = {}
thumbnails = {}
remote_media = {}
remote_queries = {}
federation_out = {}

[caches]
memory_budget = "512MiB"

[media]
path = "data/media"
max_upload_size = "100MiB"
max_image_pixels = 32_000_000
max_pending_uploads = 5
unused_expiration_time = "24h"
remote_media_lifetime = "90d"
allow_unauthenticated = false

[appservices]
registration_files = []

[jobs]
urgent_workers = 8
normal_workers = 2
background_workers = 0
poll_interval = "5s"
lease = "30s"
keep_finished = "1h"
keep_given_up = "7days"
clean_up = "daily at 03:00"
collect_state = "every 12h"
purge_rooms = "daily at 23:59"
statistics = "every 15m"
remove_devices_unseen_for = "1year"

[telemetry]
log_format = "text"
log_filter = "info"
otlp_endpoint = "http://127.0.0.1:4317"
otlp_sampling = 0.25
client_traces = "continue"
"#;

#[test]
fn every_documented_key_is_accepted() {
    let config = load(EVERY_KEY, &[]);
    assert_eq!(config.server.public_base_url.unwrap().as_str(), "https://matrix.example.org");
    assert_eq!(config.listeners[0].resources.len(), Resource::ALL.len());
    assert_eq!(config.federation.server_addresses[ruma::server_name!("hs2")], "127.0.0.2:8448");
    assert_eq!(config.passwords.hash_memory.bytes(), 19 * 1024 * 1024);
    assert_eq!(config.media.max_upload_size.bytes(), 100 * 1024 * 1024);
    assert_eq!(config.registration.shared_secret.unwrap().reveal(), "…");
    assert_eq!(config.jobs.collect_state.to_string(), "every 12h");
    assert_eq!(config.jobs.purge_rooms.to_string(), "daily at 23:59");
    assert_eq!(config.listeners[0].trusted_proxies.len(), 2);
    assert_eq!((config.rate_limits.reports.per_second, config.rate_limits.reports.burst), (1.0, 5));
    let failed_attempts = config.rate_limits.login.failed_attempts;
    assert_eq!((failed_attempts.per_second, failed_attempts.burst), (0.17, 3));
}

#[test]
fn limits_follow_the_cores_where_they_are_not_set() {
    let cores = u32::try_from(thread::available_parallelism().unwrap().get()).unwrap();
    let sizes = Config::default().limits.sizes();
    assert_eq!((sizes.password_hashing.running, sizes.password_hashing.waiting), (cores, 100 * cores));
    let sizes = load("limits.password_hashing = { running = 7 }", &[]).limits.sizes();
    assert_eq!((sizes.password_hashing.running, sizes.password_hashing.waiting), (7, 100 * cores));
    assert_eq!(sizes.password_hashing.longest_wait.as_secs(), 10);
    let shown = load("limits.initial_sync = { longest_wait = '5s' }", &[]).show();
    assert!(shown.contains("[limits.initial_sync]") && shown.contains("longest_wait = \"5s\""), "{shown}");
    assert!(shown.contains("[limits.password_hashing]"), "{shown}");
}

#[test]
fn what_clients_have_this_server_ask_others_leaves_places_for_the_rest() {
    let sizes = Config::default().limits.sizes();
    let caused = [sizes.server_keys, sizes.remote_media, sizes.remote_queries, sizes.remote_rooms];
    assert!(caused.iter().map(|size| size.running).sum::<u32>() < sizes.federation_out.running, "{sizes:?}");
}

#[test]
fn without_any_configuration_the_documented_defaults_hold() {
    let config = config::load(None, [("PATH", "/bin")]).unwrap().config;
    assert_eq!(config, Config::default());
    assert_eq!(config.server.name, "localhost");
    assert_eq!(config.listeners[0].bind.to_string(), "127.0.0.1:8008");
    assert_eq!(config.database_url().reveal(), "sqlite://data/homeserver.db");
    assert_eq!(config.media_path(), Path::new("data/media"));
    assert_eq!(config.signing_key_path(), Path::new("data/signing.key"));
    assert!(!config.registration.enabled);
    assert_eq!(config.rooms.default_version.as_str(), "12");
}

#[test]
fn what_the_server_owns_follows_data_dir() {
    let config = load("server.data_dir = '/srv/matrix'\nmedia.path = 'elsewhere'", &[]);
    assert_eq!(config.database_url().reveal(), "sqlite:///srv/matrix/homeserver.db");
    assert_eq!(config.signing_key_path(), Path::new("/srv/matrix/signing.key"));
    assert_eq!(config.media_path(), Path::new("elsewhere"));
}

#[test]
fn the_pool_follows_the_engine() {
    let cores = u32::try_from(thread::available_parallelism().unwrap().get()).unwrap();
    let pool = Config::default().pool();
    assert_eq!((pool.min_connections, pool.max_connections), (1, 8));
    assert_eq!((pool.connect_timeout.as_secs(), pool.idle_timeout.as_secs()), (30, 600));
    assert_eq!(pool.max_lifetime.as_secs(), 3600);

    let config = load("database.url = 'postgres://db/name'", &[]);
    assert_eq!(config.database_url().engine(), DatabaseEngine::Postgres);
    assert_eq!((config.pool().min_connections, config.pool().max_connections), (cores, 4 * cores));

    let pool = load("database.url = 'postgres://db/name'\ndatabase.max_connections = 1", &[]).pool();
    assert_eq!((pool.min_connections, pool.max_connections), (1, 1));
}

#[test]
fn a_variable_wins_over_the_file_whatever_its_type() {
    let config = load(
        "[server]\nname = 'file.example'\n[registration]\nshared_secret_file = '/does/not/exist'",
        &[
            ("SYNAPSE_RUST__SERVER__NAME", "127.0.0.1"),
            ("SYNAPSE_RUST__SERVER__WORKER_THREADS", "3"),
            ("SYNAPSE_RUST__REGISTRATION__ENABLED", "true"),
            ("SYNAPSE_RUST__REGISTRATION__SHARED_SECRET", "1234"),
            ("SYNAPSE_RUST__ROOMS__DEFAULT_VERSION", "11"),
            ("SYNAPSE_RUST__DATABASE__IDLE_TIMEOUT", "90s"),
            ("SYNAPSE_RUST__NETWORK__TRUSTED_CA", "['a.pem', 'b.pem']"),
            ("SYNAPSE_RUST__FEDERATION__SERVER_ADDRESSES", "{ hs2 = '127.0.0.2:8448' }"),
            ("SYNAPSE_RUST__LISTENERS", "[{ bind = '[::1]:0', resources = ['health'] }]"),
            ("SYNAPSE_RUST_TEST_POSTGRES", "not ours to read"),
        ],
    );
    assert_eq!(config.server.name, "127.0.0.1");
    assert_eq!(config.server.worker_threads, Some(3));
    assert!(config.registration.enabled);
    assert_eq!(config.registration.shared_secret.unwrap().reveal(), "1234");
    assert_eq!(config.rooms.default_version.as_str(), "11");
    assert_eq!(config.database.idle_timeout.duration().as_secs(), 90);
    assert_eq!(config.network.trusted_ca, [Path::new("a.pem"), Path::new("b.pem")]);
    assert_eq!(config.federation.server_addresses.len(), 1);
    assert_eq!(config.listeners[0].bind.to_string(), "[::1]:0");
    assert!(config.listeners[0].resources.contains(&Resource::Health));
}

#[test]
fn database_url_overrides_the_database_url() {
    let variables = [("DATABASE_URL", "postgres://a/a"), ("SYNAPSE_RUST__DATABASE__URL", "postgres://b/b")];
    let config = load("database.url_file = '/does/not/exist'", &variables);
    assert_eq!(config.database_url().reveal(), "postgres://a/a");
}

#[test]
fn a_secret_is_read_from_its_file_without_the_line_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, "from a file\n").unwrap();
    let path = path.display().to_string();
    let config = load(&format!("registration.shared_secret_file = '{path}'"), &[]);
    assert_eq!(config.registration.shared_secret.unwrap().reveal(), "from a file");

    let variables = [("SYNAPSE_RUST__REGISTRATION__SHARED_SECRET_FILE", path.as_str())];
    let config = load("registration.shared_secret = 'from the configuration'", &variables);
    assert_eq!(config.registration.shared_secret.unwrap().reveal(), "from a file");
}

#[test]
fn the_generated_file_holds_every_key_and_parses_back_to_the_defaults() {
    let text = config::generate();
    assert_eq!(load(&text, &[]), Config::default());
    for line in EVERY_KEY.lines().filter(|line| line.contains('=')) {
        let key = line.split(" =").next().unwrap();
        assert!(text.contains(&format!("\n{key} = ")) || text.contains(&format!("\n#{key} = ")), "{key} in {text}");
    }
    let uncommented: Vec<_> =
        text.lines().map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' '))).collect();
    assert!(uncommented.iter().flatten().count() >= 9, "examples of optional keys in {text}");
}

#[test]
fn every_example_in_the_generated_file_is_accepted() {
    let with_examples: String = config::generate()
        .lines()
        .filter(|line| !line.contains("_file = "))
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    let config = load(&with_examples, &[]);
    assert_eq!(config.server.worker_threads.map(|count| count as usize), Some(config.server.worker_thread_count()));
    assert!(config.listeners[0].tls.is_some());
}

#[test]
fn the_generated_file_tells_defaults_from_examples() {
    let text = config::generate();
    let before = |line: &str| {
        let lines: Vec<_> = text.lines().collect();
        let at = lines.iter().position(|found| found.starts_with(line)).unwrap_or_else(|| panic!("{line} in {text}"));
        lines[at - 1]
    };
    for default in
        ["#signing_key_path = \"data/signing.key\"", "#url = \"sqlite://data/homeserver.db\"", "#max_connections = 8"]
    {
        assert_eq!(before(default), "# Here the default is:");
    }
    let shown: toml::Table = Config::default().show().parse().unwrap();
    for (name, limit) in shown["limits"].as_table().unwrap() {
        assert_eq!(before(&format!("#{name} = {limit}")), "# Here the default is:");
    }
    for example in ["#public_base_url = ", "#smtp_host = ", "#shared_secret = "] {
        assert_eq!(before(example), "# Not set by default. An example:");
    }
}

#[test]
fn every_limit_is_shown_with_its_defaults() {
    let shown: toml::Table = load("limits.thumbnails = { running = 3 }", &[]).show().parse().unwrap();
    let schema = config::schema();
    let known = schema["$defs"]["Limits"]["properties"].as_object().unwrap();
    assert!(known.len() >= 11, "{known:?}");
    for name in known.keys() {
        let limit = shown["limits"][name].as_table().unwrap();
        assert_eq!(limit.len(), 3, "{name}: {limit:?}");
    }
    assert_eq!(shown["limits"]["thumbnails"]["running"].as_integer(), Some(3));
}

#[test]
fn what_is_shown_is_effective_and_keeps_secrets() {
    let config = load(
        "registration.shared_secret = 'hunter2'\nemail.password = 'hunter2'\ndatabase.url = 'postgres://me:hunter2@db/name'\nmedia.path = 'm'",
        &[],
    );
    let shown = config.show();
    assert!(!shown.contains("hunter2") && !format!("{config:?}").contains("hunter2"), "{shown}");
    assert!(shown.contains("shared_secret = \"[redacted]\""), "{shown}");
    assert!(shown.contains("url = \"postgres://me:[redacted]@db/name\""), "{shown}");
    assert!(shown.contains("max_connections"), "{shown}");
    assert!(shown.contains("signing_key_path = \"data/signing.key\""), "{shown}");
}

#[test]
fn the_schema_knows_every_section() {
    let schema = config::schema();
    for section in ["server", "listeners", "database", "registration", "telemetry"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn a_reload_tells_what_waits_for_a_restart() {
    let old = load("registration.shared_secret = 'a'\n[server]\nname = 'a'", &[]);
    assert_eq!(old.changes(&old.clone()), Changes::default());

    let new = load(
        "registration = { enabled = true, require_token = true, allow_guests = true, shared_secret = 'b' }
         caches = { memory_budget = '64MiB', time_to_live = '1h' }
         passwords = { enabled = false, hash_memory = '20MiB', hash_iterations = 3, minimum_length = 9, minimum_score = 2 }
         rooms = { default_version = '11', full_state_timeout = '5s' }
         [server]
         name = 'a'
         worker_threads = 2
         max_connections = 7
         public_base_url = 'https://a'
         shutdown_timeout = '3s'
         [database]
         url = 'postgres://b/b'
         [telemetry]
         log_filter = 'debug'",
        &[],
    );
    let changes = old.changes(&new);
    let reloadable = [
        "caches.memory_budget",
        "caches.time_to_live",
        "passwords.enabled",
        "passwords.hash_iterations",
        "passwords.hash_memory",
        "passwords.minimum_length",
        "passwords.minimum_score",
        "registration.allow_guests",
        "registration.enabled",
        "registration.require_token",
        "registration.shared_secret",
        "rooms.default_version",
        "rooms.full_state_timeout",
        "server.max_connections",
        "server.public_base_url",
        "server.shutdown_timeout",
        "telemetry.log_filter",
    ];
    assert_eq!(changes.reloadable, reloadable);
    assert_eq!(changes.need_restart, ["database.url", "server.worker_threads"]);

    let new_limits = load(
        "registration.shared_secret = 'a'\n[server]\nname = 'a'\n[limits]\ninitial_sync = { running = 3 }\n\
         [rate_limits]\njoins = { local = { per_second = 1, burst = 3 } }",
        &[],
    );
    let changes = old.changes(&new_limits);
    let reloadable = ["limits.initial_sync", "rate_limits.joins.local.burst", "rate_limits.joins.local.per_second"];
    assert_eq!((changes.reloadable, changes.need_restart), (reloadable.map(str::to_owned).to_vec(), Vec::new()));
    let mut applied = old.clone();
    applied.apply(&new_limits);
    assert_eq!(applied.changes(&new_limits), Changes::default());

    let mut applied = old.clone();
    applied.apply(&new);
    let changes = applied.changes(&new);
    assert_eq!(changes.reloadable, [""; 0]);
    assert_eq!(changes.need_restart, ["database.url", "server.worker_threads"]);
}
