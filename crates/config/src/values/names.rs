use ruma::{OwnedServerName, RoomVersionId, ServerName};
use serde::Deserializer;

use super::parsed;

/// A server name by [Matrix's grammar](https://spec.matrix.org/v1.19/appendices/#server-name).
pub(crate) fn server_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OwnedServerName, D::Error> {
    parsed(deserializer, "a Matrix server name such as \"example.org\" or \"10.0.0.1:8448\"", |text| {
        // The grammar's limit for user IDs and room aliases leaves at most this much for the name.
        (text.len() <= 230).then(|| ServerName::parse(text).ok()).flatten()
    })
}

/// One of the stable [room versions](https://spec.matrix.org/v1.19/rooms/).
pub(crate) fn room_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RoomVersionId, D::Error> {
    parsed(deserializer, "a room version from \"1\" to \"12\"", |text| {
        let number: u8 = text.parse().ok()?;
        let canonical = number.to_string() == text && (1..=12).contains(&number);
        canonical.then(|| RoomVersionId::try_from(text).ok()).flatten()
    })
}
