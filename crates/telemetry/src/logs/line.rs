//! One line of the log, in either form.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;
use tracing::Level;
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime as _, SystemTime},
};

use super::fields::Fields;

/// The form of log lines.
#[derive(Debug, Clone, Copy)]
pub(super) enum Format {
    Text,
    Json,
}

/// What a line says.
pub(super) struct Line<'a> {
    pub(super) level: Level,
    pub(super) target: &'a str,
    pub(super) event: &'a Fields,
    /// From the outermost to the innermost.
    pub(super) spans: &'a [(&'static str, &'a Fields)],
}

impl Line<'_> {
    /// The line with its end.
    pub(super) fn written(&self, format: Format) -> String {
        let mut line = match format {
            // Writing to a String fails only if a value's own `Debug` does.
            Format::Text => self.text().unwrap_or_else(|_| self.event.message.clone().unwrap_or_default()),
            Format::Json => serde_json::to_string(self).unwrap_or_default(),
        };
        line.push('\n');
        line
    }

    fn text(&self) -> Result<String, fmt::Error> {
        let mut line = now();
        write!(line, " {:>5} ", self.level)?;
        for (name, fields) in self.spans {
            line.push_str(name);
            if !fields.named.is_empty() {
                line.push('{');
                write_fields(&mut line, &fields.named)?;
                line.push('}');
            }
            line.push_str(": ");
        }
        write!(line, "{}:", self.target)?;
        if let Some(message) = &self.event.message {
            line.push(' ');
            write_escaped(&mut line, message)?;
        }
        if !self.event.named.is_empty() {
            line.push(' ');
            write_fields(&mut line, &self.event.named)?;
        }
        Ok(line)
    }

    /// The value that the spans around the event have for a field.
    fn of_spans(&self, name: &str) -> Option<&str> {
        self.spans.iter().find_map(|(_, fields)| fields.text(name))
    }
}

fn now() -> String {
    let mut time = String::with_capacity(256);
    // Writing to a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}

fn write_fields(line: &mut String, fields: &[(&'static str, Value)]) -> fmt::Result {
    for (index, (name, value)) in fields.iter().enumerate() {
        let separator = if index == 0 { "" } else { " " };
        write!(line, "{separator}{name}=")?;
        match value {
            Value::String(text) if text.is_empty() || text.contains([' ', '"', '{', '}']) => write!(line, "{text:?}")?,
            Value::String(text) => write_escaped(line, text)?,
            other => write!(line, "{other}")?,
        }
    }
    Ok(())
}

/// Escapes control characters, so that no name that a user chose can forge a log line or control a terminal.
fn write_escaped(line: &mut String, text: &str) -> fmt::Result {
    for character in text.chars() {
        if character.is_control() {
            write!(line, "{}", character.escape_default())?;
        } else {
            line.push(character);
        }
    }
    Ok(())
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &now())?;
        map.serialize_entry("level", self.level.as_str())?;
        map.serialize_entry("target", self.target)?;
        map.serialize_entry("message", self.event.message.as_deref().unwrap_or_default())?;
        for name in ["request_id", "trace_id"] {
            if let Some(value) = self.of_spans(name) {
                map.serialize_entry(name, value)?;
            }
        }
        map.serialize_entry("fields", &Object(&self.event.named))?;
        let spans: Vec<_> =
            self.spans.iter().map(|(name, fields)| NamedSpan { name, fields: Object(&fields.named) }).collect();
        map.serialize_entry("spans", &spans)?;
        map.end()
    }
}

#[derive(Serialize)]
struct NamedSpan<'a> {
    name: &'a str,
    fields: Object<'a>,
}

/// Fields as a JSON object.
struct Object<'a>(&'a [(&'static str, Value)]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
