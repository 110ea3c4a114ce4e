//! Filters that users store, to refer to them by a short ID.

mod definition;
mod fields;
mod names;
mod size;

use std::sync::Arc;

use homeserver_core::{Cache, UserSn};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use storage::{Database, StorageError};

pub use self::definition::{EventFilter, EventFormat, FilterDefinition, RoomEventFilter, RoomFilter};
pub use self::fields::EventFields;
pub use self::names::{RoomIds, TypePatterns, UserIds};
use crate::object::Object;

/// The largest filter, in bytes of JSON.
pub const MAX_FILTER_BYTES: usize = 64 * 1024;
/// Most filters of a user.
const MAX_FILTERS: i64 = 1_000;

/// Why a filter cannot be stored or found.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It does not say what a filter can say.
    #[error("The filter is not valid: {0}")]
    Invalid(String),
    /// It is too large.
    #[error("A filter has at most {MAX_FILTER_BYTES} bytes")]
    TooLarge,
    /// The user has stored too many.
    #[error("A user has at most {MAX_FILTERS} filters")]
    TooMany,
    /// The user has stored none under this ID.
    #[error("You have no filter with this ID")]
    NoSuchFilter,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The filters of this server's users.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#filtering>
pub struct Filters {
    database: Database,
    everything: Arc<FilterDefinition>,
    definitions: Cache<(UserSn, i64), Arc<FilterDefinition>>,
}

impl Filters {
    /// The filters stored in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        let definitions = Cache::new(database.memory(), "filters");
        Self { database, everything: Arc::default(), definitions }
    }

    /// The filter that lets everything through. All requests without a filter share it.
    #[must_use]
    pub fn everything(&self) -> Arc<FilterDefinition> {
        self.everything.clone()
    }

    /// Stores a filter. Equal filters of a user have the same ID.
    ///
    /// # Errors
    /// [`FilterError`].
    pub async fn store(&self, user_sn: UserSn, filter: Map<String, Value>) -> Result<String, FilterError> {
        // Keys are sorted, so equal filters have equal texts.
        let content = Value::Object(filter).to_string();
        if content.len() > MAX_FILTER_BYTES {
            return Err(FilterError::TooLarge);
        }
        parse(&content)?;
        let hash = Sha256::digest(content.as_bytes()).into();
        let number = self.database.store_filter(user_sn, hash, content, MAX_FILTERS).await?;
        number.map(|number| number.to_string()).ok_or(FilterError::TooMany)
    }

    /// A stored filter as JSON.
    ///
    /// # Errors
    /// [`FilterError::NoSuchFilter`].
    pub async fn json(&self, user_sn: UserSn, filter_id: &str) -> Result<String, FilterError> {
        let number = filter_number(filter_id)?;
        self.database.filter(user_sn, number).await?.ok_or(FilterError::NoSuchFilter)
    }

    /// What a stored filter says.
    ///
    /// # Errors
    /// [`FilterError::NoSuchFilter`].
    pub async fn definition(&self, user_sn: UserSn, filter_id: &str) -> Result<Arc<FilterDefinition>, FilterError> {
        let number = filter_number(filter_id)?;
        let load = async { Ok(Arc::new(parse(&self.json(user_sn, filter_id).await?)?)) };
        self.definitions.get_or_load(&(user_sn, number), load).await
    }
}

/// What a filter says that is given as JSON, as in the query of `/sync`.
///
/// # Errors
/// [`FilterError::Invalid`].
pub fn parse(json: &str) -> Result<FilterDefinition, FilterError> {
    parse_as(json)
}

/// What a filter for events of rooms says that is given as JSON, as in the query of `/messages`.
///
/// # Errors
/// [`FilterError::Invalid`].
pub fn parse_room_event_filter(json: &str) -> Result<RoomEventFilter, FilterError> {
    parse_as(json)
}

fn parse_as<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, FilterError> {
    if json.len() > MAX_FILTER_BYTES {
        return Err(FilterError::TooLarge);
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let filter: Object<T> = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (key, reason) = (error.path().to_string(), error.inner());
        FilterError::Invalid(if key == "." { reason.to_string() } else { format!("{key}: {reason}") })
    })?;
    deserializer.end().map_err(|error| FilterError::Invalid(error.to_string()))?;
    Ok(filter.0)
}

/// Only IDs that [`Filters::store`] gave out can be found: a `+7` or `007` is none of them.
fn filter_number(filter_id: &str) -> Result<i64, FilterError> {
    let number: i64 = filter_id.parse().map_err(|_| FilterError::NoSuchFilter)?;
    if number.to_string() == filter_id { Ok(number) } else { Err(FilterError::NoSuchFilter) }
}
