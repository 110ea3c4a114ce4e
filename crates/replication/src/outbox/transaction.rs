//! What is sent to a destination at once.

use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::Timestamp;
use ruma::ServerName;

use super::destination::OutgoingPdu;

/// What is sent to a destination at once.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid>
pub(super) struct Transaction<'a> {
    pub(super) origin: &'a ServerName,
    pub(super) now: Timestamp,
    pub(super) pdus: &'a [Arc<OutgoingPdu>],
}

impl Transaction<'_> {
    /// The body of the request. The PDUs in it are copied as they are.
    pub(super) fn to_json(&self) -> Bytes {
        let Self { origin, now, pdus } = self;
        let size: usize = pdus.iter().map(|pdu| pdu.json.len() + 1).sum();
        let mut json = Vec::with_capacity(size + origin.as_str().len() + 100);
        // The name of a server needs no escapes.
        json.extend_from_slice(format!(r#"{{"origin":"{origin}","origin_server_ts":{},"pdus":["#, now.0).as_bytes());
        for (number, pdu) in pdus.iter().enumerate() {
            if number > 0 {
                json.push(b',');
            }
            json.extend_from_slice(&pdu.json);
        }
        json.extend_from_slice(b"]}");
        json.into()
    }
}

#[cfg(test)]
mod tests {
    use homeserver_core::Position;
    use ruma::server_name;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_transaction_is_json() {
        let pdu = |json: &'static str| {
            Arc::new(OutgoingPdu { position: Position(1), json: Bytes::from_static(json.as_bytes()) })
        };
        let pdus = [pdu(r#"{"a":1}"#), pdu(r#"{"b":"ä"}"#)];
        for count in 0..=2 {
            let transaction =
                Transaction { origin: server_name!("[::1]:8448"), now: Timestamp(5), pdus: &pdus[..count] };
            let read: Value = serde_json::from_slice(&transaction.to_json()).unwrap();
            let expected: Vec<Value> = [json!({ "a": 1 }), json!({ "b": "ä" })].into_iter().take(count).collect();
            assert_eq!(read, json!({ "origin": "[::1]:8448", "origin_server_ts": 5, "pdus": expected }));
        }
    }
}
