use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::WebUrl;

/// Logs and traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// `text` for people, `json` for machines.
    pub log_format: LogFormat,
    /// The least important level that is logged, also per module: `info,storage=debug`.
    pub log_filter: String,
    /// Where traces are sent; off when absent.
    #[schemars(example = "http://127.0.0.1:4317")]
    pub otlp_endpoint: Option<WebUrl>,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log_format: LogFormat::Text, log_filter: "info".to_owned(), otlp_endpoint: None }
    }
}
