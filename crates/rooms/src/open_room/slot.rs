//! Where a room's head is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use homeserver_core::HeapSize;
use tokio::sync::Mutex;

use crate::head::Head;

/// A room's head, or nothing if it must be read again. The holder of the lock may build events.
#[derive(Clone, Default)]
pub(crate) struct HeadSlot {
    pub(crate) head: Arc<Mutex<Option<Head>>>,
    /// The heap bytes of the head when its lock was last released.
    pub(crate) head_bytes: Arc<AtomicUsize>,
    /// Whether another process has written to the room since the head was read.
    pub(crate) is_behind: Arc<AtomicBool>,
}

impl HeapSize for HeadSlot {
    fn heap_bytes(&self) -> usize {
        /// The three fields with their reference counts, as the allocator gives them.
        const FIXED_BYTES: usize = size_of::<Mutex<Option<Head>>>() + 96;
        FIXED_BYTES + self.head_bytes.load(Ordering::Relaxed)
    }
}
