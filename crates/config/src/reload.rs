use toml::{Table, Value};

use crate::{Config, Media};

/// The keys that a running server applies; every other key waits for a restart.
///
/// Certificates are not here: the files are read again on every reload, whether or not their paths changed.
const RELOADABLE: [&str; 23] = [
    "caches.memory_budget",
    "caches.time_to_live",
    "media.allow_unauthenticated",
    "media.max_image_pixels",
    "media.max_pending_uploads",
    "media.max_upload_size",
    "media.remote_media_lifetime",
    "media.unused_expiration_time",
    "passwords.enabled",
    "passwords.hash_iterations",
    "passwords.hash_memory",
    "passwords.minimum_length",
    "passwords.minimum_score",
    "registration.allow_guests",
    "registration.enabled",
    "registration.require_token",
    "registration.shared_secret",
    "rooms.default_version",
    "rooms.full_state_timeout",
    "server.max_connections",
    "server.public_base_url",
    "server.shutdown_timeout",
    "telemetry.log_filter",
];

/// A running server applies every key of these sections.
const RELOADABLE_SECTIONS: [&str; 4] = ["limits", "rate_limits", "support", "turn"];

/// What differs between the running configuration and a newly loaded one, as dotted keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys that a running server applies at once.
    pub reloadable: Vec<String>,
    /// Keys that need a restart to take effect.
    pub need_restart: Vec<String>,
}

impl Config {
    /// Takes over the reloadable keys of a new configuration. The others keep their values, so that the next
    /// comparison is still with what the server runs with.
    pub fn apply(&mut self, new: &Self) {
        self.caches.clone_from(&new.caches);
        self.limits.clone_from(&new.limits);
        self.media = Media { path: self.media.path.take(), ..new.media.clone() };
        self.passwords.clone_from(&new.passwords);
        self.rate_limits.clone_from(&new.rate_limits);
        self.registration.allow_guests = new.registration.allow_guests;
        self.registration.enabled = new.registration.enabled;
        self.registration.require_token = new.registration.require_token;
        self.registration.shared_secret.clone_from(&new.registration.shared_secret);
        self.rooms.default_version.clone_from(&new.rooms.default_version);
        self.rooms.full_state_timeout = new.rooms.full_state_timeout;
        self.server.max_connections = new.server.max_connections;
        self.server.public_base_url.clone_from(&new.server.public_base_url);
        self.server.shutdown_timeout = new.server.shutdown_timeout;
        self.support.clone_from(&new.support);
        self.turn.clone_from(&new.turn);
        self.telemetry.log_filter.clone_from(&new.telemetry.log_filter);
    }

    /// Compares this running configuration with a new one.
    pub fn changes(&self, new: &Self) -> Changes {
        let mut keys = Vec::new();
        let tables = (Table::try_from(self).unwrap_or_default(), Table::try_from(new).unwrap_or_default());
        collect(&tables.0, &tables.1, "", &mut keys);
        // Two secrets look the same in a table.
        let secrets = [
            ("database.url", self.database.url != new.database.url),
            ("email.password", self.email.password != new.email.password),
            ("turn.password", self.turn.password != new.turn.password),
            ("turn.shared_secret", self.turn.shared_secret != new.turn.shared_secret),
            ("registration.shared_secret", self.registration.shared_secret != new.registration.shared_secret),
        ];
        let changed = secrets.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key.to_owned());
        keys.extend(changed);
        keys.sort();
        keys.dedup();
        let (reloadable, need_restart) = keys.into_iter().partition(|key| is_reloadable(key));
        Changes { reloadable, need_restart }
    }
}

fn is_reloadable(key: &str) -> bool {
    let is_in = |section: &&str| key.split('.').next() == Some(*section);
    RELOADABLE.contains(&key) || RELOADABLE_SECTIONS.iter().any(is_in)
}

fn collect(old: &Table, new: &Table, prefix: &str, keys: &mut Vec<String>) {
    let added = new.keys().filter(|key| !old.contains_key(*key));
    for key in old.keys().chain(added) {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match (old.get(key), new.get(key)) {
            (Some(Value::Table(old)), Some(Value::Table(new))) => collect(old, new, &path, keys),
            (old, new) if old != new => keys.push(path),
            _ => {}
        }
    }
}
