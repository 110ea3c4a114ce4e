//! What follows from the erasure of a user's content.

use std::sync::Arc;

use homeserver_core::UserSn;
use serde::{Deserialize, Serialize};
use tasks::queue::{Handle, Job, JobError, Priority, Run};

use super::REST;
use crate::media::ContentRepository;

/// What a user has called uploads is to be forgotten.
#[derive(Clone, Copy, Serialize, Deserialize, Debug)]
pub struct ForgetUploadNames {
    /// The user's number.
    pub user_sn: i64,
}

impl Job for ForgetUploadNames {
    const NAME: &str = "forget_upload_names";
    const PRIORITY: Priority = Priority::Normal;

    fn key(&self) -> Option<String> {
        Some(self.user_sn.to_string())
    }
}

/// Does that, in small steps. What is left when it is interrupted is found again.
pub struct UploadNames {
    media: Arc<ContentRepository>,
}

impl UploadNames {
    /// Forgets names in `media`.
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
            run.progress(done, 0, "Forgetting what an erased user called uploads").await;
            tokio::time::sleep(REST).await;
        }
    }
}
