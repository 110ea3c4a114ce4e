//! Compiled patterns, shared by the rules of all users.

use std::sync::Arc;

use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::Glob;

/// Bytes that a compiled pattern takes beside its text, about.
const GLOB_BYTES: u64 = 640;

/// Compiled patterns by their text. Reads take a shared lock of one of several shards.
#[derive(Debug)]
pub struct PatternCache(pub(crate) Cache<Box<str>, Arc<Glob>, PatternBytes>);

#[derive(Debug, Clone)]
pub(crate) struct PatternBytes;

impl Weighter<Box<str>, Arc<Glob>> for PatternBytes {
    fn weight(&self, pattern: &Box<str>, _: &Arc<Glob>) -> u64 {
        GLOB_BYTES + 12 * u64::try_from(pattern.len()).unwrap_or(u64::MAX / 8)
    }
}

impl PatternCache {
    /// A cache of at most about that many bytes.
    pub fn new(max_bytes: u64) -> Self {
        let patterns = usize::try_from(max_bytes / GLOB_BYTES).unwrap_or(usize::MAX);
        Self(Cache::with(patterns, max_bytes, PatternBytes, Default::default(), DefaultLifecycle::default()))
    }

    /// The pattern, compiled now or before.
    pub fn glob(&self, pattern: &str) -> Arc<Glob> {
        if let Some(glob) = self.0.get(pattern) {
            return glob;
        }
        let glob = Arc::new(Glob::new(pattern));
        self.0.insert(pattern.into(), Arc::clone(&glob));
        glob
    }
}
