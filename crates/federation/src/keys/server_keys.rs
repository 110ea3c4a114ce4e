use std::sync::Arc;
use std::time::Duration;

use homeserver_core::{Cache, Clock, HeapSize, MemoryBudget, Timestamp, allocation_bytes};
use ruma::{OwnedServerName, ServerName};
use storage::Database;
use tasks::limits::Limit;

use super::published::MAX_BYTES;
use super::{KeyError, OwnKeys, PATH, PublishedKeys};
use crate::client::{Client, RequestError, Signing};

/// A server is not asked again so soon, whatever it answered: neither for a key that it does not have, nor while it is down.
const PAUSE: Duration = Duration::from_mins(1);

/// The keys of other servers, asked for when they are needed and kept for as long as they are valid; for the events that they have
/// signed, for longer.
pub struct ServerKeys {
    parts: ServerKeysParts,
    known: Cache<String, Arc<Known>>,
}

/// What [`ServerKeys`] is made of.
pub struct ServerKeysParts {
    /// Asks for keys.
    pub client: Arc<Client>,
    /// How many servers are asked for keys at once because of a request. The limit is apart from that of other requests, so that servers
    /// that answer slowly do not keep this one from asking for something else.
    pub limit: Arc<Limit>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The keys of this server.
    pub own: Arc<OwnKeys>,
    /// Notaries: servers that this one trusts to tell the keys of a server that does not answer.
    pub notaries: Vec<OwnedServerName>,
    /// Where keys are kept.
    pub database: Database,
}

/// What is known of the keys of one server.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) asked_at: Timestamp,
    /// The last keys that were got, also if they are not believed any more.
    pub(super) keys: Option<Arc<PublishedKeys>>,
    /// Why it has not told newer ones.
    pub(super) error: Option<KeyError>,
}

impl HeapSize for Known {
    fn heap_bytes(&self) -> usize {
        let keys = self.keys.as_ref().map_or(0, |keys| keys.heap_bytes());
        keys + self.error.as_ref().map_or(0, |error| allocation_bytes(error.to_string().len()))
    }
}

/// What keys are needed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// A request, which is of now.
    Request,
    /// Events, which may be old.
    Events,
    /// The document itself, of which somebody wants to know that it is valid for so long.
    Document {
        /// Until when it must be valid, as it says.
        valid_until: Timestamp,
    },
}

impl Known {
    pub(super) fn is_enough(&self, key_id: &str, need: Need, now: Timestamp) -> bool {
        let is_fresh = now >= self.asked_at && now.since(self.asked_at) < PAUSE;
        is_fresh
            || self.keys.as_ref().is_some_and(|keys| match need {
                Need::Document { valid_until } => {
                    keys.valid_until() >= valid_until && (key_id.is_empty() || keys.has(key_id))
                }
                Need::Events if !keys.has_current(key_id) => keys.has(key_id),
                Need::Request | Need::Events => keys.has_current(key_id) && now <= keys.believed_until(),
            })
    }

    /// The keys for a request of now.
    fn answer(&self, server: &ServerName, now: Timestamp) -> Result<Arc<PublishedKeys>, KeyError> {
        let usable = self.keys.as_ref().filter(|keys| now <= keys.believed_until());
        match (usable, &self.error) {
            (Some(keys), _) => Ok(keys.clone()),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err(KeyError::Unreachable { server: server.to_owned() }),
        }
    }
}

impl ServerKeys {
    /// Keys as far as they are stored.
    #[must_use]
    pub fn new(parts: ServerKeysParts, memory: &MemoryBudget) -> Self {
        Self { parts, known: Cache::new(memory, "server_keys") }
    }

    pub(super) fn parts(&self) -> &ServerKeysParts {
        &self.parts
    }

    /// Whether the server has to be asked for that key.
    pub async fn must_ask(&self, server: &ServerName, key_id: &str) -> bool {
        let known = self.known(server).await;
        known.is_none_or(|known| !known.is_enough(key_id, Need::Request, self.parts.clock.now()))
    }

    /// The keys of a server that makes a request, among them that one if it has it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn of(&self, server: &ServerName, key_id: &str) -> Result<Arc<PublishedKeys>, KeyError> {
        let known = self.known_or_asked(server, key_id, Need::Request).await?;
        known.answer(server, self.parts.clock.now())
    }

    /// What is known of the keys of a server, in memory or in the database.
    pub(super) async fn known(&self, server: &ServerName) -> Option<Arc<Known>> {
        if let Some(known) = self.known.get(server.as_str()) {
            return Some(known);
        }
        self.read_stored(&[server]).await;
        self.known.get(server.as_str())
    }

    /// Reads into memory what is stored of those of these servers of which there is nothing.
    pub(super) async fn read_stored(&self, servers: &[&ServerName]) {
        let is_unknown = |server: &&&ServerName| self.known.peek(server.as_str()).is_none();
        let unknown: Vec<String> = servers.iter().filter(is_unknown).map(ToString::to_string).collect();
        if unknown.is_empty() {
            return;
        }
        match self.parts.database.server_keys(&unknown).await {
            Ok(stored) => {
                for keys in &stored {
                    match PublishedKeys::from_stored(keys) {
                        Ok(keys) => drop(self.remember(keys)),
                        Err(error) => tracing::warn!(%error, "stored keys of a server cannot be read"),
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "the stored keys of servers cannot be read"),
        }
    }

    /// Keeps keys in memory.
    fn remember(&self, keys: PublishedKeys) -> Arc<PublishedKeys> {
        let (name, asked_at, keys) = (keys.server().to_string(), keys.fetched_at(), Arc::new(keys));
        self.known.insert(name, Arc::new(Known { asked_at, keys: Some(keys.clone()), error: None }));
        keys
    }

    /// Keeps keys that were got just now, in memory and in the database.
    pub(super) async fn keep(&self, keys: Vec<PublishedKeys>) -> Vec<Arc<PublishedKeys>> {
        let with_before = |keys: PublishedKeys| {
            let before = self.known.get(keys.server().as_str()).and_then(|known| known.keys.clone());
            self.remember(match before {
                Some(before) if before.valid_until() > keys.valid_until() => PublishedKeys::clone(&before).after(&keys),
                Some(before) => keys.after(&before),
                None => keys,
            })
        };
        let kept: Vec<Arc<PublishedKeys>> = keys.into_iter().map(with_before).collect();
        self.store(&kept).await;
        kept
    }

    async fn store(&self, keys: &[Arc<PublishedKeys>]) {
        if keys.is_empty() {
            return;
        }
        let stored = keys.iter().map(|keys| keys.to_stored()).collect();
        if let Err(error) = self.parts.database.store_server_keys(stored).await {
            tracing::warn!(%error, "the keys of servers cannot be stored");
        }
    }

    /// What is known of a server once it was asked, if it had to be, for that key.
    pub(super) async fn known_or_asked(
        &self,
        server: &ServerName,
        key_id: &str,
        need: Need,
    ) -> Result<Arc<Known>, KeyError> {
        let name = server.as_str();
        let before = self.known(server).await;
        if let Some(known) = &before
            && known.is_enough(key_id, need, self.parts.clock.now())
        {
            return Ok(known.clone());
        }
        self.known.remove(name);
        let asked = async {
            let before = before.and_then(|known| known.keys.clone());
            let (answer, asked_at) = self.ask(server, key_id, need).await?;
            let known = match answer {
                Ok(keys) => {
                    let keys = Arc::new(before.iter().fold(keys, |keys, before| keys.after(before)));
                    self.store(std::slice::from_ref(&keys)).await;
                    Known { asked_at, keys: Some(keys), error: None }
                }
                // A request that names an unknown key fails while the server is down. Its known keys are kept.
                Err(error) => Known { asked_at, keys: before, error: Some(error) },
            };
            Ok::<_, KeyError>(Arc::new(known))
        };
        self.known.load(name, asked).await
    }

    /// What the server answers, or else what the notaries say of it; or that nobody was asked.
    async fn ask(
        &self,
        server: &ServerName,
        key_id: &str,
        need: Need,
    ) -> Result<(Result<PublishedKeys, KeyError>, Timestamp), KeyError> {
        let _permit = self.parts.limit.enter().await?;
        let answer = self.parts.client.get(server, PATH, Signing::Plain, MAX_BYTES).await;
        let now = self.parts.clock.now();
        let answer = match answer {
            Ok(json) => PublishedKeys::read(&json, server, now),
            Err(error @ (RequestError::Busy(_) | RequestError::Disabled | RequestError::Itself)) => {
                return Err(KeyError::of_request(server, &error));
            }
            Err(error) => Err(KeyError::of_request(server, &error)),
        };
        let Err(error) = answer else { return Ok((answer, now)) };
        tracing::debug!(%error, "a server cannot prove who it is");
        // The keys for a batch of events are asked of the notaries in one request, by `for_events`.
        let told = match need {
            Need::Request => self.ask_notaries(&[(server, key_id)]).await.pop(),
            Need::Events | Need::Document { .. } => None,
        };
        Ok((told.ok_or(error), now))
    }
}
