use std::{error::Error, fmt};

use serde_json::{Number, Value};
use tracing::field::{Field, Visit};

/// The fields of a span or an event, as they were recorded: they are only written out when a line is.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) message: Option<String>,
    pub(super) named: Vec<(&'static str, Value)>,
}

impl Fields {
    /// The value of a field, if it is a string.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(other, _)| *other == name)?.1.as_str()
    }

    fn set(&mut self, field: &Field, value: Value) {
        let name = field.name();
        if name == "message" {
            self.message = Some(match value {
                Value::String(text) => text,
                other => other.to_string(),
            });
            return;
        }
        match self.named.iter_mut().find(|(other, _)| *other == name) {
            Some((_, recorded)) => *recorded = value,
            None => self.named.push((name, value)),
        }
    }
}

/// Fields of this name are instructions to the exporter of traces.
fn is_wanted(field: &Field) -> bool {
    !field.name().starts_with("otel.")
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if is_wanted(field) {
            self.set(field, Value::String(format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if is_wanted(field) {
            self.set(field, Value::String(value.to_owned()));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set(field, Value::String(crate::cause_chain(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Number::from_f64(value).map_or(Value::Null, Value::Number));
    }
}
