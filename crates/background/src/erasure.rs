//! Removing the names of an erased user's uploads.

use std::sync::Arc;

use accounts::jobs::ForgetUploadNames;
use homeserver_core::UserSn;
use media::ContentRepository;
use tasks::queue::{Handle, JobError, Run};

use super::REST;

/// Removes the names in small steps. After an interruption it continues with the names that are left.
pub struct UploadNames {
    media: Arc<ContentRepository>,
}

impl UploadNames {
    /// Removes names in `media`.
    #[must_use]
    pub fn new(media: Arc<ContentRepository>) -> Self {
        Self { media }
    }
}

impl Handle<ForgetUploadNames> for UploadNames {
    async fn run(&self, job: ForgetUploadNames, run: &Run) -> Result<(), JobError> {
        let mut done = 0;
        loop {
            let forgotten = self.media.forget_names_of(UserSn(job.user_sn)).await? as u64;
            if forgotten == 0 {
                return Ok(());
            }
            done += forgotten;
            run.progress(done, 0, "Removing the names of an erased user's uploads").await;
            tokio::time::sleep(REST).await;
        }
    }
}
