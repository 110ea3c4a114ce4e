//! What follows from a change of an account, as jobs: the `background` crate does their work.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tasks::queue::{Job, Priority};

/// How long a request waits for the job that it has caused, so that its client finds the outcome if there is little to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The member events of a user are to say what the profile says.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct UpdateMemberProfile {
    /// The user's number.
    pub user_sn: i64,
    /// The field that has changed: what a user says in one room only of the other one stays. `None`, as in jobs of earlier
    /// versions, for both.
    #[serde(default)]
    pub field: Option<String>,
}

impl Job for UpdateMemberProfile {
    const NAME: &str = "update_member_profile";
    const PRIORITY: Priority = Priority::Urgent;

    fn key(&self) -> Option<String> {
        Some(self.field.as_ref().map_or_else(|| self.user_sn.to_string(), |field| format!("{} {field}", self.user_sn)))
    }
}

/// A user is to leave all rooms, because the account is closed.
#[derive(Clone, Copy, Serialize, Deserialize, Debug)]
pub struct LeaveAllRooms {
    /// The user's number.
    pub user_sn: i64,
}

impl Job for LeaveAllRooms {
    const NAME: &str = "leave_all_rooms";
    const PRIORITY: Priority = Priority::Urgent;

    fn key(&self) -> Option<String> {
        Some(self.user_sn.to_string())
    }
}

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
