//! Blocks of messages as they are stored.
//!
//! The messages of a block are in the order of their rooms, so that those of a user's rooms are stretches. All numbers are differences
//! to the one before, in groups of seven bits.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use homeserver_core::{EventSn, RoomSn};

/// A block in the making.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    messages: Vec<(RoomSn, EventSn, BTreeSet<i64>)>,
    terms: usize,
}

/// A block as it is stored.
pub(crate) struct EncodedBlock {
    pub(crate) documents: Vec<u8>,
    pub(crate) postings: Vec<(i64, Vec<u8>)>,
}

impl BlockBuilder {
    pub(crate) fn add(&mut self, room_sn: RoomSn, event_sn: EventSn, terms: BTreeSet<i64>) {
        self.terms += terms.len();
        self.messages.push((room_sn, event_sn, terms));
    }

    /// How many terms the messages have together.
    pub(crate) fn terms(&self) -> usize {
        self.terms
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn encode(mut self) -> EncodedBlock {
        self.messages.sort_unstable_by_key(|(room_sn, event_sn, _)| (*room_sn, *event_sn));
        let mut postings: BTreeMap<i64, (Vec<u8>, u64)> = BTreeMap::new();
        let mut documents = Vec::with_capacity(self.messages.len() * 4);
        let (mut room, mut event) = (0, 0);
        for (number, (room_sn, event_sn, terms)) in (0_u64..).zip(&self.messages) {
            // A difference of rooms begins a new stretch, whose first event is told whole.
            let step = room_sn.0.wrapping_sub(room);
            if step != 0 {
                event = 0;
            }
            push(&mut documents, step.cast_unsigned());
            push(&mut documents, event_sn.0.wrapping_sub(event).cast_unsigned());
            (room, event) = (room_sn.0, event_sn.0);
            for term in terms {
                let (list, last) = postings.entry(*term).or_default();
                push(list, number.wrapping_sub(*last));
                *last = number;
            }
        }
        EncodedBlock { documents, postings: postings.into_iter().map(|(term, (list, _))| (term, list)).collect() }
    }
}

/// The events of a block that have all of some terms, given the lists of these terms, and are of some rooms.
pub(crate) fn found(documents: &[u8], lists: &[&[u8]], rooms: &HashSet<RoomSn>) -> Vec<EventSn> {
    let mut wanted: Option<HashSet<u64>> = None;
    for list in lists {
        let mut last = 0_u64;
        let numbers = numbers(list).map(|step| {
            last = last.wrapping_add(step);
            last
        });
        wanted = Some(match wanted {
            None => numbers.collect(),
            Some(wanted) => numbers.filter(|number| wanted.contains(number)).collect(),
        });
    }
    let (mut room, mut event) = (0_i64, 0_i64);
    let mut found = Vec::new();
    let mut steps = numbers(documents);
    for number in 0_u64.. {
        let (Some(room_step), Some(event_step)) = (steps.next(), steps.next()) else { break };
        if room_step != 0 {
            room = room.wrapping_add(room_step.cast_signed());
            event = 0;
        }
        event = event.wrapping_add(event_step.cast_signed());
        if wanted.as_ref().is_none_or(|wanted| wanted.contains(&number)) && rooms.contains(&RoomSn(room)) {
            found.push(EventSn(event));
        }
    }
    found
}

fn push(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// The numbers in bytes, up to the first that is cut off or too large.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (first, after) = rest.split_first()?;
            rest = after;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_finds_the_messages_with_all_terms_in_the_given_rooms() {
        let mut builder = BlockBuilder::default();
        for (room, event, terms) in
            [(7, 100, vec![1, 2]), (3, 90, vec![1]), (7, 5_000_000_000, vec![2, 9]), (3, 101, vec![1, 2, 9])]
        {
            builder.add(RoomSn(room), EventSn(event), terms.into_iter().collect());
        }
        assert_eq!(builder.len(), 4);
        let EncodedBlock { documents, postings } = builder.encode();
        let found = |terms: &[i64], rooms: &[i64]| {
            let of_term = |term: &i64| postings.iter().find(|(it, _)| it == term).map(|(_, list)| list.as_slice());
            let lists: Vec<&[u8]> = terms.iter().filter_map(of_term).collect();
            let rooms = rooms.iter().map(|room| RoomSn(*room)).collect();
            super::found(&documents, &lists, &rooms).into_iter().map(|event| event.0).collect::<Vec<_>>()
        };
        assert_eq!(found(&[1, 2], &[3, 7]), [101, 100]);
        assert_eq!(found(&[2], &[7]), [100, 5_000_000_000]);
        assert_eq!(found(&[], &[3]), [90, 101]);
        assert!(found(&[1, 2, 9], &[7]).is_empty());
    }

    #[test]
    fn bytes_that_are_cut_off_find_what_is_before() {
        assert_eq!(numbers(&[5, 0x80]).collect::<Vec<_>>(), [5]);
        assert!(super::found(&[0xff; 40], &[&[0x80]], &HashSet::from([RoomSn(0)])).is_empty());
    }
}
