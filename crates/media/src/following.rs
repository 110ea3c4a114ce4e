//! Following the changes of media by other nodes.

use std::sync::Arc;

use storage::{LogEntry, LogObserver};

use super::ContentRepository;

impl ContentRepository {
    /// Follows the log from now on: an upload to another node wakes requests that wait for it, and a change there removes the
    /// cached row here.
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
