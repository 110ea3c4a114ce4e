//! What holds of any answer to a join.

use replication::requests::{JoinAnswer, JoinAnswerReader};
use serde_json::Value;

/// Panics if it does not hold.
pub(crate) fn check(input: &[u8]) {
    let whole = read(input, input.len().max(1));
    for piece_bytes in [1, 3, 64] {
        let in_pieces = read(input, piece_bytes);
        assert_eq!(whole.is_ok(), in_pieces.is_ok(), "in pieces of {piece_bytes} bytes: {in_pieces:?}");
        if let (Ok(whole), Ok(in_pieces)) = (&whole, &in_pieces) {
            assert_eq!((&whole.state, &whole.auth_chain), (&in_pieces.state, &in_pieces.auth_chain));
            assert_eq!((&whole.event, whole.members_omitted), (&in_pieces.event, in_pieces.members_omitted));
        }
    }
    let (Ok(answer), Ok(Value::Object(object))) = (whole, serde_json::from_slice(input)) else { return };
    // Of a key that is there twice, JSON has only one.
    let text = String::from_utf8_lossy(input);
    if ["\"state\"", "\"auth_chain\"", "\"event\""].iter().any(|key| text.matches(key).count() > 1) {
        return;
    }
    for (key, events) in [("state", &answer.state), ("auth_chain", &answer.auth_chain)] {
        let Some(Value::Array(expected)) = object.get(key) else { continue };
        let read: Vec<Value> = events.iter().map(|event| serde_json::from_slice(event).unwrap()).collect();
        assert_eq!(&read, expected, "the events of `{key}`");
    }
}

fn read(input: &[u8], piece_bytes: usize) -> Result<JoinAnswer, &'static str> {
    let mut reader = JoinAnswerReader::default();
    for piece in input.chunks(piece_bytes) {
        reader.push(piece)?;
    }
    reader.finish()
}
