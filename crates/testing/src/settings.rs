//! The configuration that test servers run with.

use std::fs;
use std::path::PathBuf;

use toml::{Table, Value, toml};

use crate::database::TestDatabase;

/// A setting as its section, its key, and its value. Of the section `listeners` it changes the one listener that there is, and with the
/// key `further` it adds another one.
pub type Setting<'a> = (&'a str, &'a str, Value);

/// Writes the configuration of a server on `database`, with `further` settings over the usual ones, and returns its file.
///
/// The server listens on a free port of 127.0.0.1 and lets everybody register. What only costs time, the cost of password
/// hashes and the rate limits, is turned down. Presence is off: it would wake requests that wait for something else. Everything else
/// is as documented.
pub(crate) fn write(database: &TestDatabase, further: &[Setting<'_>]) -> PathBuf {
    write_as("test", database, further)
}

/// The same, in a file of this name: several servers on one database have one each.
pub(crate) fn write_as(name: &str, database: &TestDatabase, further: &[Setting<'_>]) -> PathBuf {
    let mut settings = toml! {
        [[listeners]]
        bind = "127.0.0.1:0"

        [registration]
        enabled = true

        [passwords]
        hash_memory = "1MiB"
        hash_iterations = 1

        [rate_limits]
        enabled = false

        [presence]
        enabled = false
    };
    set(&mut settings, "server", "data_dir", database.folder().display().to_string().into());
    set(&mut settings, "database", "url", database.url().to_owned().into());
    for (section, key, value) in further {
        set(&mut settings, section, key, value.clone());
    }
    let file = database.folder().join(format!("{name}.toml"));
    fs::write(&file, settings.to_string()).expect("the configuration can be written");
    file
}

fn set(settings: &mut Table, section: &str, key: &str, value: Value) {
    let section = settings.entry(section).or_insert_with(|| Table::new().into());
    let section = match section {
        Value::Array(entries) if key == "further" => return entries.push(value),
        Value::Array(entries) => entries.first_mut(),
        section => Some(section),
    };
    let table = section.and_then(Value::as_table_mut).expect("a section is a table");
    table.insert(key.to_owned(), value);
}
