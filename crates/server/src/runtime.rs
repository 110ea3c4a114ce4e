use tokio::runtime::{Builder, Runtime};

use crate::StartError;

/// Deep but finite recursion (nested JSON, large futures in debug builds) has room in this much.
const STACK_SIZE_BYTES: usize = 4 << 20;

/// The runtime that a server runs on.
pub(crate) fn build(worker_threads: usize) -> Result<Runtime, StartError> {
    Builder::new_multi_thread()
        .worker_threads(worker_threads)
        .thread_name("synapse-worker")
        .thread_stack_size(STACK_SIZE_BYTES)
        .enable_all()
        .build()
        .map_err(StartError::Runtime)
}
