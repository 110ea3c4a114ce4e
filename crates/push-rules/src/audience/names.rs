//! Finding the members whose display name may be in a message.

use std::collections::HashMap;

use crate::{DisplayName, words::Body};

/// Seats by a word of the display name, of those members whose rules ask for the name.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_word: HashMap<u64, Vec<usize>>,
    /// Names without a word of ASCII letters, digits and underscores.
    without_word: Vec<usize>,
}

impl Names {
    pub(super) fn insert(&mut self, name: &DisplayName, seat: usize) {
        match name.word() {
            Some(word) => self.by_word.entry(word).or_default().push(seat),
            None => self.without_word.push(seat),
        }
    }

    pub(super) fn remove(&mut self, name: &DisplayName, seat: usize) {
        let Some(word) = name.word() else {
            self.without_word.retain(|other| *other != seat);
            return;
        };
        if let Some(seats) = self.by_word.get_mut(&word) {
            seats.retain(|other| *other != seat);
            if seats.is_empty() {
                self.by_word.remove(&word);
            }
        }
    }

    /// The seats of the members whose name may be in the body, each once.
    pub(super) fn candidates(&self, body: &Body<'_>) -> impl Iterator<Item = usize> {
        let words = if self.by_word.is_empty() { &[] } else { body.words() };
        let worded = words.iter().filter_map(|word| self.by_word.get(word)).flatten();
        worded.chain(&self.without_word).copied()
    }
}
