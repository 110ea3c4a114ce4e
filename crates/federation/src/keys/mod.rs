//! The keys of servers.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys>

mod fetched;
mod notaries;
mod notary;
mod own;
mod published;
mod server_keys;

pub use self::fetched::{FetchedKeys, NeededKeys};
pub use self::notary::WantedKeys;
pub use self::own::{OldKey, OwnKeys};
pub use self::published::{KeyError, PublishedKeys};
pub use self::server_keys::{ServerKeys, ServerKeysParts};

/// Where servers publish their keys.
const PATH: &str = "/_matrix/key/v2/server";
/// Where they tell those of others.
const QUERY_PATH: &str = "/_matrix/key/v2/query";

#[cfg(test)]
pub(crate) mod testing {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use ruma::signatures::Ed25519KeyPair;

    /// A key pair of this number, which is its version too.
    pub(crate) fn key_pair(number: u8) -> Ed25519KeyPair {
        const PREFIX: [u8; 16] =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let document: Vec<u8> = PREFIX.into_iter().chain([number; 32]).collect();
        Ed25519KeyPair::from_der(&document, number.to_string()).unwrap()
    }

    /// Its public half.
    pub(crate) fn public_key(key: &Ed25519KeyPair) -> String {
        STANDARD_NO_PAD.encode(key.public_key())
    }
}
