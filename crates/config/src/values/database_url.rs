use std::{borrow::Cow, fmt, path::Path};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{parsed_unseen, secret::REDACTED};

/// Where the database is: `sqlite://PATH` or `postgres://USER:PASSWORD@HOST/NAME`.
///
/// The password in it is shown by [`DatabaseUrl::reveal`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

/// The engine that a [`DatabaseUrl`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseEngine {
    /// A file, read and written in this process.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

impl DatabaseUrl {
    pub(crate) fn of_sqlite_file(path: &Path) -> Self {
        Self(format!("sqlite://{}", path.display()))
    }

    /// The whole URL, password included, for the one place that connects.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The engine by the URL's scheme.
    pub fn engine(&self) -> DatabaseEngine {
        if self.0.starts_with("sqlite:") { DatabaseEngine::Sqlite } else { DatabaseEngine::Postgres }
    }

    fn parse(text: &str) -> Option<Self> {
        let place =
            ["sqlite://", "postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme))?;
        (!place.is_empty()).then(|| Self(text.to_owned()))
    }

    fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else { return REDACTED.to_owned() };
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        let mut shown = format!("{scheme}://");
        // Up to the last `@`: a password that was not percent-encoded may hold any character.
        match place.rsplit_once('@') {
            Some((login, host)) if self.engine() == DatabaseEngine::Postgres => {
                let user = login.split_once(':').map_or(login, |(user, _)| user);
                shown.push_str(user);
                if user.len() < login.len() {
                    shown.push_str(":[redacted]");
                }
                shown.push('@');
                shown.push_str(host);
            }
            _ => shown.push_str(place),
        }
        if let Some(query) = query {
            let parameters: Vec<_> = query.split('&').map(redacted_parameter).collect();
            shown.push('?');
            shown.push_str(&parameters.join("&"));
        }
        shown
    }
}

fn redacted_parameter(parameter: &str) -> Cow<'_, str> {
    match parameter.split_once('=') {
        Some((name, _)) if name.contains("password") => format!("{name}={REDACTED}").into(),
        _ => parameter.into(),
    }
}

/// Without the password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.redacted())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed_unseen(deserializer, "\"sqlite://PATH\" or \"postgres://USER:PASSWORD@HOST/NAME\"", Self::parse)
    }
}

impl JsonSchema for DatabaseUrl {
    fn schema_name() -> Cow<'static, str> {
        "DatabaseUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(sqlite|postgres|postgresql)://." })
    }
}

#[cfg(test)]
mod tests {
    use super::DatabaseUrl;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://me:se@c:ret@db/name", "postgres://me:[redacted]@db/name"),
            ("postgres://me@db/name?host=/run/pg", "postgres://me@db/name?host=/run/pg"),
            ("postgres://db/name?password=x&a=b", "postgres://db/name?password=[redacted]&a=b"),
            ("sqlite:///srv/a@b/homeserver.db", "sqlite:///srv/a@b/homeserver.db"),
        ] {
            assert_eq!(DatabaseUrl::parse(url).unwrap().to_string(), shown);
            assert_eq!(format!("{:?}", DatabaseUrl::parse(url).unwrap()), shown);
        }
    }

    #[test]
    fn an_unknown_engine_is_refused() {
        for url in ["", "mysql://db", "homeserver.db", "sqlite://"] {
            assert_eq!(DatabaseUrl::parse(url), None, "{url}");
        }
    }
}
