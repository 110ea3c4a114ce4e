//! The plans of this crate's statements: none goes through a table that grows.
//!
//! The statements are read from the source, so that a new one is looked at without anybody thinking of it. SQLite says what it would
//! do with each. It has no statistics, as on most servers.

mod literals;
mod postgres;

use std::collections::BTreeSet;

use rusqlite::{Connection, StatementStatus};
use testing::TestDatabase;

use crate::{Database, DatabaseOptions, Engine};

/// Where statements are: the domains', and the engines' own.
const SOURCES: [&str; 2] =
    [concat!(env!("CARGO_MANIFEST_DIR"), "/src"), concat!(env!("CARGO_MANIFEST_DIR"), "/../database/src")];

/// Tables that have few rows, whatever users do.
const SMALL: [(&str, &str); 12] = [
    ("log_head", "one row"),
    ("outbox_head", "one row"),
    ("destinations", "servers that are behind; all are read once, at the start"),
    ("overlooked_servers", "servers that have missed something, until the outbox has taken notice"),
    ("leases", "one row for each node, and for each thing that one of them does"),
    ("job_schedules", "one row for each thing that is done regularly"),
    ("room_purges", "rooms that are being removed right now"),
    ("media_files_to_remove", "files that are being removed right now"),
    ("signing_keys", "one row for each key that the server has had"),
    ("server_statistics", "one row a day, and old ones are removed"),
    ("registration_tokens", "administrators make them, and those that are spent are removed"),
    ("rate_limit_overrides", "administrators make them by hand"),
];

/// Indexes whose entries go away once they are dealt with.
const TRANSIENT: [(&str, &str); 3] = [
    ("room_heads_partial", "rooms that are being joined"),
    ("room_heads_without_state", "rooms of an old version's database, worked out at the start"),
    ("jobs_counted", "jobs that wait, run, or were given up; what is given up is removed in time"),
];

/// Statements that may, by how they begin.
const EXCEPTIONS: [(&str, &str); 16] = [
    ("SELECT s.server_name, f.failures", "ends at its limit, in order, when an administrator asks"),
    ("SELECT COUNT(*) FROM servers s", "counts when an administrator asks"),
    ("SELECT 1 FROM accounts WHERE NOT is_guest LIMIT 1", "ends at the first account that is no guest's"),
    ("SELECT 1 FROM events LIMIT 1", "ends at the first row"),
    ("SELECT u.user_id FROM accounts a JOIN users u ON u.user_sn = a.user_sn ORDER BY a.user_sn LIMIT 1", "the same"),
    ("SELECT t.event_sn, COALESCE(e.origin_server_ts, 0) FROM client_transactions t", "ends at its limit, in order"),
    ("SELECT COUNT(*) FROM (SELECT room_sn FROM room_heads WHERE is_published LIMIT $1)", "ends at its limit"),
    (
        "DELETE FROM threepid_validation_sessions WHERE session_id IN (SELECT session_id",
        "has few rows: this keeps it so",
    ),
    ("DELETE FROM threepid_validation_tokens WHERE NOT EXISTS", "has a few rows for each of those"),
    ("SELECT COUNT(*) FROM uia_sessions", "has few rows: the next statement keeps it so"),
    ("SELECT position, written_at FROM log_entries ORDER BY position LIMIT", "ends at its limit, in order"),
    (
        "SELECT DISTINCT user_sn, node FROM presence_on_nodes WHERE seen_at",
        "looks through those who are there, every few minutes",
    ),
    ("DELETE FROM uia_sessions WHERE session_id IN (SELECT session_id", "has few rows: this keeps it so"),
    ("SELECT COUNT(*) FROM accounts WHERE", "counts for the statistics, once a day"),
    ("SELECT COUNT(*) FROM room_heads", "counts for the statistics, once a day"),
    ("SELECT COUNT(DISTINCT d.user_sn) FROM devices d", "counts for the statistics, once a day"),
];

#[tokio::test]
async fn no_statement_goes_through_a_table_that_grows() {
    let (_db, connection) = newest_schema().await;
    let tables = tables(&connection);
    let mut unused: BTreeSet<&str> = EXCEPTIONS.iter().map(|(beginning, _)| *beginning).collect();
    let mut wrong = Vec::new();
    let statements = literals::statements(&SOURCES);
    assert!(statements.len() > 250, "only {} statements were found", statements.len());
    for sql in statements {
        if is_other(&sql) {
            continue;
        }
        let found = scans(&connection, &translated(&sql), &tables);
        match EXCEPTIONS.iter().find(|(beginning, _)| sql.starts_with(beginning)) {
            Some((beginning, _)) if !found.is_empty() => drop(unused.remove(beginning)),
            _ => wrong.extend(found.into_iter().map(|step| format!("{step}\n    {sql}"))),
        }
    }
    assert!(wrong.is_empty(), "{} scans; an index is missing:\n{}", wrong.len(), wrong.join("\n"));
    assert!(unused.is_empty(), "these are no exceptions any more: {unused:?}");
}

#[tokio::test]
async fn a_scan_is_told_from_a_search_whatever_the_table_is_called() {
    let (_db, connection) = newest_schema().await;
    let tables = tables(&connection);
    for (sql, is_scan) in [
        ("SELECT e.event_id FROM events AS e WHERE e.depth = 1", true),
        ("SELECT m.user_sn FROM rooms r JOIN memberships m ON m.room_sn = r.room_sn WHERE m.event_sn = 1", true),
        ("SELECT room_sn FROM room_heads WHERE NOT is_published LIMIT 1", true),
        ("SELECT e.event_id FROM events e WHERE e.event_sn > 1", false),
        ("WITH e AS (SELECT event_id FROM events WHERE event_sn = 1) SELECT event_id FROM e", false),
        ("SELECT position FROM log_head", false),
    ] {
        assert_eq!(!scans(&connection, sql, &tables).is_empty(), is_scan, "{sql}");
    }
}

#[tokio::test]
async fn members_with_an_account_are_found_among_any_number_of_others() {
    let (_db, connection) = newest_schema().await;
    let head = "INSERT INTO room_heads VALUES (1, '12', 1, 1, 1, '1', 0, 1, 0, NULL, 0, FALSE)";
    connection.execute_batch(&format!("INSERT INTO accounts (user_sn, created_at) VALUES (1, 0); {head}")).unwrap();
    let statements = literals::statements(&SOURCES).into_iter().filter(|sql| sql.contains("is_local = TRUE"));
    let reads: Vec<String> = statements.filter(|sql| sql.starts_with("SELECT")).collect();
    assert!(reads.len() >= 5, "{reads:?}");

    let mut work = Vec::new();
    for (first, last) in [(1, 10), (11, 5_000)] {
        let members = "INSERT INTO memberships (room_sn, user_sn, membership, event_sn, is_local) \
                       WITH RECURSIVE n (n) AS (VALUES (?1) UNION ALL SELECT n + 1 FROM n WHERE n < ?2) \
                       SELECT 1, n, 1, n, n = 1 FROM n";
        connection.execute(members, [first, last]).unwrap();
        work.push(reads.iter().map(|sql| steps(&connection, &translated(sql))).collect::<Vec<_>>());
    }
    for ((sql, few), many) in reads.iter().zip(&work[0]).zip(&work[1]) {
        assert!(*many <= few + 50, "{few} steps among ten members, {many} among thousands: {sql}");
    }
}

/// A database with the newest schema, and a connection to it.
async fn newest_schema() -> (TestDatabase, Connection) {
    let db = TestDatabase::sqlite();
    Database::open(&DatabaseOptions::new(db.url())).await.unwrap().close().await;
    let connection = Connection::open(db.folder().join("homeserver.db")).unwrap();
    (db, connection)
}

/// The statement in SQLite's form.
fn translated(sql: &str) -> String {
    let is_on_rows = sql.contains("ROWS(");
    if is_on_rows {
        Engine::Sqlite.statement_on_rows(sql, &["bigint"; 16])
    } else {
        Engine::Sqlite.statement(sql).into_owned()
    }
}

/// What SQLite has no functions for, and what is about the schema itself.
fn is_other(sql: &str) -> bool {
    ["UNNEST(", "pg_", "schema_versions"].iter().any(|part| sql.contains(part))
}

fn tables(connection: &Connection) -> Vec<String> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.map(Result::unwrap).collect()
}

/// The steps of a statement's plan that go through a large table, or make an index of one.
fn scans(connection: &Connection, sql: &str, tables: &[String]) -> Vec<String> {
    let mut explained = match connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")) {
        Ok(explained) => explained,
        Err(error) => return vec![error.to_string()],
    };
    // A plan needs no values for the parameters.
    let mut rows = explained.raw_query();
    let mut steps: Vec<String> = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get(3).unwrap());
    }
    let is_scan = |step: &String| {
        let scanned = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
        let is_transient = TRANSIENT.iter().any(|(index, _)| step.ends_with(&format!("INDEX {index}")));
        let is_large =
            |name| table_called(name, sql, tables).is_some_and(|it| SMALL.iter().all(|(small, _)| *small != it));
        step.contains("AUTOMATIC") || (!is_transient && scanned.is_some_and(is_large))
    };
    steps.retain(is_scan);
    steps
}

/// The table that a statement calls `name`; none if that is a part of the statement.
fn table_called<'a>(name: &str, sql: &str, tables: &'a [String]) -> Option<&'a str> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words: Vec<&str> = sql.split(|character| !is_name(character)).filter(|word| !word.is_empty()).collect();
    let names = words.iter().enumerate().filter_map(|(at, word)| {
        let table = tables.iter().find(|table| table == word)?;
        let alias = words.get(at + 1..)?.iter().find(|word| **word != "AS");
        (*word == name || alias.is_some_and(|alias| *alias == name)).then_some(table.as_str())
    });
    names.into_iter().next()
}

/// How much SQLite does to run a statement in which every parameter is 1, or a list of it.
fn steps(connection: &Connection, sql: &str) -> i32 {
    let mut statement = connection.prepare(sql).unwrap();
    for parameter in 1..=statement.parameter_count() {
        let is_list = sql.contains(&format!("json_each(?{parameter})"));
        if is_list {
            statement.raw_bind_parameter(parameter, "[1]")
        } else {
            statement.raw_bind_parameter(parameter, 1)
        }
        .unwrap();
    }
    let mut rows = statement.raw_query();
    while rows.next().unwrap().is_some() {}
    drop(rows);
    statement.get_status(StatementStatus::VmStep)
}
