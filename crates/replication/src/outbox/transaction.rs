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
    pub(super) edus: &'a [Bytes],
}

impl Transaction<'_> {
    /// The body of the request. The PDUs in it are copied as they are.
    pub(super) fn to_json(&self) -> Bytes {
        let Self { origin, now, pdus, edus } = self;
        let texts = || pdus.iter().map(|pdu| &pdu.json).chain(edus.iter());
        let size: usize = texts().map(|json| json.len() + 1).sum();
        let mut json = Vec::with_capacity(size + origin.as_str().len() + 100);
        // The name of a server needs no escapes.
        json.extend_from_slice(format!(r#"{{"origin":"{origin}","origin_server_ts":{},"pdus":["#, now.0).as_bytes());
        push_all(&mut json, pdus.iter().map(|pdu| &pdu.json));
        if !edus.is_empty() {
            json.extend_from_slice(br#"],"edus":["#);
            push_all(&mut json, edus.iter());
        }
        json.extend_from_slice(b"]}");
        json.into()
    }
}

fn push_all<'a>(json: &mut Vec<u8>, texts: impl Iterator<Item = &'a Bytes>) {
    for (number, text) in texts.enumerate() {
        if number > 0 {
            json.push(b',');
        }
        json.extend_from_slice(text);
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
                Transaction { origin: server_name!("[::1]:8448"), now: Timestamp(5), pdus: &pdus[..count], edus: &[] };
            let read: Value = serde_json::from_slice(&transaction.to_json()).unwrap();
            let expected: Vec<Value> = [json!({ "a": 1 }), json!({ "b": "ä" })].into_iter().take(count).collect();
            assert_eq!(read, json!({ "origin": "[::1]:8448", "origin_server_ts": 5, "pdus": expected }));
        }
        let edus = [Bytes::from_static(br#"{"edu_type":"m.typing"}"#)];
        let transaction = Transaction { origin: server_name!("a.example"), now: Timestamp(5), pdus: &[], edus: &edus };
        let read: Value = serde_json::from_slice(&transaction.to_json()).unwrap();
        assert_eq!((&read["pdus"], &read["edus"]), (&json!([]), &json!([{ "edu_type": "m.typing" }])));
    }
}
