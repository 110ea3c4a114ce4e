//! `/_matrix/client/v3/keys/…`

pub(super) mod changes;
pub(super) mod claim;
pub(super) mod dehydrated;
pub(super) mod device_signing;
pub(super) mod query;
pub(super) mod signatures;
pub(super) mod upload;

use std::time::Duration;

/// How long other servers may take if the client does not say, and at most.
const USUAL_PATIENCE: Duration = Duration::from_secs(10);
const MAX_PATIENCE: Duration = Duration::from_secs(20);

/// How long other servers may take.
fn patience(timeout_ms: Option<u64>) -> Duration {
    timeout_ms.map_or(USUAL_PATIENCE, Duration::from_millis).min(MAX_PATIENCE)
}
