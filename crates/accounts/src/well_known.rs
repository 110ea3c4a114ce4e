//! Where clients and other servers find this server, given its name.

use bytes::Bytes;
use homeserver_core::Live;
use serde::Serialize;
use serde_json::json;

/// The documents under `/.well-known/matrix`.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#server-discovery>
#[derive(Default, Debug)]
pub struct WellKnown {
    client: Live<Option<Bytes>>,
    base_url: Live<Option<String>>,
    server: Option<Bytes>,
    support: Live<Option<Bytes>>,
}

/// Whom people can ask for help.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport>
#[derive(Clone, Default, Serialize, Debug)]
pub struct Support {
    /// People.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<SupportContact>,
    /// A page with more.
    #[serde(rename = "support_page", skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// Somebody whom people can ask.
#[derive(Clone, Serialize, Debug)]
pub struct SupportContact {
    /// What for.
    pub role: String,
    /// The user ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_id: Option<String>,
    /// The e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_address: Option<String>,
}

impl WellKnown {
    /// `public_base_url` is where clients reach this server; `federation_address` is the host, with an optional port, where
    /// other servers do if that is not the server name itself.
    #[must_use]
    pub fn new(public_base_url: Option<&str>, federation_address: Option<&str>) -> Self {
        let server = federation_address.map(|address| json!({ "m.server": address }));
        Self {
            client: Live::new(client_document(public_base_url)),
            base_url: Live::new(public_base_url.map(str::to_owned)),
            server: server.map(|document| document.to_string().into()),
            support: Live::default(),
        }
    }

    /// Tells whom people can ask, from now on.
    pub fn set_support(&self, support: &Support) {
        let is_empty = support.contacts.is_empty() && support.page.is_none();
        self.support.replace((!is_empty).then(|| json!(support).to_string().into()));
    }

    /// The body of `/.well-known/matrix/support`, if there is somebody to ask.
    #[must_use]
    pub fn support_document(&self) -> Option<Bytes> {
        self.support.read().clone()
    }

    /// Sends clients elsewhere from now on.
    pub fn reconfigure(&self, public_base_url: Option<&str>) {
        self.client.replace(client_document(public_base_url));
        self.base_url.replace(public_base_url.map(str::to_owned));
    }

    /// Where clients reach this server, if that is configured.
    #[must_use]
    pub fn base_url(&self) -> Option<String> {
        self.base_url.read().clone()
    }

    /// The body of `/.well-known/matrix/client`, if clients are to be sent anywhere.
    #[must_use]
    pub fn client_document(&self) -> Option<Bytes> {
        self.client.read().clone()
    }

    /// The body of `/.well-known/matrix/server`, if other servers are to be sent anywhere.
    #[must_use]
    pub fn server_document(&self) -> Option<Bytes> {
        self.server.clone()
    }
}

fn client_document(public_base_url: Option<&str>) -> Option<Bytes> {
    let document = public_base_url.map(|url| json!({ "m.homeserver": { "base_url": url } }));
    document.map(|document| document.to_string().into())
}
