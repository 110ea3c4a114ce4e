use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::Path,
};

use serde::de::DeserializeOwned;

use crate::{Config, Error, Sources, check::check, environment::Variables, secret_files};

/// A configuration together with where its values came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where they came from.
    pub sources: Sources,
}

/// A configuration file larger than this is some other file.
const MAX_FILE_SIZE_BYTES: u64 = 4 << 20;

/// Reads the configuration: the file if there is one, then the environment, then defaults for the rest.
///
/// # Errors
///
/// The first thing found wrong, as one line that names file or variable, key, and expectation.
pub fn load<K, V>(file: Option<&Path>, environment: impl IntoIterator<Item = (K, V)>) -> Result<Loaded, Error>
where
    K: Into<OsString> + AsRef<OsStr>,
    V: Into<OsString>,
{
    let mut sources = Sources::new(file);
    let mut table = file.map_or_else(|| Ok(toml::Table::new()), read_file)?;
    if let Some(path) = file {
        // The file alone first, so that its errors name the file and no variable.
        let name = path.display().to_string();
        deserialize::<Config>(table.clone()).map_err(|error| error.of(&name))?;
        secret_files::refuse_both(&table, &name)?;
    }
    Variables::from(environment)?.apply(&mut table, &mut sources)?;
    secret_files::read(&mut table, &sources)?;
    let config = deserialize(table).map_err(|error| sources.error(&error.key, error.problem))?;
    check(&config, &sources)?;
    Ok(Loaded { config, sources })
}

fn read_file(path: &Path) -> Result<toml::Table, Error> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| Error::of_source(&name, format!("cannot be read: {error}"));
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE_SIZE_BYTES {
        return Err(Error::of_source(&name, "expected a TOML file of at most 4 MiB"));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    text.parse().map_err(|error: toml::de::Error| {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Error::of_source(name, format!("line {line}: expected TOML: {}", error.message()))
    })
}

/// What does not fit the types, before it is known which source is to blame.
pub(crate) struct Misfit {
    key: String,
    problem: String,
}

impl Misfit {
    pub(crate) fn of(self, source: &str) -> Error {
        if self.key == "." {
            Error::of_source(source, self.problem)
        } else {
            Error::of_key(source, self.key, self.problem)
        }
    }
}

pub(crate) fn deserialize<T: DeserializeOwned>(table: toml::Table) -> Result<T, Misfit> {
    serde_path_to_error::deserialize(table).map_err(|error| {
        let key = error.path().to_string();
        let message = error.inner().message();
        Misfit { key, problem: in_words_of_the_file(message) }
    })
}

/// Serde speaks of structs and fields; an operator sees tables and keys.
fn in_words_of_the_file(message: &str) -> String {
    match message.split_once("expected struct ") {
        Some((found, _)) => format!("{found}expected a table"),
        None => {
            let message =
                message.replacen("unknown field", "unknown key", 1).replacen("missing field", "missing key", 1);
            match meant(&message) {
                Some(name) => format!("{message}; did you mean `{name}`?"),
                None => message,
            }
        }
    }
}

/// The known name that an unknown one was probably meant to be: at most a third of it is wrong.
fn meant(message: &str) -> Option<&str> {
    // "unknown key `a`, expected one of `b`, `c`": every second piece is a name.
    let mut names = message.strip_prefix("unknown ")?.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    let distances = names.map(|name| (strsim::damerau_levenshtein(unknown, name), name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= name.len()).then_some(name)
}
