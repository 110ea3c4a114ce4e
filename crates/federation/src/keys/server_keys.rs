use std::sync::Arc;
use std::time::Duration;

use homeserver_core::{Cache, Clock, HeapSize, MemoryBudget, Timestamp, allocation_bytes};
use ruma::ServerName;
use tasks::limits::Limit;

use super::published::MAX_BYTES;
use super::{KeyError, PATH, PublishedKeys};
use crate::client::{Client, RequestError, Signing};

/// A server is not asked again so soon, whatever it answered: neither for a key that it does not have, nor while it is down.
const PAUSE: Duration = Duration::from_mins(1);

/// The keys of other servers, asked for when they are needed and kept for as long as they are valid.
pub struct ServerKeys {
    client: Arc<Client>,
    limit: Arc<Limit>,
    clock: Arc<dyn Clock>,
    known: Cache<String, Arc<Known>>,
}

struct Known {
    asked_at: Timestamp,
    answer: Result<Arc<PublishedKeys>, KeyError>,
}

impl HeapSize for Known {
    fn heap_bytes(&self) -> usize {
        match &self.answer {
            Ok(keys) => keys.heap_bytes(),
            Err(error) => allocation_bytes(error.to_string().len()),
        }
    }
}

impl Known {
    fn is_enough(&self, key_id: &str, now: Timestamp) -> bool {
        let is_fresh = now >= self.asked_at && now.since(self.asked_at) < PAUSE;
        is_fresh || self.answer.as_ref().is_ok_and(|keys| keys.has(key_id) && now <= keys.believed_until())
    }
}

impl ServerKeys {
    /// Keys that `client` asks for, so many servers at once as `limit` says: whoever pretends to be servers that answer slowly does not
    /// keep this one from asking others for something else.
    #[must_use]
    pub fn new(client: Arc<Client>, limit: Arc<Limit>, clock: Arc<dyn Clock>, memory: &MemoryBudget) -> Self {
        Self { client, limit, clock, known: Cache::new(memory, "server_keys") }
    }

    /// Whether the server has to be asked for that key.
    #[must_use]
    pub fn must_ask(&self, server: &ServerName, key_id: &str) -> bool {
        let known = self.known.get(server.as_str());
        known.is_none_or(|known| !known.is_enough(key_id, self.clock.now()))
    }

    /// The keys of a server, among them that one if it has it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn of(&self, server: &ServerName, key_id: &str) -> Result<Arc<PublishedKeys>, KeyError> {
        let name = server.as_str();
        let mut before = None;
        if let Some(known) = self.known.get(name) {
            if known.is_enough(key_id, self.clock.now()) {
                return known.answer.clone();
            }
            self.known.remove(name);
            before = known.answer.as_ref().ok().cloned();
        }
        let asked = async {
            let mut known = self.ask(server).await?;
            // Whoever names a key that nobody has must not make the others forgotten of a server that is down for a moment.
            if let Some(before) = before.filter(|keys| known.answer.is_err() && known.asked_at <= keys.believed_until())
            {
                known.answer = Ok(before);
            }
            Ok::<_, KeyError>(Arc::new(known))
        };
        self.known.load(name, asked).await?.answer.clone()
    }

    /// What the server answers, or that it was not asked.
    async fn ask(&self, server: &ServerName) -> Result<Known, KeyError> {
        let _permit = self.limit.enter().await?;
        let answer = self.client.get(server, PATH, Signing::Plain, MAX_BYTES).await;
        let now = self.clock.now();
        let answer = match answer {
            Ok(json) => PublishedKeys::read(&json, server, now),
            Err(error) => {
                let was_asked = !matches!(error, RequestError::Busy(_) | RequestError::Disabled | RequestError::Itself);
                let error = KeyError::of_request(server, &error);
                if was_asked { Err(error) } else { return Err(error) }
            }
        };
        if let Err(error) = &answer {
            tracing::debug!(%error, "a server cannot prove who it is");
        }
        Ok(Known { asked_at: now, answer: answer.map(Arc::new) })
    }
}
