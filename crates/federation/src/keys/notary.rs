use bytes::Bytes;
use homeserver_core::Timestamp;
use ruma::ServerName;

use super::ServerKeys;
use super::server_keys::Need;

/// What somebody asks this server, as a notary, of the keys of a server.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query>
#[derive(Clone, Copy, Debug)]
pub struct WantedKeys<'a> {
    /// The server.
    pub server: &'a ServerName,
    /// The keys that must be among them, such as `ed25519:1`; whichever there are if this is empty.
    pub key_ids: &'a [&'a str],
    /// Until when they must be valid, by default now. If the server tells none that are, older ones are told.
    pub valid_until: Option<Timestamp>,
}

impl ServerKeys {
    /// Whether the server has to be asked for these keys.
    pub async fn must_ask_for(&self, wanted: &WantedKeys<'_>) -> bool {
        wanted.server != self.parts().own.server_name() && self.not_known(wanted).await.is_some()
    }

    /// The document of a server with a signature of this one, as JSON; `None` if there is none. Asks the server if it has to and `may_ask`.
    pub async fn vouch(&self, wanted: &WantedKeys<'_>, may_ask: bool) -> Option<Bytes> {
        let (server, own) = (wanted.server, &self.parts().own);
        let signed = if server == own.server_name() {
            own.document()
        } else {
            let known = match self.not_known(wanted).await.filter(|_| may_ask) {
                Some(key_id) => self.known_or_asked(server, key_id, self.need(wanted)).await.ok()?,
                None => self.known(server).await?,
            };
            own.countersign(known.keys.as_ref()?.object())
        };
        signed.inspect_err(|error| tracing::warn!(%server, %error, "the keys of a server cannot be signed")).ok()
    }

    fn need(&self, wanted: &WantedKeys<'_>) -> Need {
        Need::Document { valid_until: wanted.valid_until.unwrap_or_else(|| self.parts().clock.now()) }
    }

    /// A key for which the server has to be asked, or the empty text if it has to be asked for any.
    async fn not_known<'a>(&self, wanted: &WantedKeys<'a>) -> Option<&'a str> {
        let (known, need, now) = (self.known(wanted.server).await, self.need(wanted), self.parts().clock.now());
        let any: &[&str] = if wanted.key_ids.is_empty() { &[""] } else { wanted.key_ids };
        let is_enough = |key_id: &&&str| known.as_ref().is_some_and(|known| known.is_enough(key_id, need, now));
        any.iter().find(|key_id| !is_enough(key_id)).copied()
    }
}
