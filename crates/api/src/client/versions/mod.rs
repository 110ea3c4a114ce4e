//! `GET /_matrix/client/versions`
//!
//! A version is claimed when everything is there that it consists of: its own endpoints and those of all versions before.
//!
//! Version 1.1 and its predecessor r0.6.1 are claimed in any case: a client that finds no version it knows refuses to talk to the
//! server at all, and what is still missing of them it finds out by 404 `M_UNRECOGNIZED`. What is there of later versions is told by
//! the names that clients look for among the unstable features.

mod endpoints;

use axum::response::Response;

pub use self::endpoints::{SPECIFIED_ENDPOINTS, SpecifiedEndpoint};
use crate::extract::json_bytes;

/// Made by hand because it is asked for more often than anything else and never changes.
const DOCUMENT: &str = concat!(
    r#"{"versions":["r0.6.1","v1.1"],"unstable_features":{"#,
    // Threads in receipts, and in the counts of unread events.
    r#""org.matrix.msc3771":true,"org.matrix.msc3773":true,"#,
    // Threads told with their roots, and the list of threads.
    r#""org.matrix.msc3440.stable":true,"org.matrix.msc3856.stable":true,"#,
    // Private read receipts.
    r#""org.matrix.msc2285.stable":true,"#,
    // Rooms of given types in the directory.
    r#""org.matrix.msc3827.stable":true,"#,
    // Media behind access tokens.
    r#""org.matrix.msc3916.stable":true,"#,
    // Devices that are kept for clients to come, and places where two clients meet of which one logs the other in.
    r#""org.matrix.msc3814":true,"org.matrix.msc4108":true,"io.element.msc4388":true,"#,
    // Profile fields of any name.
    r#""uk.tcpip.msc4133.stable":true}}"#
);

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions>
pub(super) async fn versions() -> Response {
    json_bytes(DOCUMENT)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{DOCUMENT, SPECIFIED_ENDPOINTS};

    /// The newest version of the specification that the table was made from.
    const NEWEST: u8 = 19;

    #[test]
    fn a_version_is_claimed_when_nothing_of_it_is_missing() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let first_missing = SPECIFIED_ENDPOINTS.iter().filter(|it| !it.is_served).map(|it| it.since).min();
        let whole = (2..=NEWEST).take_while(|version| first_missing.is_none_or(|missing| *version < missing));
        let claimed: Vec<String> = ["r0.6.1", "v1.1"]
            .into_iter()
            .map(str::to_owned)
            .chain(whole.map(|version| format!("v1.{version}")))
            .collect();
        assert_eq!(document["versions"], serde_json::json!(claimed), "the first that is missing: {first_missing:?}");
    }

    #[test]
    fn the_table_knows_no_newer_version_than_the_claims() {
        assert_eq!(SPECIFIED_ENDPOINTS.iter().map(|it| it.since).max(), Some(NEWEST));
    }
}
