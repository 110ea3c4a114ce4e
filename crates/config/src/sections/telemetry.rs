use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{Share, WebUrl};

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
    /// The share of requests whose traces are sent, from 0 to 1.
    pub otlp_sampling: Share,
    /// What becomes of the trace that a client says its request belongs to (`traceparent`): `ignore`, `link` to it from a
    /// trace of its own, or `continue` it. Whether a trace is sent is never the client's decision.
    pub client_traces: ClientTraces,
}

/// What becomes of the traces of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientTraces {
    /// They are not looked at.
    Ignore,
    /// A request has a trace of its own, which refers to the client's.
    Link,
    /// A request is a part of the client's trace.
    Continue,
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
        Self {
            log_format: LogFormat::Text,
            log_filter: "info".to_owned(),
            otlp_endpoint: None,
            otlp_sampling: Share::ALL,
            client_traces: ClientTraces::Link,
        }
    }
}
