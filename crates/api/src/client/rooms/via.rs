//! The servers by which a room of other servers is reached.

use ruma::OwnedServerName;
use serde::Deserialize;

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias>
#[derive(Deserialize)]
pub(crate) struct Via {
    #[serde(default)]
    via: Vec<OwnedServerName>,
    /// What clients before version 1.12 send.
    #[serde(default)]
    server_name: Vec<OwnedServerName>,
}

impl Via {
    pub(super) fn servers(mut self) -> Vec<OwnedServerName> {
        self.via.append(&mut self.server_name);
        self.via
    }
}
