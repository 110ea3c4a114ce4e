//! Which server a database belongs to. A server keeps its name and the public half of its signing key there, and does not start with
//! others: nobody could log in, and no other server would believe its events.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use config::Config;
use homeserver_core::Clock;
use ruma::signatures::Ed25519KeyPair;
use storage::{Database, SigningKey, StorageError};

use crate::{StartError, signing_key};

/// The value in which the name is kept.
const NAME: &str = "server_name";

/// The keys of the server.
pub(crate) struct OwnKey {
    /// Signs this server's events.
    pub(crate) signing_key: Arc<Ed25519KeyPair>,
    /// Has signed them before.
    pub(crate) retired: Vec<SigningKey>,
}

/// Checks that the database is that of the server with this name; a new database is from now on.
///
/// # Errors
/// [`StartError::OtherName`].
pub(crate) async fn check_name(config: &Config, database: &Database) -> Result<(), StartError> {
    let configured = config.server.name.as_str();
    let stored = database.server_value(NAME).await?;
    let known = match &stored {
        Some(_) => stored.clone(),
        // It is older than this value.
        None => database.first_account().await?.and_then(|id| Some(id.split_once(':')?.1.to_owned())),
    };
    if let Some(known) = known.filter(|known| known != configured) {
        return Err(StartError::OtherName { known, configured: configured.to_owned() });
    }
    if stored.is_none() {
        let name = configured.to_owned();
        database.write(async move |tx| tx.set_server_value(NAME, &name).await).await?;
    }
    Ok(())
}

/// Checks name and key; makes a key for a new server.
///
/// # Errors
/// [`StartError::OtherName`], [`StartError::LostKey`], [`StartError::OtherKey`], and others if something cannot be read or written.
pub(crate) async fn establish(config: &Config, database: &Database, clock: &dyn Clock) -> Result<OwnKey, StartError> {
    check_name(config, database).await?;
    let path = config.signing_key_path();
    let keys = Keys::of(database).await?;
    let found = signing_key::read(&path)?;
    let signing_key = match (found, &keys.current) {
        (Some(found), Some(current)) if is_key(current, &found) => found,
        (Some(found), Some(current)) => {
            return Err(StartError::OtherKey { path, found: key_id(&found), known: current.key_id.clone() });
        }
        (None, Some(_)) => return Err(StartError::LostKey { path }),
        (None, None) if database.has_events().await? => return Err(StartError::LostKey { path }),
        (found, None) => {
            let key = found.map_or_else(|| signing_key::make(&path), Ok)?;
            record(database, &key, clock).await?;
            key
        }
    };
    Ok(OwnKey { signing_key: Arc::new(signing_key), retired: keys.retired })
}

/// Makes a new key that signs from now on. The file of the former one, if there is one, is kept beside it. The former and the new
/// key ID; there is no former one if the database knows none.
pub(crate) async fn rotate(
    config: &Config,
    database: &Database,
    clock: &dyn Clock,
) -> Result<(Option<String>, String), StartError> {
    let path = config.signing_key_path();
    let mut former = Keys::of(database).await?.current.map(|key| key.key_id);
    if let Some(found) = signing_key::read(&path)? {
        if former.is_none() {
            record(database, &found, clock).await?;
            former = Some(key_id(&found));
        }
        signing_key::set_aside(&path, found.version())?;
    }
    let key = signing_key::make(&path)?;
    record(database, &key, clock).await?;
    Ok((former, key_id(&key)))
}

/// Makes the key in the file the current one. Returns its key ID.
pub(crate) async fn accept(config: &Config, database: &Database, clock: &dyn Clock) -> Result<String, StartError> {
    let path = config.signing_key_path();
    let Some(found) = signing_key::read(&path)? else { return Err(StartError::LostKey { path }) };
    let id = key_id(&found);
    let keys = database.signing_keys().await?;
    if keys.iter().any(|known| known.key_id == id && !is_key(known, &found)) {
        let problem = format!("expected a version that no other key of this server had, not {:?}", found.version());
        return Err(StartError::SigningKey { path, problem });
    }
    record(database, &found, clock).await?;
    Ok(id)
}

struct Keys {
    current: Option<SigningKey>,
    retired: Vec<SigningKey>,
}

impl Keys {
    async fn of(database: &Database) -> Result<Self, StorageError> {
        let (retired, mut current): (Vec<_>, Vec<_>) =
            database.signing_keys().await?.into_iter().partition(|key| key.retired_at.is_some());
        Ok(Self { current: current.pop(), retired })
    }
}

async fn record(database: &Database, key: &Ed25519KeyPair, clock: &dyn Clock) -> Result<(), StorageError> {
    let (id, public, now) = (key_id(key), public_key(key), clock.now());
    database.write(async move |tx| tx.set_signing_key(&id, &public, now).await).await
}

fn is_key(known: &SigningKey, key: &Ed25519KeyPair) -> bool {
    known.key_id == key_id(key) && known.public_key == public_key(key)
}

fn key_id(key: &Ed25519KeyPair) -> String {
    format!("ed25519:{}", key.version())
}

fn public_key(key: &Ed25519KeyPair) -> String {
    STANDARD_NO_PAD.encode(key.public_key())
}
