use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use room_engine::receipt::{KeyUse, verify_json};
use room_engine::{CanonicalObject, Members, Numbers, ParseLimits};
use ruma::{OwnedServerName, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::published::{MAX_BYTES, MAX_NESTING, Source};
use super::server_keys::Need;
use super::{KeyError, PublishedKeys, QUERY_PATH, ServerKeys};
use crate::client::{Outgoing, RequestError};

/// The most servers that a notary is asked for at once.
const MAX_SERVERS: usize = 100;
/// The longest answer of a notary.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// How long a notary may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What a notary answers.
#[derive(Deserialize)]
struct Answer {
    server_keys: Vec<Box<RawValue>>,
}

impl ServerKeys {
    /// The keys of these servers that the trusted notaries have, one after the other until nothing is missing. Documents that their
    /// servers or the notary have not signed are left out.
    ///
    /// <https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server>
    pub(super) async fn ask_notaries(&self, needed: &[(&ServerName, &str)]) -> Vec<PublishedKeys> {
        let mut told: BTreeMap<OwnedServerName, PublishedKeys> = BTreeMap::new();
        for notary in &self.parts().notaries {
            let is_missing = |(server, key_id): &&(&ServerName, &str)| {
                *server != &**notary && told.get(*server).is_none_or(|keys| !keys.has(key_id))
            };
            let missing: Vec<(&ServerName, &str)> = needed.iter().filter(is_missing).copied().collect();
            for batch in missing.chunks(MAX_SERVERS) {
                match self.ask_notary(notary, batch).await {
                    Ok(keys) => told.extend(keys.into_iter().map(|keys| (keys.server().to_owned(), keys))),
                    Err(error) => tracing::debug!(%notary, %error, "a notary does not tell keys"),
                }
            }
        }
        told.into_values().collect()
    }

    async fn ask_notary(
        &self,
        notary: &ServerName,
        needed: &[(&ServerName, &str)],
    ) -> Result<Vec<PublishedKeys>, RequestError> {
        let now = self.parts().clock.now();
        let wanted = |(server, key_id): &(&ServerName, &str)| {
            let criteria = json!({ *key_id: { "minimum_valid_until_ts": now.0 } });
            (server.to_string(), criteria)
        };
        let question = json!({ "server_keys": needed.iter().map(wanted).collect::<serde_json::Map<String, Value>>() });
        let (method, body) = (Method::POST, Some(Bytes::from(question.to_string())));
        let outgoing =
            Outgoing { method, server: notary, uri: QUERY_PATH, body, limit_bytes: MAX_ANSWER_BYTES, timeout: TIMEOUT };
        let json = self.parts().client.ask(&outgoing).await?;
        let answer: Answer =
            serde_json::from_slice(&json).map_err(|error| RequestError::bad_answer(notary, &error.to_string()))?;
        let mut told = Vec::new();
        for document in answer.server_keys.iter().take(MAX_SERVERS) {
            let Some((server, _)) = needed.iter().find(|(server, _)| is_of(document, server)) else { continue };
            match self.read_told(notary, server, document.get().as_bytes()).await {
                Ok(keys) => told.push(keys),
                Err(error) => tracing::debug!(%notary, %error, "a notary tells keys that are no proof"),
            }
        }
        Ok(told)
    }

    /// Reads the document of a server, which the notary must have signed too.
    async fn read_told(
        &self,
        notary: &ServerName,
        server: &ServerName,
        json: &[u8],
    ) -> Result<PublishedKeys, KeyError> {
        let now = self.parts().clock.now();
        let malformed = |reason: String| KeyError::Malformed { server: server.to_owned(), reason };
        let limits = ParseLimits { numbers: Numbers::Lenient, max_bytes: MAX_BYTES, max_nesting: MAX_NESTING };
        let object = CanonicalObject::parse_within(json, limits).map_err(|error| malformed(error.to_string()))?;
        let unsigned = || malformed("the notary has not signed it".to_owned());
        let key_id = signing_key(&object, notary).ok_or_else(unsigned)?;
        // Without other notaries, which could be asked for the keys of this one for ever.
        let known = Box::pin(self.known_or_asked(notary, &key_id, Need::Events)).await?;
        let keys = known.keys.as_ref().ok_or_else(unsigned)?;
        verify_json(&object, notary, &**keys, KeyUse::Now { now_ms: now.0 })
            .map_err(|fault| KeyError::Unsigned { server: server.to_owned(), fault })?;
        PublishedKeys::read_from(Source::Elsewhere, object.as_bytes(), server, now)
    }
}

/// Whether the document says that it is of this server.
fn is_of(document: &RawValue, server: &ServerName) -> bool {
    #[derive(Deserialize)]
    struct Named {
        server_name: String,
    }
    serde_json::from_str::<Named>(document.get()).is_ok_and(|named| named.server_name == server.as_str())
}

/// The first key that a server has signed the object with.
fn signing_key(object: &CanonicalObject, server: &ServerName) -> Option<String> {
    let signatures = Members::new(object.value("signatures")?);
    let (_, by_server) = signatures.into_iter().find(|(name, _)| *name == server.as_str().as_bytes())?;
    let (key_id, _) = Members::new(by_server).next()?;
    String::from_utf8(key_id.to_vec()).ok()
}
