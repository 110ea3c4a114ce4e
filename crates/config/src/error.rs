use std::fmt;

/// An error of the configuration, in one line: its source, the key, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The file or the environment variable.
    source: String,
    /// The dotted path of the key; `None` when the source as a whole is at fault.
    key: Option<String>,
    problem: String,
}

impl Error {
    /// An error of a source as a whole, such as a file that cannot be read.
    pub(crate) fn of_source(source: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { source: source.into(), key: None, problem: one_line(&problem.into()) }
    }

    /// An error of one key.
    pub(crate) fn of_key(source: impl Into<String>, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { source: source.into(), key: Some(key.into()), problem: one_line(&problem.into()) }
    }

    /// The dotted path of the key at fault, such as `server.name`.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(formatter, "{}: {key}: {}", self.source, self.problem),
            None => write!(formatter, "{}: {}", self.source, self.problem),
        }
    }
}

impl std::error::Error for Error {}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
