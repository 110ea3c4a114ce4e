//! Secrets can be given in a file of their own, by the key `x_file` instead of `x`.

use std::fs;

use toml::{Table, Value};

use crate::{Error, Sources};

/// Section and key of every secret.
const SECRETS: [(&str, &str); 5] = [
    ("database", "url"),
    ("email", "password"),
    ("registration", "shared_secret"),
    ("turn", "password"),
    ("turn", "shared_secret"),
];
const MAX_SECRET_SIZE_BYTES: usize = 64 << 10;

fn file_key(key: &str) -> String {
    format!("{key}_file")
}

/// Of two ways to give one secret in one place, neither is obviously meant.
pub(crate) fn refuse_both(table: &Table, source: &str) -> Result<(), Error> {
    for (section, key) in SECRETS {
        let has = |key: &str| table.get(section).and_then(|section| section.get(key)).is_some();
        let file_key = file_key(key);
        if has(key) && has(&file_key) {
            let problem = format!("expected either {key} or {file_key}, not both");
            return Err(Error::of_key(source, format!("{section}.{key}"), problem));
        }
    }
    Ok(())
}

/// When a variable sets a secret one way, drops what the file says the other way.
pub(crate) fn remove_other(table: &mut Table, path: &[String]) {
    let [section, key] = path else { return };
    let Some(Value::Table(table)) = table.get_mut(section) else { return };
    for (secret_section, secret) in SECRETS {
        if section == secret_section && key == secret {
            table.remove(&file_key(secret));
        } else if section == secret_section && *key == file_key(secret) {
            table.remove(secret);
        }
    }
}

/// Reads the file of every secret that is given by one.
pub(crate) fn read(table: &mut Table, sources: &Sources) -> Result<(), Error> {
    for (section, key) in SECRETS {
        let Some(Value::Table(table)) = table.get_mut(section) else { continue };
        let Some(Value::String(path)) = table.get(&file_key(key)) else { continue };
        let file_key = format!("{section}.{}", file_key(key));
        let text = fs::read_to_string(path)
            .map_err(|error| sources.error(&file_key, format!("cannot read \"{path}\": {error}")))?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() || secret.len() > MAX_SECRET_SIZE_BYTES {
            let problem = format!("expected \"{path}\" to hold a secret of at most 64 KiB");
            return Err(sources.error(&file_key, problem));
        }
        table.insert(key.to_owned(), Value::String(secret.to_owned()));
    }
    Ok(())
}
