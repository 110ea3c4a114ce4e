use std::{io, sync::Arc};

use tracing_subscriber::{
    EnvFilter, Registry, fmt,
    layer::{Layer, SubscriberExt as _},
    reload,
    util::SubscriberInitExt as _,
};

/// Why logs cannot be as asked for.
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

/// Writes the process's logs to standard error. Only a binary calls this, once.
///
/// # Errors
///
/// When the filter does not parse, or when logs were installed before.
pub fn install_logs(json: bool, filter: &str) -> Result<Logs, LogsError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if json { lines.json().flatten_event(true).boxed() } else { lines.with_ansi(false).boxed() };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| LogsError::Installed(error.to_string()))?;
    Ok(Logs { filter: Arc::new(handle) })
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
mod tests {
    use super::check_filter;

    #[test]
    fn a_filter_is_a_level_or_levels_by_module() {
        for filter in ["info", "warn,storage=debug", "synapse_rust::serve=trace", "off"] {
            assert!(check_filter(filter).is_ok(), "{filter}");
        }
        for filter in ["info,storage=loud", "a=b=c"] {
            assert!(check_filter(filter).is_err(), "{filter}");
        }
    }
}
