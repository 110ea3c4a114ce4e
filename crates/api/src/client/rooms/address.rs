//! An address, and the identity server that knows whose it is.

use federation::IdentityServer;
use replication::memberships::InvitedAddress;
use ruma::OwnedServerName;
use serde::Deserialize;

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite-1>
#[derive(Deserialize)]
pub(crate) struct Address {
    pub(super) id_server: OwnedServerName,
    pub(super) id_access_token: String,
    pub(super) medium: String,
    pub(super) address: String,
}

impl From<Address> for InvitedAddress {
    fn from(Address { id_server, id_access_token, medium, address }: Address) -> Self {
        let identity_server = IdentityServer { name: id_server, access_token: id_access_token };
        Self { identity_server, medium, address }
    }
}
