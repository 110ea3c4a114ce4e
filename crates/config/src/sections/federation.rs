use std::collections::BTreeMap;

use ruma::OwnedServerName;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::values::server_name;

/// Talking to other homeservers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Federation {
    /// Whether this server talks to others at all.
    pub enabled: bool,
    /// Where a server is, instead of asking for it by server discovery: `{ "hs2" = "127.0.0.2:8448" }`.
    #[serde(deserialize_with = "addresses")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub server_addresses: BTreeMap<OwnedServerName, OwnedServerName>,
    /// Servers that are asked for the keys of other servers, and trusted with them.
    #[serde(deserialize_with = "names")]
    #[schemars(with = "Vec<String>")]
    pub trusted_key_servers: Vec<OwnedServerName>,
}

impl Default for Federation {
    fn default() -> Self {
        Self { enabled: true, server_addresses: BTreeMap::new(), trusted_key_servers: Vec::new() }
    }
}

/// A server name inside a list or a table. The grammar of an address is that of a server name.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Name(#[serde(deserialize_with = "server_name")] OwnedServerName);

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OwnedServerName>, D::Error> {
    Ok(Vec::<Name>::deserialize(deserializer)?.into_iter().map(|name| name.0).collect())
}

fn addresses<'de, D>(deserializer: D) -> Result<BTreeMap<OwnedServerName, OwnedServerName>, D::Error>
where
    D: Deserializer<'de>,
{
    let addresses = BTreeMap::<Name, Name>::deserialize(deserializer)?;
    Ok(addresses.into_iter().map(|(name, address)| (name.0, address.0)).collect())
}
