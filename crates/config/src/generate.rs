use std::fmt::Write as _;

use serde_json::Value as Schema;
use toml::{Table, Value};

use crate::{Config, schema};

const LINE_WIDTH: usize = 110;

/// A configuration file with every key: its documentation, and its default. A default that follows from other values or from this
/// machine is commented out, so that it still follows them; a key without a default has an example, which says so.
pub fn generate() -> String {
    let schema = schema::inlined();
    // Serialising the defaults of our own types into a table has no way to fail; an empty one would fail the tests.
    let defaults = Table::try_from(Config::default()).unwrap_or_default();
    let effective = Table::try_from(Config::default().effective()).unwrap_or_default();
    let nothing = Table::new();
    let mut text = comment(description(&schema));
    for (name, value) in &defaults {
        let section = child(&schema, name);
        text.push('\n');
        match value {
            Value::Array(entries) => {
                text.push_str(&comment(description(section)));
                for entry in entries.iter().filter_map(Value::as_table) {
                    let schema = section.get("items").unwrap_or(section);
                    section_text(&mut text, &format!("[[{name}]]"), (entry, &nothing), schema);
                }
            }
            Value::Table(entry) => {
                text.push_str(&comment(description(section)));
                let effective = effective.get(name).and_then(Value::as_table).unwrap_or(&nothing);
                section_text(&mut text, &format!("[{name}]"), (entry, effective), section);
            }
            _ => {}
        }
    }
    text
}

fn section_text(text: &mut String, header: &str, (defaults, effective): (&Table, &Table), schema: &Schema) {
    push_line(text, header);
    for (key, value) in defaults {
        text.push_str(&comment(description(child(schema, key))));
        push_line(text, &format!("{key} = {value}"));
    }
    let properties = schema.get("properties").and_then(Schema::as_object).into_iter().flatten();
    for (key, property) in properties.filter(|(key, _)| !defaults.contains_key(*key)) {
        let example = || property.get("examples")?.get(0).cloned().map(Value::try_from)?.ok();
        let (value, kind) = match effective.get(key) {
            Some(default) => (default.clone(), "Here the default is:"),
            None => match example() {
                Some(example) => (example, "Not set by default. An example:"),
                None => continue,
            },
        };
        text.push_str(&comment(description(property)));
        text.push_str(&comment(kind));
        push_line(text, &format!("#{key} = {value}"));
    }
}

fn child<'a>(schema: &'a Schema, key: &str) -> &'a Schema {
    schema.get("properties").and_then(|properties| properties.get(key)).unwrap_or(&Schema::Null)
}

fn description(schema: &Schema) -> &str {
    schema.get("description").and_then(Schema::as_str).unwrap_or_default()
}

/// The text as comment lines of bounded width.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > LINE_WIDTH {
            push_line(&mut lines, &line);
            line.clear();
        }
        line.push_str(if line.is_empty() { "# " } else { " " });
        line.push_str(word);
    }
    if !line.is_empty() {
        push_line(&mut lines, &line);
    }
    lines
}

fn push_line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
