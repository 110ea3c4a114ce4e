//! What a running server changes when its configuration is read again.

use std::sync::Arc;

use accounts::capabilities::{Capabilities, CapabilityOptions};
use accounts::passwords::{HashCost, PasswordPolicy, Passwords};
use accounts::registration::{Registration, RegistrationOptions, SharedSecret};
use accounts::well_known::WellKnown;
use config::{Config, Sources, WebUrl};
use homeserver_core::MemoryBudget;
use media::{ContentRepository, MediaOptions};
use rooms::{RoomCreation, supported_versions};
use storage::RoomStates;

/// The components that read something which can change.
///
/// Each reads it without locks, so no request waits for a change. The keys are those that `config` lists as reloadable.
pub(crate) struct Reconfigurable {
    pub(crate) memory: MemoryBudget,
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) well_known: Arc<WellKnown>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) registration: Arc<Registration>,
    pub(crate) shared_secret: Arc<SharedSecret>,
    pub(crate) room_creation: Arc<RoomCreation>,
    pub(crate) states: Arc<RoomStates>,
    pub(crate) media: Arc<ContentRepository>,
}

impl Reconfigurable {
    /// Has each of them work by this configuration from now on.
    ///
    /// # Errors
    /// If something in it cannot be used; nothing has changed then.
    pub(crate) fn apply(&self, config: &Config, sources: &Sources) -> Result<(), config::Error> {
        let unusable = |error: accounts::passwords::PasswordError| {
            sources.error("passwords.hash_memory", format!("expected a cost that argon2id allows: {error}"))
        };
        self.passwords
            .reconfigure(hash_cost(config), password_policy(config), config.passwords.enabled)
            .map_err(unusable)?;
        self.capabilities.reconfigure(&capability_options(config));
        self.well_known.reconfigure(config.server.public_base_url.as_ref().map(WebUrl::as_str));
        self.registration.reconfigure(registration_options(config));
        self.shared_secret.reconfigure(shared_secret(config));
        self.room_creation.reconfigure(config.rooms.default_version.clone());
        self.states.set_patience(config.rooms.full_state_timeout.duration());
        self.media.reconfigure(media_options(config));
        configure_memory(&self.memory, config);
        Ok(())
    }
}

/// The budget of all caches, and how long what they keep is used.
pub(crate) fn configure_memory(memory: &MemoryBudget, config: &Config) {
    memory.set_bytes(config.caches.memory_budget.bytes());
    memory.set_time_to_live(config.caches.time_to_live.map(config::Period::duration));
}

pub(crate) fn capability_options(config: &Config) -> CapabilityOptions {
    CapabilityOptions {
        default_room_version: config.rooms.default_version.clone(),
        room_versions: supported_versions(),
        passwords_enabled: config.passwords.enabled,
        email_enabled: config.email.smtp_host.is_some(),
    }
}

pub(crate) fn hash_cost(config: &Config) -> HashCost {
    let passwords = &config.passwords;
    HashCost { memory_bytes: passwords.hash_memory.bytes(), iterations: passwords.hash_iterations }
}

pub(crate) fn password_policy(config: &Config) -> PasswordPolicy {
    let passwords = &config.passwords;
    PasswordPolicy {
        least_chars: usize::try_from(passwords.minimum_length).unwrap_or(usize::MAX),
        least_score: u8::try_from(passwords.minimum_score).unwrap_or(u8::MAX),
    }
}

pub(crate) fn registration_options(config: &Config) -> RegistrationOptions {
    RegistrationOptions {
        enabled: config.registration.enabled,
        require_token: config.registration.require_token,
        allow_guests: config.registration.allow_guests,
    }
}

pub(crate) fn media_options(config: &Config) -> MediaOptions {
    let media = &config.media;
    MediaOptions {
        most_bytes: media.max_upload_size.bytes(),
        most_pixels: media.max_image_pixels.into(),
        most_announced: media.max_pending_uploads,
        announced_for: media.unused_expiration_time.duration(),
        keep_fetched_for: media.remote_media_lifetime.map(config::Period::duration),
        allow_unauthenticated: media.allow_unauthenticated,
    }
}

pub(crate) fn shared_secret(config: &Config) -> Option<String> {
    config.registration.shared_secret.as_ref().map(|secret| secret.reveal().to_owned())
}
