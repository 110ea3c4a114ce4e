//! The metrics, and what is made of them: the page for operators, the dashboard, the alerts.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::{Value, json};
use testing::{TestDatabase, on_both_databases};

use crate::{metrics_text, start};

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The metrics of a server that has been used a little.
async fn of_used_server(db: &TestDatabase) -> String {
    let server = start(db, &[]).await;
    let alice = server.register("alice").await;
    let room = alice.create_room(&json!({})).await;
    alice.send_text(&room, "hello").await;
    let since = alice.sync(None, 0).await;
    alice.sync(since["next_batch"].as_str(), 10).await;
    testing::eventually("the disk is looked at", async || {
        let bytes = crate::metric(&server.client(), "data_dir_size_bytes").await;
        bytes.filter(|bytes| *bytes > 0.0)
    })
    .await;
    metrics_text(&server.client()).await
}

/// The names that the server declares.
fn declared(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The names that can be asked for: a histogram is three series.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// The names of metrics in an expression of PromQL.
fn names_in(expression: &str) -> BTreeSet<String> {
    let mut plain = String::new();
    let (mut depth, mut is_quoted) = (0, false);
    for character in expression.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            '{' | '[' if !is_quoted => depth += 1,
            '}' | ']' if !is_quoted => depth -= 1,
            _ if depth == 0 && !is_quoted => plain.push(character),
            _ => {}
        }
    }
    assert!(depth == 0 && !is_quoted, "brackets do not match: {expression}");
    // The labels of an aggregation stand in parentheses after one of these words.
    for word in ["by", "without", "on", "ignoring", "group_left", "group_right"] {
        while let Some(start) = plain.find(&format!(" {word} (")) {
            let end = start + plain[start..].find(')').unwrap();
            plain.replace_range(start..=end, " ");
        }
    }
    let mut names = BTreeSet::new();
    let mut word = String::new();
    plain.push(' ');
    for (at, character) in plain.char_indices() {
        if character.is_ascii_alphanumeric() || character == '_' || character == ':' {
            word.push(character);
            continue;
        }
        let is_name =
            word.starts_with(|first: char| first.is_ascii_lowercase()) && !plain[at..].trim_start().starts_with('(');
        if is_name && !["and", "or", "unless", "bool", "offset"].contains(&word.as_str()) {
            names.insert(word.clone());
        }
        word.clear();
    }
    names
}

fn expressions_of_dashboard(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match dashboard {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| found.extend(expressions_of_dashboard(value)));
        }
        Value::Array(values) => values.iter().for_each(|value| found.extend(expressions_of_dashboard(value))),
        _ => {}
    }
    found
}

fn alerts() -> Vec<Value> {
    let file: Value = serde_yaml_ng::from_str(&read("deploy/prometheus/alerts.yml")).unwrap();
    let groups = file["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Whether the page says that a metric appears with the first of what it counts; there has to be one of that name.
fn appears_later(name: &str) -> bool {
    let page = read("docs/monitoring.md");
    let Some(row) = page.lines().find(|line| line.starts_with(&format!("| `{name}`"))) else { return false };
    let sources = fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../telemetry/src/metrics")).unwrap();
    let mut sources = sources.map(|source| fs::read_to_string(source.unwrap().path()).unwrap());
    row.ends_with("appears with the first |") && sources.any(|source| source.contains(&format!("\"{name}\"")))
}

/// The first cells of the rows of tables in `page` that are names.
fn documented(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name.to_owned());
    cells.filter(|name| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')).collect()
}

on_both_databases! {
    async fn the_page_for_operators_lists_every_metric_and_no_other(db: TestDatabase) {
        let declared = declared(&of_used_server(&db).await);
        let documented = documented(&read("docs/monitoring.md"));
        let missing: Vec<_> = declared.difference(&documented).collect();
        assert!(missing.is_empty(), "docs/monitoring.md does not mention {missing:?}");
        let gone: Vec<_> = documented.difference(&declared).filter(|name| !appears_later(name)).collect();
        assert!(gone.is_empty(), "docs/monitoring.md mentions {gone:?}, which the server does not have");
    }

    async fn everything_that_the_dashboard_and_the_alerts_ask_for_is_there(db: TestDatabase) {
        let series = series(&of_used_server(&db).await);
        let dashboard: Value = serde_json::from_str(&read("deploy/grafana/synapse-rust.json")).unwrap();
        let of_dashboard = expressions_of_dashboard(&dashboard);
        let of_alerts: Vec<_> = alerts().iter().map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect();
        assert!(of_dashboard.len() > 20 && of_alerts.len() > 6, "{} and {}", of_dashboard.len(), of_alerts.len());
        for expression in of_dashboard.iter().chain(&of_alerts) {
            let names = names_in(expression);
            assert!(!names.is_empty(), "no metric in {expression}");
            for name in names {
                let family = name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
                // `up` is Prometheus' own.
                let is_known = name == "up" || series.contains(&name) || appears_later(family);
                assert!(is_known, "{name} of {expression} is not among {series:?}");
            }
        }
    }
}

#[test]
fn every_alert_says_what_to_do() {
    for rule in alerts() {
        let name = rule["alert"].as_str().unwrap();
        let annotations = &rule["annotations"];
        for annotation in ["summary", "description", "runbook"] {
            assert!(annotations[annotation].as_str().is_some_and(|text| text.len() > 20), "{annotation} of {name}");
        }
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
    }
}

#[test]
fn names_are_found_in_expressions() {
    let names = |expression| names_in(expression).into_iter().collect::<Vec<_>>();
    assert_eq!(
        names("sum(rate(a_total{x=\"y{\"}[5m])) by (route) / 2 > 0.5 and b_bytes < 1e6"),
        ["a_total", "b_bytes"]
    );
    assert_eq!(names("histogram_quantile(0.99, sum by (le) (rate(c_bucket[$__rate_interval])))"), ["c_bucket"]);
    assert_eq!(names("up{job=\"x\"} == 0"), ["up"]);
}
