//! `/_matrix/client/v3/keys/…`

pub(super) mod changes;
pub(super) mod claim;
pub(super) mod device_signing;
pub(super) mod query;
pub(super) mod signatures;
pub(super) mod upload;
