//! What holds of any transaction.

use replication::edus::Edu;
use replication::receiving::Transaction;
use room_engine::RoomVersion;
use room_engine::receipt::ReceivedPdu;

const VERSIONS: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

/// Panics if it does not hold.
pub(crate) fn check(input: &[u8]) {
    let Ok(transaction) = serde_json::from_slice::<Transaction>(input) else { return };
    for edu in &transaction.edus {
        if let Ok(edu) = serde_json::from_str::<Edu>(edu.get()) {
            assert!(input.len() >= edu.content.get().len(), "what is read is in the transaction");
        }
    }
    let count = transaction.pdus.len();
    let rooms = transaction.by_room();
    assert!(rooms.values().map(Vec::len).sum::<usize>() <= count, "no event is in two rooms");
    for (room_id, pdus) in &rooms {
        for pdu in pdus {
            for version in VERSIONS {
                let version: RoomVersion = version.parse().unwrap();
                let Ok(received) = ReceivedPdu::parse(version, Some(room_id), pdu) else { continue };
                assert_eq!(received.event().room_id(), &**room_id, "the event is in the room that it names");
                assert!(received.needed_signatures().len() <= 1_000, "so many signatures are never needed");
            }
        }
    }
}
