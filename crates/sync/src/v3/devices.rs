//! What a device is told: its messages, whose keys have changed, and how many of its own keys are left.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#e2e-extensions-to-sync>

use std::sync::Arc;

use accounts::sessions::Requester;
use encryption::device_lists::{DeviceListChanges, DeviceLists};
use encryption::keys::Keys;
use encryption::to_device::ToDevice;
use homeserver_core::Position;
use rooms::RoomError;
use rooms::wire::{push_number, push_string, write_list};
use storage::KeyCounts;

use super::Sync;
use super::answer::Answer;
use crate::providers::Pass;

/// The algorithm of the one-time keys that clients in use ask for. They take it for unknown how many there are if it is not told.
const USUAL_ALGORITHM: &str = "signed_curve25519";

/// Where it is known what devices are told.
pub struct SyncedDevices {
    /// Messages to devices.
    pub to_device: Arc<ToDevice>,
    /// Which keys are left.
    pub keys: Arc<Keys>,
    /// Whose keys have changed.
    pub device_lists: Arc<DeviceLists>,
}

impl Sync {
    /// The client has the messages to its device up to `received`.
    pub(super) async fn note_delivered(
        &self,
        requester: &Requester,
        received: Option<Position>,
    ) -> Result<(), RoomError> {
        if let (Some(devices), Some(device_sn), Some(received)) = (&self.devices, requester.device_sn, received) {
            devices.to_device.delivered(device_sn, received).await?;
        }
        Ok(())
    }

    /// Adds messages to the device, and whose keys have changed.
    pub(super) async fn add_device_news(
        &self,
        pass: &Pass<'_>,
        received: Option<Position>,
        answer: &mut Answer,
    ) -> Result<(), RoomError> {
        let Some(devices) = &self.devices else { return Ok(()) };
        if let Some(device_sn) = pass.requester.device_sn {
            let received = received.unwrap_or(Position::START);
            answer.set_to_device(devices.to_device.messages(device_sn, received, pass.to).await?);
        }
        if let Some(from) = pass.from {
            answer.set_device_lists(devices.device_lists.changes(pass.requester.user_sn, from, pass.to).await?);
        }
        Ok(())
    }

    /// Adds which keys of the device are left, which is in every answer.
    pub(super) async fn add_key_counts(&self, requester: &Requester, answer: &mut Answer) -> Result<(), RoomError> {
        if let (Some(devices), Some(device_sn)) = (&self.devices, requester.device_sn) {
            answer.set_key_counts(devices.keys.counts(device_sn).await?);
        }
        Ok(())
    }
}

pub(super) fn write_device_lists(out: &mut Vec<u8>, changes: &DeviceListChanges) {
    out.extend_from_slice(b",\"device_lists\":{\"changed\":");
    write_list(out, &changes.changed, |out, user_id| push_string(out, user_id));
    out.extend_from_slice(b",\"left\":");
    write_list(out, &changes.left, |out, user_id| push_string(out, user_id));
    out.push(b'}');
}

pub(super) fn write_key_counts(out: &mut Vec<u8>, counts: &KeyCounts) {
    out.extend_from_slice(b",\"device_one_time_keys_count\":{");
    push_string(out, USUAL_ALGORITHM);
    out.push(b':');
    push_number(out, counts.one_time_keys.get(USUAL_ALGORITHM).copied().unwrap_or(0));
    for (algorithm, count) in counts.one_time_keys.iter().filter(|(algorithm, _)| *algorithm != USUAL_ALGORITHM) {
        out.push(b',');
        push_string(out, algorithm);
        out.push(b':');
        push_number(out, *count);
    }
    out.extend_from_slice(b"},\"device_unused_fallback_key_types\":");
    let unused: Vec<&String> = counts.unused_fallback_keys.iter().collect();
    write_list(out, &unused, |out, algorithm| push_string(out, algorithm));
}
