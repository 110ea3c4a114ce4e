//! The process's log output: which lines are written, and where they go.

mod fields;
mod layer;
mod line;

use std::{io, sync::Arc};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::{FilterExt as _, filter_fn},
    layer::{Layer, SubscriberExt as _},
    reload,
};

use self::{layer::LogLayer, line::Format};
use crate::trace::{REQUEST_TARGET, TraceOptions, Traces};

/// Why logs or traces cannot be as asked for.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The text is no filter.
    #[error("expected a log filter such as \"info\" or \"info,storage=debug\", not \"{filter}\": {reason}")]
    Filter {
        /// The text.
        filter: String,
        /// What the parser says.
        reason: String,
    },
    /// Something else in the process took the place of the subscriber.
    #[error("logs cannot be installed: {0}")]
    Installed(String),
    /// The address that traces are to be sent to is of no use.
    #[error("traces cannot be sent to {endpoint}: {reason}")]
    Endpoint {
        /// The address.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a process tells about itself, and to whom.
#[derive(Debug, Clone)]
pub struct LogOptions<'a> {
    /// One JSON object a line, rather than text for people.
    pub json: bool,
    /// The least important level that is logged, also per module.
    pub filter: &'a str,
    /// Where traces are sent; `None`: nowhere.
    pub traces: Option<TraceOptions>,
}

/// The process's log output, to change its filter later.
#[derive(Clone)]
pub struct Logs {
    filter: Arc<reload::Handle<EnvFilter, Registry>>,
}

impl Logs {
    /// Replaces the filter from now on.
    ///
    /// # Errors
    ///
    /// When the text is no filter; the old one stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogsError> {
        let parsed = parse(filter)?;
        self.filter.reload(parsed).map_err(|error| LogsError::Installed(error.to_string()))
    }
}

/// Writes the process's logs to standard error, and sends its traces. Only a binary calls this, once, in the runtime that
/// traces are to be sent from.
///
/// # Errors
///
/// When the filter does not parse, the endpoint is of no use, or logs were installed before.
pub fn install_logs(options: LogOptions<'_>) -> Result<(Logs, Option<Traces>), LogsError> {
    let (subscriber, logs, traces) = subscriber(options)?;
    // Records of the `log` crate are left out. The check whether one is wanted leaves its answer behind in the thread; the next line
    // or span would use that answer and be lost. The statements of sqlx check that way.
    tracing::subscriber::set_global_default(subscriber).map_err(|error| LogsError::Installed(error.to_string()))?;
    Ok((logs, traces))
}

/// What [`install_logs`] installs for the whole process.
///
/// # Errors
///
/// When the filter does not parse, or the endpoint is of no use.
pub fn subscriber(
    options: LogOptions<'_>,
) -> Result<(impl Subscriber + Send + Sync + use<>, Logs, Option<Traces>), LogsError> {
    let (filter, handle) = reload::Layer::new(parse(options.filter)?);
    let filter = filter.or(filter_fn(is_request).with_max_level_hint(Level::ERROR));
    let format = if options.json { Format::Json } else { Format::Text };
    let traces = options.traces.map(Traces::new).transpose()?;
    let subscriber = tracing_subscriber::registry()
        .with(LogLayer::new(format, io::stderr).with_filter(filter))
        .with(traces.as_ref().map(Traces::layer));
    Ok((subscriber, Logs { filter: Arc::new(handle) }, traces))
}

/// Spans of requests are there whatever the filter is: the lines that it lets through name their request.
fn is_request(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == REQUEST_TARGET
}

/// Says whether a text is a log filter, without using it.
///
/// # Errors
///
/// When it is none.
pub fn check_filter(filter: &str) -> Result<(), LogsError> {
    parse(filter).map(drop)
}

fn parse(filter: &str) -> Result<EnvFilter, LogsError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| LogsError::Filter { filter: filter.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests;
