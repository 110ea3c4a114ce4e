//! The answers to transactions that came a short while ago, or are being worked on.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};
use tokio::sync::OnceCell;

/// So many transactions are remembered.
const REMEMBERED: usize = 2_000;
/// Of the ID of a transaction, so many bytes are kept.
const MAX_ID_BYTES: usize = 255;

/// A server and the ID of its transaction.
type Key = (OwnedServerName, Box<str>);
/// The answer, once there is one.
type Slot = Arc<OnceCell<Bytes>>;

#[derive(Default)]
pub(super) struct Answered(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    slots: HashMap<Key, Slot>,
    /// The oldest first.
    order: VecDeque<Key>,
}

impl Answered {
    /// Where the answer to a transaction is, or will be.
    pub(super) fn slot(&self, origin: &ServerName, transaction_id: &str) -> Slot {
        if transaction_id.len() > MAX_ID_BYTES {
            return Slot::default();
        }
        let key: Key = (origin.to_owned(), transaction_id.into());
        let mut remembered = self.0.lock();
        if let Some(slot) = remembered.slots.get(&key) {
            return slot.clone();
        }
        if remembered.order.len() >= REMEMBERED
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.slots.remove(&oldest);
        }
        let slot = Slot::default();
        remembered.slots.insert(key.clone(), slot.clone());
        remembered.order.push_back(key);
        slot
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    #[test]
    fn a_repeated_transaction_finds_the_slot_of_the_first_until_there_were_many_others() {
        let answered = Answered::default();
        let (one, other) = (server_name!("one.example"), server_name!("other.example"));
        let first = answered.slot(one, "1");
        assert!(Arc::ptr_eq(&first, &answered.slot(one, "1")));
        assert!(!Arc::ptr_eq(&first, &answered.slot(other, "1")));
        for number in 2..REMEMBERED {
            answered.slot(one, &number.to_string());
        }
        assert!(Arc::ptr_eq(&first, &answered.slot(one, "1")));
        answered.slot(other, "2");
        assert!(!Arc::ptr_eq(&first, &answered.slot(one, "1")));
        assert_eq!(answered.0.lock().slots.len(), REMEMBERED);
    }
}
