use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use toml::{Table, Value};

use crate::{Config, Error, Sources, load::deserialize, secret_files};

const PREFIX: &str = "SYNAPSE_RUST__";
const DATABASE_URL: &str = "DATABASE_URL";

/// The environment variables that configure the server, by name.
///
/// The order by name puts `SYNAPSE_RUST__SERVER` before `SYNAPSE_RUST__SERVER__NAME`: the narrower one wins.
pub(crate) struct Variables(BTreeMap<String, String>);

impl Variables {
    pub(crate) fn from<K, V>(environment: impl IntoIterator<Item = (K, V)>) -> Result<Self, Error>
    where
        K: Into<OsString> + AsRef<OsStr>,
        V: Into<OsString>,
    {
        let mut variables = BTreeMap::new();
        for (name, value) in environment {
            let Some(name) = name.as_ref().to_str() else { continue };
            if name != DATABASE_URL && !name.starts_with(PREFIX) {
                continue;
            }
            let value = value.into().into_string();
            let value = value.map_err(|_| Error::of_source(name, "expected a value in UTF-8"))?;
            variables.insert(name.to_owned(), value);
        }
        Ok(Self(variables))
    }

    /// Puts every variable's value into the table, over what the file says.
    pub(crate) fn apply(mut self, table: &mut Table, sources: &mut Sources) -> Result<(), Error> {
        let database_url = self.0.remove(DATABASE_URL);
        let mut set = Table::new();
        for (name, value) in self.0 {
            let path = key_path(&name)
                .ok_or_else(|| Error::of_source(&name, "expected a name of the form SYNAPSE_RUST__SECTION__KEY"))?;
            apply(&name, &path, value, table, &mut set, sources)?;
        }
        secret_files::refuse_both(&set, "environment")?;
        if let Some(value) = database_url {
            let path = ["database".to_owned(), "url".to_owned()];
            apply(DATABASE_URL, &path, value, table, &mut set, sources)?;
        }
        Ok(())
    }
}

fn key_path(name: &str) -> Option<Vec<String>> {
    let path: Vec<_> = name.strip_prefix(PREFIX)?.split("__").map(str::to_ascii_lowercase).collect();
    path.iter().all(|key| !key.is_empty()).then_some(path)
}

fn apply(
    name: &str,
    path: &[String],
    text: String,
    table: &mut Table,
    set: &mut Table,
    sources: &mut Sources,
) -> Result<(), Error> {
    let value = typed(name, path, text)?;
    secret_files::remove_other(table, path);
    insert(table, path, value.clone());
    insert(set, path, value);
    sources.set_by_variable(path.join("."), name);
    Ok(())
}

/// Finds out whether the key takes the text as it is or as a TOML value, by trying both.
fn typed(name: &str, path: &[String], text: String) -> Result<Value, Error> {
    let fits = |value: &Value| {
        let mut alone = Table::new();
        insert(&mut alone, path, value.clone());
        deserialize::<Config>(alone).map(drop)
    };
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let text = Value::String(text);
    let Err(misfit) = fits(&text) else { return Ok(text) };
    let Some(value) = parsed.filter(|value| !value.is_str()) else { return Err(misfit.of(name)) };
    fits(&value).map_err(|misfit| misfit.of(name))?;
    Ok(value)
}

fn insert(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [section, rest @ ..] => {
            let inner = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
