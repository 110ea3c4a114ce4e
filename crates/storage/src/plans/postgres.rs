//! The plans that PostgreSQL makes for the statements: one for all parameters.

use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, PgPool, Row as _};
use testing::TestDatabase;

use super::{EXCEPTIONS, SMALL, SOURCES, TRANSIENT, literals};
use crate::{Database, DatabaseOptions, Engine};

/// Further indexes whose entries go away once they are dealt with, beside those that SQLite goes through.
const MORE_TRANSIENT: [(&str, &str); 2] =
    [("jobs_running", "jobs that run"), ("jobs_waiting_by_key", "jobs that wait")];

/// Statements with batches, whose types only those know who write them, and what only SQLite is asked.
const OTHERS: [&str; 3] = ["ROWS(", "INSERT INTO", "(SELECT $3 AS room_sn"];

#[tokio::test]
async fn no_plan_for_all_parameters_goes_through_a_table_that_grows() {
    let (_db, pool) = newest_schema().await;
    let mut connection = pool.acquire().await.unwrap();
    let mut wrong = Vec::new();
    let statements = literals::statements(&SOURCES);
    let is_other = |sql: &str| OTHERS.iter().any(|part| sql.contains(part));
    for sql in statements.into_iter().filter(|sql| !is_other(sql)) {
        let translated = typed(&Engine::Postgres.statement(&sql));
        let plan = match plan(&mut connection, &translated).await {
            Ok(plan) => plan,
            Err(error) => {
                wrong.push(format!("{error}\n    {translated}"));
                continue;
            }
        };
        let mut found = Vec::new();
        look_through(&plan, &mut found);
        if !found.is_empty() && !EXCEPTIONS.iter().any(|(beginning, _)| sql.starts_with(beginning)) {
            wrong.push(format!("{}\n    {sql}", found.join("; ")));
        }
    }
    assert!(wrong.is_empty(), "{} scans:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_a_device_sent_is_found_by_its_events_and_not_among_all_that_it_ever_sent() {
    let (_db, pool) = newest_schema().await;
    let mut connection = pool.acquire().await.unwrap();
    let statements = literals::statements(&SOURCES).into_iter();
    let reads =
        statements.filter(|sql| sql.starts_with("SELECT ") && sql.contains("transaction_id FROM client_transactions"));
    let reads: Vec<String> =
        reads.filter(|sql| sql.contains("event_sn IN LIST") || sql.contains("t.event_sn =")).collect();
    assert!(reads.len() >= 3, "{reads:?}");
    for sql in reads {
        let plan = plan(&mut connection, &Engine::Postgres.statement(&sql)).await.unwrap().to_string();
        assert!(plan.contains("client_transactions_by_event") && !plan.contains("client_transactions_pkey"), "{plan}");
    }
}

/// A database with the newest schema, and connections to it as the server has them.
async fn newest_schema() -> (TestDatabase, PgPool) {
    let db = TestDatabase::postgres().await;
    let options = DatabaseOptions::new(db.url());
    Database::open(&options).await.unwrap().close().await;
    let pool = database::connect_postgres(&options).await.unwrap();
    (db, pool)
}

/// The statement with the types of the lists in `UNNEST`, which come with the parameters otherwise.
fn typed(sql: &str) -> String {
    let mut parts = sql.split("UNNEST(");
    let mut typed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (lists, rest) = part.split_once(')').unwrap();
        let lists: Vec<_> = lists.split(", ").map(|list| format!("{list}::bigint[]")).collect();
        typed.push_str(&format!("UNNEST({}){rest}", lists.join(", ")));
    }
    typed
}

async fn plan(connection: &mut PgConnection, sql: &str) -> Result<Json, sqlx::Error> {
    connection.execute(AssertSqlSafe(format!("PREPARE asked AS {sql}"))).await?;
    let count = "SELECT CARDINALITY(parameter_types) FROM pg_prepared_statements WHERE name = 'asked'";
    let count: i32 = connection.fetch_one(count).await?.get(0);
    let parameters = vec!["NULL"; usize::try_from(count).unwrap()].join(", ");
    let parameters = if count == 0 { String::new() } else { format!("({parameters})") };
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE asked{parameters}");
    let row = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(explain))).await;
    connection.execute("DEALLOCATE asked").await?;
    let plan: String = row?.try_get_unchecked(0)?;
    Ok(serde_json::from_str(&plan).unwrap())
}

/// The steps that go through a whole table, or for each of many rows through all of many others.
fn look_through(step: &Json, found: &mut Vec<String>) {
    match step {
        Json::Array(steps) => steps.iter().for_each(|step| look_through(step, found)),
        Json::Object(members) => {
            let kind = members.get("Node Type").and_then(Json::as_str).unwrap_or_default();
            let table = members.get("Relation Name").and_then(Json::as_str).unwrap_or_default();
            let is_large = SMALL.iter().all(|(small, _)| *small != table);
            let index = members.get("Index Name").and_then(Json::as_str).unwrap_or_default();
            let is_transient = TRANSIENT.iter().chain(&MORE_TRANSIENT).any(|(transient, _)| *transient == index);
            let is_scan = kind == "Seq Scan" || (kind.starts_with("Index") && !members.contains_key("Index Cond"));
            if is_scan && is_large && !is_transient {
                found.push(format!("{kind} of {table} by {index}"));
            }
            let inner = members.get("Plans").and_then(|steps| steps.get(1)).and_then(|step| step["Node Type"].as_str());
            if kind == "Nested Loop" && matches!(inner, Some("Function Scan" | "CTE Scan")) {
                found.push(format!("{kind}, each time through all of a {}", inner.unwrap_or_default()));
            }
            if matches!(kind, "Hash Join" | "Merge Join") {
                found.push(kind.to_owned());
            }
            members.values().for_each(|step| look_through(step, found));
        }
        _ => {}
    }
}
