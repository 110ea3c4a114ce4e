//! EDUs that wait for one destination.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::edus::outbound::EduSubject;

/// EDUs that wait in memory for one destination. When there are more, the oldest is left out: nobody keeps them for good.
const MAX_WAITING: usize = 300;

/// EDUs that wait for one destination: one for each subject, the newest. Nothing of it outlives the process.
#[derive(Default, Debug)]
pub(super) struct WaitingEdus {
    order: VecDeque<EduSubject>,
    by_subject: HashMap<EduSubject, Bytes>,
}

impl WaitingEdus {
    /// Adds an EDU in place of an older one about the same.
    pub(super) fn push(&mut self, subject: &EduSubject, json: &Bytes) {
        if self.by_subject.insert(subject.clone(), json.clone()).is_some() {
            return;
        }
        self.order.push_back(subject.clone());
        if self.order.len() > MAX_WAITING
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_subject.remove(&oldest);
        }
    }

    /// The first EDUs, at most `limit`.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Bytes> {
        let count = self.order.len().min(limit);
        self.order.drain(..count).filter_map(|subject| self.by_subject.remove(&subject)).collect()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use homeserver_core::{RoomSn, UserSn};

    use super::*;

    #[test]
    fn only_the_newest_about_a_subject_waits_and_not_for_ever() {
        let mut edus = WaitingEdus::default();
        let typing = |room| EduSubject::Typing(RoomSn(room), UserSn(1));
        edus.push(&typing(0), &Bytes::from_static(b"old"));
        edus.push(&typing(1), &Bytes::from_static(b"1"));
        edus.push(&typing(0), &Bytes::from_static(b"new"));
        assert_eq!(edus.take(1), [&b"new"[..]]);
        assert_eq!(edus.take(9), [&b"1"[..]]);
        assert!(edus.is_empty());
        for room in 0..1_000 {
            edus.push(&typing(room), &Bytes::from_static(b"x"));
        }
        assert_eq!(edus.take(9_999).len(), MAX_WAITING);
        assert!(edus.is_empty() && edus.by_subject.is_empty());
    }
}
