//! An error of the configuration is one line: the file or the variable, the key, and what was expected.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly in the functions around it too")]

use std::{ffi::OsString, fs};

fn error_of(file: Option<&str>, environment: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("homeserver.toml");
    if let Some(text) = file {
        fs::write(&path, text).unwrap();
    }
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let error = config::load(file.map(|_| path.as_path()), environment).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error.replace(&path.display().to_string(), "FILE")
}

/// A file, and the error that it gives.
type Case = (&'static str, &'static str);

const SERVER: &[Case] = &[
    (
        "[server]\nnmae = 'a'",
        "FILE: server.nmae: unknown key `nmae`, expected one of `name`, `public_base_url`, `data_dir`, \
         `worker_threads`, `signing_key_path`, `max_connections`, `shutdown_timeout`; did you mean `name`?",
    ),
    (
        "[server]\nname = 'not a name'",
        "FILE: server.name: invalid value: string \"not a name\", expected a Matrix server name such as \
         \"example.org\" or \"10.0.0.1:8448\"",
    ),
    (
        "server.name = 5",
        "FILE: server.name: invalid type: integer `5`, expected a Matrix server name such as \"example.org\" \
         or \"10.0.0.1:8448\"",
    ),
    (
        "server.worker_threads = 0",
        "FILE: server.worker_threads: invalid value: integer `0`, expected a whole number from 1 to 1024",
    ),
    (
        "server.worker_threads = -4",
        "FILE: server.worker_threads: invalid value: integer `-4`, expected a whole number from 1 to 1024",
    ),
    (
        "server.worker_threads = 'four'",
        "FILE: server.worker_threads: invalid type: string \"four\", expected a whole number from 1 to 1024",
    ),
    (
        "server.public_base_url = 'example.org'",
        "FILE: server.public_base_url: invalid value: string \"example.org\", expected an http or https URL \
         such as \"https://matrix.example.org\"",
    ),
    ("server.data_dir = ''", "FILE: server.data_dir: expected a path that is not empty"),
    ("server = 1", "FILE: server: invalid type: integer `1`, expected a table"),
];

const LISTENERS: &[Case] = &[
    (
        "[[listeners]]\nbind = '127.0.0.1:1'\ntrusted_proxies = ['localhost']",
        "FILE: listeners[0].trusted_proxies[0]: invalid value: string \"localhost\", expected an IP address or a range of \
         them, such as \"127.0.0.1\", \"10.0.0.0/8\" or \"fd00::/8\"",
    ),
    ("listeners = []", "FILE: listeners: expected at least one listener"),
    ("[[listeners]]\nresources = ['client']", "FILE: listeners[0]: missing key `bind`"),
    (
        "[[listeners]]\nbind = 'localhost'",
        "FILE: listeners[0].bind: invalid value: string \"localhost\", expected an IP address and a port such as \
         \"127.0.0.1:8008\" or \"[::]:8008\", \"unix:PATH\", or \"systemd:NAME\"",
    ),
    (
        "[[listeners]]\nbind = 'unix:a'\nmode = '0999'",
        "FILE: listeners[0].mode: invalid value: string \"0999\", expected the mode of a file in octal digits such as \
         \"0660\"",
    ),
    (
        "[[listeners]]\nbind = 'unix:a'\n[[listeners]]\nbind = 'unix:a'",
        "FILE: listeners[1].bind: expected an address that no other listener has, not unix:a again",
    ),
    (
        "[[listeners]]\nbind = '127.0.0.1:1'\n[[listeners]]\nbind = '127.0.0.1:1'",
        "FILE: listeners[1].bind: expected an address that no other listener has, not 127.0.0.1:1 again",
    ),
    (
        "[[listeners]]\nbind = '127.0.0.1:1'\nresources = []",
        "FILE: listeners[0].resources: expected at least one resource",
    ),
    (
        "[[listeners]]\nbind = '127.0.0.1:1'\nresources = ['clients']",
        "FILE: listeners[0].resources[0]: unknown variant `clients`, expected one of `client`, `federation`, \
         `media`, `admin`, `health`, `metrics`; did you mean `client`?",
    ),
    (
        "[[listeners]]\nbind = '127.0.0.1:1'\ntls = { certificate = 'cert.pem' }",
        "FILE: listeners[0].tls: missing key `private_key`",
    ),
];

const DATABASE: &[Case] = &[
    (
        "database.url = 'mysql://me:hunter2@db'",
        "FILE: database.url: invalid value: expected \"sqlite://PATH\" or \"postgres://USER:PASSWORD@HOST/NAME\"",
    ),
    (
        "database.connect_timeout = 30",
        "FILE: database.connect_timeout: invalid type: integer `30`, expected a duration from \"1ms\" to ten \
         years, such as \"30s\", \"10m\" or \"1h\"",
    ),
    (
        "database = { min_connections = 9, max_connections = 8 }",
        "FILE: database.min_connections: expected at most database.max_connections, 8, not 9",
    ),
    ("database.synchronous = 'off'", "FILE: database.synchronous: unknown variant `off`, expected `full` or `normal`"),
];

const REGISTRATION_AND_PASSWORDS: &[Case] = &[
    ("registration.enabled = 'yes'", "FILE: registration.enabled: invalid type: string \"yes\", expected a boolean"),
    (
        "registration.shared_secret = 1234",
        "FILE: registration.shared_secret: invalid value: expected a text that is not empty",
    ),
    (
        "registration = { shared_secret = 'a', shared_secret_file = 'b' }",
        "FILE: registration.shared_secret: expected either shared_secret or shared_secret_file, not both",
    ),
    (
        "registration.shared_secret_file = '/does/not/exist'",
        "FILE: registration.shared_secret_file: cannot read \"/does/not/exist\": No such file or directory \
         (os error 2)",
    ),
    (
        "passwords.hash_memory = '1KiB'",
        "FILE: passwords.hash_memory: invalid value: string \"1KiB\", expected a size from \"8KiB\" to \"1GiB\", \
         such as \"19MiB\"",
    ),
];

const LIMITS: &[Case] = &[
    ("rate_limits.message = { per_second = 1 }", "FILE: rate_limits.message: missing key `burst`"),
    (
        "rate_limits.message = { per_second = 0, burst = 1 }",
        "FILE: rate_limits.message.per_second: invalid value: integer `0`, expected a number from 0.0001 to 1000000",
    ),
    (
        "rate_limits.login.address = { per_second = 1e7, burst = 1 }",
        "FILE: rate_limits.login.address.per_second: invalid value: floating point `10000000.0`, expected a number from \
         0.0001 to 1000000",
    ),
    (
        "rate_limits.joins.local = { per_second = 'often', burst = 1 }",
        "FILE: rate_limits.joins.local.per_second: invalid type: string \"often\", expected a number from 0.0001 to 1000000",
    ),
    (
        "rate_limits.registration = { per_second = 1, burst = 0 }",
        "FILE: rate_limits.registration.burst: invalid value: integer `0`, expected a whole number from 1 to 100000",
    ),
    (
        "limits.password_hashing = { running = 0 }",
        "FILE: limits.password_hashing.running: invalid value: integer `0`, expected a whole number from 1 to 100000",
    ),
    (
        "limits.password_hashing = { runing = 1 }",
        "FILE: limits.password_hashing.runing: unknown key `runing`, expected one of \
         `running`, `waiting`, `longest_wait`; did you mean `running`?",
    ),
];

const EMAIL: &[Case] = &[
    (
        "registration.require_email = true",
        "FILE: registration.require_email: expected email.smtp_host to be set with it",
    ),
    ("email.smtp_host = 'smtp.example.org'", "FILE: email.from: expected a value, which sending e-mail needs"),
    (
        "email = { smtp_host = 'smtp.example.org', from = 'a@b.c' }",
        "FILE: server.public_base_url: expected a value, which sending e-mail needs",
    ),
    (
        "server.public_base_url = 'https://x'\nemail = { smtp_host = 's', from = 'a@b.c', username = 'u' }",
        "FILE: email.password: expected a value, which sending e-mail needs",
    ),
    (
        "server.public_base_url = 'https://x'\nemail = { smtp_host = 's', from = 'a@b.c', app_name = \"a\\r\\nb\" }",
        "FILE: email.app_name: expected one line of text",
    ),
    (
        "server.public_base_url = 'https://x'\n\
         email = { smtp_host = 's', from = 'a@b.c', tls = 'none', username = 'u', password = 'p' }",
        "FILE: email.tls: expected \"start_tls\" or \"implicit\": the password would be sent in clear to another \
         machine",
    ),
];

const JOBS: &[Case] = &[
    (
        "jobs.clean_up = 'daily'",
        "FILE: jobs.clean_up: invalid value: string \"daily\", expected when to do it, such as \"daily at 03:00\" (UTC) or \
         \"every 6h\", at least \"every 1m\"",
    ),
    ("jobs.lease = '9s'", "FILE: jobs.lease: expected at least \"10s\""),
    ("jobs.remove_devices_unseen_for = '23h'", "FILE: jobs.remove_devices_unseen_for: expected at least \"1day\""),
    (
        "jobs.urgent_workers = 0",
        "FILE: jobs.urgent_workers: invalid value: integer `0`, expected a whole number from 1 to 100",
    ),
];

const OTHER_SECTIONS: &[Case] = &[
    ("[appservices]\nx = 1", "FILE: appservices.x: unknown key `x`, expected `registration_files`"),
    (
        "rooms.default_version = '13'",
        "FILE: rooms.default_version: invalid value: string \"13\", expected a room version from \"1\" to \"12\"",
    ),
    (
        "federation.server_addresses = { hs2 = 'http://x' }",
        "FILE: federation.server_addresses.hs2: invalid value: string \"http://x\", expected a Matrix server name \
         such as \"example.org\" or \"10.0.0.1:8448\"",
    ),
    (
        "federation.trusted_key_servers = ['a b']",
        "FILE: federation.trusted_key_servers[0]: invalid value: string \"a b\", expected a Matrix server name \
         such as \"example.org\" or \"10.0.0.1:8448\"",
    ),
    (
        "caches.memory_budget = 512",
        "FILE: caches.memory_budget: invalid type: integer `512`, expected a size from \"1MiB\" to \"1TiB\", such \
         as \"19MiB\"",
    ),
    ("[server\nname = 1", "FILE: line 1: expected TOML: unclosed table, expected `]`"),
    (
        "[sever]",
        "FILE: sever: unknown key `sever`, expected one of `server`, `listeners`, `database`, `registration`, \
         `passwords`, `rooms`, `presence`, `network`, `federation`, `rate_limits`, `limits`, `caches`, `media`, `appservices`, \
         `email`, `turn`, `support`, `jobs`, `telemetry`; did you mean `server`?",
    ),
];

#[test]
fn an_error_in_the_file_names_file_key_and_expectation() {
    let sections = [SERVER, LISTENERS, DATABASE, REGISTRATION_AND_PASSWORDS, LIMITS, EMAIL, JOBS, OTHER_SECTIONS];
    for (file, expected) in sections.into_iter().flatten() {
        assert_eq!(error_of(Some(file), &[]), *expected, "of {file}");
    }
}

#[test]
fn an_error_in_the_environment_names_the_variable() {
    for (name, value, expected) in [
        (
            "SYNAPSE_RUST__RATE_LIMITS__MESSAGE",
            "{ per_second = 1, burst = -1 }",
            "SYNAPSE_RUST__RATE_LIMITS__MESSAGE: rate_limits.message.burst: invalid value: integer `-1`, expected a whole \
             number from 1 to 100000",
        ),
        (
            "SYNAPSE_RUST__SERVER__WORKER_THREADS",
            "many",
            "SYNAPSE_RUST__SERVER__WORKER_THREADS: server.worker_threads: invalid type: string \"many\", expected a \
             whole number from 1 to 1024",
        ),
        (
            "SYNAPSE_RUST__SERVER__WORKER_THREADS",
            "5000",
            "SYNAPSE_RUST__SERVER__WORKER_THREADS: server.worker_threads: invalid value: integer `5000`, expected a \
             whole number from 1 to 1024",
        ),
        (
            "SYNAPSE_RUST__LISTENERS",
            "[{ bind = 8008 }]",
            "SYNAPSE_RUST__LISTENERS: listeners[0].bind: invalid type: integer `8008`, expected an IP address and a \
             port such as \"127.0.0.1:8008\" or \"[::]:8008\", \"unix:PATH\", or \"systemd:NAME\"",
        ),
        (
            "SYNAPSE_RUST__LISTENERS",
            "[{ bind = '127.0.0.1:1', resources = [] }]",
            "SYNAPSE_RUST__LISTENERS: listeners[0].resources: expected at least one resource",
        ),
        (
            "SYNAPSE_RUST__REGISTRATION__SHARED_SECRET_FILE",
            "/does/not/exist",
            "SYNAPSE_RUST__REGISTRATION__SHARED_SECRET_FILE: registration.shared_secret_file: cannot read \
             \"/does/not/exist\": No such file or directory (os error 2)",
        ),
        ("SYNAPSE_RUST__", "x", "SYNAPSE_RUST__: expected a name of the form SYNAPSE_RUST__SECTION__KEY"),
        (
            "DATABASE_URL",
            "mysql://me:hunter2@db",
            "DATABASE_URL: database.url: invalid value: expected \"sqlite://PATH\" or \
             \"postgres://USER:PASSWORD@HOST/NAME\"",
        ),
    ] {
        assert_eq!(error_of(None, &[(name, value)]), expected);
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let error = config::load(Some("/does/not/exist.toml".as_ref()), [("", ""); 0]).unwrap_err();
    let expected = "/does/not/exist.toml: cannot be read: No such file or directory (os error 2)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_fault_found_later_still_names_the_source_of_the_value() {
    let variable = ("SYNAPSE_RUST__TELEMETRY__LOG_FILTER", "loud");
    let sources = config::load(None, [variable]).unwrap().sources;
    let error = sources.error("telemetry.log_filter", "expected a filter");
    assert_eq!(error.to_string(), "SYNAPSE_RUST__TELEMETRY__LOG_FILTER: telemetry.log_filter: expected a filter");
    let error = sources.error("server.data_dir", "cannot be made");
    assert_eq!(error.to_string(), "default configuration: server.data_dir: cannot be made");
}
