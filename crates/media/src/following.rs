//! Noticing what other nodes do with media.

use std::sync::Arc;

use storage::{LogEntry, LogObserver};

use super::ContentRepository;

impl ContentRepository {
    /// Follows the log from now on: whoever waits for a content is told when it was uploaded to another node, and what was changed
    /// there is forgotten here.
    pub fn follow(self: &Arc<Self>) {
        self.database.observe(self.clone());
    }
}

impl LogObserver<LogEntry> for ContentRepository {
    fn committed(&self, _: &[LogEntry]) {}

    fn committed_elsewhere(&self, entries: &[LogEntry]) {
        for entry in entries {
            let LogEntry::Media { media, .. } = entry else { continue };
            for key in media.iter() {
                self.contents.remove(key);
                self.arrived(key.clone());
            }
        }
    }
}
