use std::collections::HashSet;

use room_engine::state_map::ChunkId;

use super::CollectorLimits;

/// Which chunks of a range of IDs are needed. The range ends earlier when it turns out to have too many of them.
pub(super) struct Marks {
    limits: CollectorLimits,
    after: ChunkId,
    last: ChunkId,
    marked: HashSet<ChunkId>,
    /// Some of the chunks, of all IDs, below which everything is marked or about to be.
    visited: HashSet<ChunkId>,
}

impl Marks {
    pub(super) fn new(limits: CollectorLimits) -> Self {
        let (marked, visited) = (HashSet::new(), HashSet::new());
        Self { limits, after: ChunkId::EMPTY, last: ChunkId::LAST, marked, visited }
    }

    /// Starts over with the IDs after `after`.
    pub(super) fn begin(&mut self, after: ChunkId) {
        (self.after, self.last) = (after, ChunkId::LAST);
        self.marked.clear();
        self.visited.clear();
    }

    /// The range begins after this ID.
    pub(super) fn after(&self) -> ChunkId {
        self.after
    }

    /// The last ID of the range.
    pub(super) fn last(&self) -> ChunkId {
        self.last
    }

    pub(super) fn insert(&mut self, id: ChunkId) {
        if self.after < id && id <= self.last && self.marked.insert(id) && self.marked.len() > self.limits.marks {
            self.give_up_upper_half();
        }
    }

    pub(super) fn contains(&self, id: &ChunkId) -> bool {
        self.marked.contains(id)
    }

    /// Whether the chunk has to be read for its children. Forgetting that it was costs time and nothing else.
    pub(super) fn visit(&mut self, id: ChunkId) -> bool {
        if self.visited.len() >= self.limits.visited {
            self.visited.clear();
        }
        self.visited.insert(id)
    }

    /// The chunk was not there when its children were to be marked. If it comes back, it has to be read.
    pub(super) fn forget_visit(&mut self, id: &ChunkId) {
        self.visited.remove(id);
    }

    fn give_up_upper_half(&mut self) {
        let mut ids: Vec<ChunkId> = self.marked.iter().copied().collect();
        let middle = ids.len() / 2;
        let (_, median, _) = ids.select_nth_unstable(middle);
        self.last = *median;
        self.marked.retain(|id| *id <= self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: u8) -> ChunkId {
        let mut bytes = [0; ChunkId::BYTES];
        bytes[0] = first;
        ChunkId::from(bytes)
    }

    #[test]
    fn ranges_with_too_many_marks_follow_each_other_without_a_gap() {
        let mut marks = Marks::new(CollectorLimits { marks: 16, visited: 4, at_once: 1 });
        let mut after = ChunkId::EMPTY;
        let mut marked = Vec::new();
        while after < ChunkId::LAST {
            marks.begin(after);
            (1..=255).rev().for_each(|first| marks.insert(id(first)));
            assert!(marks.marked.len() <= 16);
            assert!(after < marks.last());
            let in_range = (1..=255).filter(|first| after < id(*first) && id(*first) <= marks.last());
            let in_range: Vec<u8> = in_range.collect();
            assert!(in_range.iter().all(|first| marks.contains(&id(*first))));
            marked.extend(in_range);
            after = marks.last();
        }
        assert_eq!(marked, (1..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn what_was_visited_is_remembered_up_to_a_limit() {
        let mut marks = Marks::new(CollectorLimits { marks: 16, visited: 2, at_once: 1 });
        assert_eq!([1, 1, 2, 1, 3, 1].map(|first| marks.visit(id(first))), [true, false, true, true, true, true]);
        assert!(marks.visited.len() <= 2);
        marks.forget_visit(&id(1));
        assert!(marks.visit(id(1)));
    }
}
