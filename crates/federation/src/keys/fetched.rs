use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use room_engine::receipt::{KeyLookup, VerifyKey};
use ruma::{OwnedServerName, ServerName};
use tokio::time::{Instant, timeout_at};

use super::server_keys::Need;
use super::{PublishedKeys, ServerKeys};

/// Servers that are asked at once for one batch of events.
const AT_ONCE: usize = 16;

/// The IDs of keys, such as `ed25519:1`, by server.
pub type NeededKeys = BTreeMap<OwnedServerName, BTreeSet<String>>;

/// The keys of several servers, for checking events. What could not be had is missing.
#[derive(Clone, Default, Debug)]
pub struct FetchedKeys(BTreeMap<OwnedServerName, Arc<PublishedKeys>>);

impl FetchedKeys {
    fn add(&mut self, keys: Arc<PublishedKeys>) {
        self.0.insert(keys.server().to_owned(), keys);
    }

    fn has(&self, server: &ServerName, key_id: &str) -> bool {
        self.verify_key(server, key_id).is_some()
    }
}

impl KeyLookup for FetchedKeys {
    fn verify_key(&self, server: &ServerName, key_id: &str) -> Option<&VerifyKey> {
        self.0.get(server)?.verify_key(server, key_id)
    }
}

impl ServerKeys {
    /// The keys that events of several servers were signed with, this one among them. Servers whose keys are not known are asked at the
    /// same time. Then the notaries are asked for the keys of servers that did not answer. All of it ends at the deadline, with the keys
    /// that have come until then.
    pub async fn for_events(&self, needed: &NeededKeys, deadline: Instant) -> FetchedKeys {
        let mut fetched = FetchedKeys::default();
        let unknown = self.known_for_events(needed, &mut fetched).await;
        if unknown.is_empty() {
            return fetched;
        }
        let ask = |(server, key_id): (&'_ ServerName, &'_ str)| {
            let (server, key_id) = (server.to_owned(), key_id.to_owned());
            async move { self.known_or_asked(&server, &key_id, Need::Events).await }
        };
        // Collected, because the compiler does not see otherwise that they can be sent.
        let asked: Vec<_> = unknown.iter().copied().map(ask).collect();
        let mut answers = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
        while let Ok(Some(answer)) = timeout_at(deadline, answers.next()).await {
            if let Some(keys) = answer.ok().and_then(|known| known.keys.clone()) {
                fetched.add(keys);
            }
        }
        drop(answers);
        let missing: Vec<_> = unknown.into_iter().filter(|(server, key_id)| !fetched.has(server, key_id)).collect();
        if let Ok(told) = timeout_at(deadline, self.ask_notaries(&missing)).await {
            self.keep(told).await.into_iter().for_each(|keys| fetched.add(keys));
        }
        fetched
    }

    /// Adds what is known already. Returns the servers that have to be asked, and for which key.
    async fn known_for_events<'n>(
        &self,
        needed: &'n NeededKeys,
        fetched: &mut FetchedKeys,
    ) -> Vec<(&'n ServerName, &'n str)> {
        let (own, now) = (&self.parts().own, self.parts().clock.now());
        let servers: Vec<&ServerName> = needed.keys().map(|server| &**server).collect();
        self.read_stored(&servers).await;
        let mut unknown = Vec::new();
        for (server, key_ids) in needed {
            if own.server_name() == server {
                fetched.add(own.published());
                continue;
            }
            let known = self.known(server).await;
            let is_enough =
                |key_id: &&String| known.as_ref().is_some_and(|known| known.is_enough(key_id, Need::Events, now));
            let missing = key_ids.iter().find(|key_id| !is_enough(key_id));
            unknown.extend(missing.map(|key_id| (&**server, key_id.as_str())));
            if let Some(keys) = known.and_then(|known| known.keys.clone()) {
                fetched.add(keys);
            }
        }
        unknown
    }
}
