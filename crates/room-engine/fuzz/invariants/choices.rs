//! Bytes as choices, for targets whose input is not a text.

/// Reads bytes as answers to small questions. Every input answers all of them: at its end each answer is the first one.
pub(crate) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// A number below `limit`, which is at most 65536 and not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let byte = usize::from(self.byte());
        if limit <= 256 { byte % limit } else { (byte << 8 | usize::from(self.byte())) % limit }
    }

    pub(crate) fn pick<T: Copy>(&mut self, answers: &[T]) -> T {
        answers[self.below(answers.len())]
    }
}
