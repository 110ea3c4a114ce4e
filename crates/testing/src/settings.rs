//! The configuration that test servers run with.

use toml::{Table, toml};

use crate::database::TestDatabase;

/// A server on `database` that listens on a free port of 127.0.0.1 and lets everybody register. What only costs
/// time, the cost of password hashes and the rate limits, is turned down; everything else is as documented.
pub(crate) fn settings_on(database: &TestDatabase) -> Table {
    let mut settings = toml! {
        [server]
        name = "localhost"

        [[listeners]]
        bind = "127.0.0.1:0"
        resources = ["client", "federation", "media", "admin", "health", "metrics"]

        [registration]
        enabled = true

        [passwords]
        hash_memory = "1MiB"
        hash_iterations = 1

        [rate_limits]
        enabled = false
    };
    set(&mut settings, "server", "data_dir", database.folder().display().to_string());
    set(&mut settings, "database", "url", database.url().to_owned());
    settings
}

/// Sets `section.key`.
pub(crate) fn set(settings: &mut Table, section: &str, key: &str, value: impl Into<toml::Value>) {
    let section = settings.entry(section).or_insert_with(|| Table::new().into());
    section.as_table_mut().expect("a section is a table").insert(key.to_owned(), value.into());
}
