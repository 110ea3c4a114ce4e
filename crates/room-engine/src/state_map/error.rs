use super::ChunkId;

/// Why an operation on a state map has no result yet, or cannot have one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateMapError {
    /// Chunks have to be loaded first. The caller adds them to its [`Chunks`](super::Chunks) and calls again; what it
    /// had added before must still be there.
    #[error("{} chunks of the state have to be loaded first", .0.len())]
    Missing(Vec<ChunkId>),
    /// A chunk does not say what it should: the storage is damaged.
    #[error("chunk {id} of the state is corrupt: {reason}")]
    Corrupt {
        /// The chunk.
        id: ChunkId,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The changes are not in the order of their places, or there are two for one place.
    #[error("the changes of the state are not in the order of their places, each once")]
    Unsorted,
}

/// Gathers what is missing for a whole step, so that the caller can load it in one go.
#[derive(Debug, Default)]
pub(super) struct Wanted(Vec<ChunkId>);

impl Wanted {
    /// The value, or `None` when something is missing for it, which is noted.
    pub(super) fn note<T>(&mut self, result: Result<T, StateMapError>) -> Result<Option<T>, StateMapError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(StateMapError::Missing(ids)) => {
                self.0.extend(ids);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the step: an error when anything was missing.
    pub(super) fn finish(mut self) -> Result<(), StateMapError> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_unstable();
        self.0.dedup();
        Err(StateMapError::Missing(self.0))
    }
}
