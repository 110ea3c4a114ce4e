//! EDUs that wait in memory for one destination.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::outbound::{EduSubject, OutboundEdu};

/// The most EDUs of one transaction.
///
/// <https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid>
pub const MAX_EDUS: usize = 100;
/// EDUs that wait for one destination. When there are more, the oldest are dropped.
const MAX_WAITING: usize = 500;

/// EDUs that wait for one destination, the oldest first. What is about the same subject is sent once, as it is by then.
#[derive(Default, Debug)]
pub struct WaitingEdus {
    order: VecDeque<EduSubject>,
    newest: HashMap<EduSubject, Bytes>,
}

impl WaitingEdus {
    /// Adds an EDU.
    pub fn push(&mut self, edu: &OutboundEdu) {
        if self.newest.insert(edu.subject.clone(), edu.json.clone()).is_some() {
            return;
        }
        self.order.push_back(edu.subject.clone());
        if self.order.len() > MAX_WAITING
            && let Some(oldest) = self.order.pop_front()
        {
            self.newest.remove(&oldest);
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The EDUs of the next transaction, which wait no longer.
    pub fn take(&mut self) -> Vec<Bytes> {
        let count = self.order.len().min(MAX_EDUS);
        let taken = self.order.drain(..count);
        taken.filter_map(|subject| self.newest.remove(&subject)).collect()
    }
}

#[cfg(test)]
mod tests {
    use homeserver_core::{RoomSn, UserSn};

    use super::*;

    fn edu(user: i64, json: &'static str) -> OutboundEdu {
        let subject = EduSubject::Typing(RoomSn(1), UserSn(user));
        OutboundEdu { subject, rooms: vec![RoomSn(1)], json: Bytes::from_static(json.as_bytes()) }
    }

    #[test]
    fn only_the_newest_about_a_subject_is_sent() {
        let mut waiting = WaitingEdus::default();
        for edu in [edu(1, "first"), edu(2, "other"), edu(1, "second")] {
            waiting.push(&edu);
        }
        assert_eq!(waiting.take(), ["second", "other"]);
        assert!(waiting.is_empty() && waiting.take().is_empty());
    }

    #[test]
    fn a_transaction_and_the_memory_are_bounded() {
        let mut waiting = WaitingEdus::default();
        (0..=600).for_each(|user| waiting.push(&edu(user, "edu")));
        let sizes: Vec<usize> = (0..6).map(|_| waiting.take().len()).collect();
        assert_eq!(sizes, [MAX_EDUS, MAX_EDUS, MAX_EDUS, MAX_EDUS, MAX_EDUS, 0]);
        assert!(waiting.newest.is_empty());
    }
}
