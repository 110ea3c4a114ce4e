//! Where clients and other servers find this server, given its name.

use bytes::Bytes;
use serde_json::json;

/// The documents under `/.well-known/matrix`.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#server-discovery>
#[derive(Clone, Default, Debug)]
pub struct Discovery {
    client: Option<Bytes>,
    server: Option<Bytes>,
}

impl Discovery {
    /// `public_base_url` is where clients reach this server; `federation_address` is the host, with an optional port, where
    /// other servers do if that is not the server name itself.
    #[must_use]
    pub fn new(public_base_url: Option<&str>, federation_address: Option<&str>) -> Self {
        let client = public_base_url.map(|url| json!({ "m.homeserver": { "base_url": url } }));
        let server = federation_address.map(|address| json!({ "m.server": address }));
        Self {
            client: client.map(|document| document.to_string().into()),
            server: server.map(|document| document.to_string().into()),
        }
    }

    /// The body of `/.well-known/matrix/client`, if clients are to be sent anywhere.
    #[must_use]
    pub fn client_document(&self) -> Option<Bytes> {
        self.client.clone()
    }

    /// The body of `/.well-known/matrix/server`, if other servers are to be sent anywhere.
    #[must_use]
    pub fn server_document(&self) -> Option<Bytes> {
        self.server.clone()
    }
}
