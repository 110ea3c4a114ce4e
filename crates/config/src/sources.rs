use std::{collections::BTreeMap, path::Path};

use crate::Error;

/// Where each value came from, to name it when something is found wrong with the value later.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    file: Option<String>,
    /// By dotted key: the environment variable that set it.
    variables: BTreeMap<String, String>,
}

impl Sources {
    pub(crate) fn new(file: Option<&Path>) -> Self {
        Self { file: file.map(|path| path.display().to_string()), variables: BTreeMap::new() }
    }

    pub(crate) fn set_by_variable(&mut self, key: String, variable: &str) {
        self.variables.insert(key, variable.to_owned());
    }

    /// An error about the value at `key` (a dotted path), found after loading: a file that it names cannot be read,
    /// a filter does not parse.
    pub fn error(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::of_key(self.of(key), key, problem)
    }

    fn of(&self, key: &str) -> &str {
        let sets =
            |set: &str| key.strip_prefix(set).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        let variable = self.variables.iter().rev().find(|(set, _)| sets(set)).map(|(_, variable)| variable);
        variable.or(self.file.as_ref()).map_or("default configuration", String::as_str)
    }
}
