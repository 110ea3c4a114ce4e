//! Frequent writes are data. The writer writes all of a kind that are in a batch with a few statements.
//!
//! A kind is a variant of [`Frequent`], with a function that writes many of it. A function reads, if it has to, only what no other
//! process changes before the commit: [`Frequent::positions`] has the log locked before.

use homeserver_core::{DeviceSn, Position};

use crate::devices::{self, LastSeen};
use crate::encryption::to_device::{self, ToDeviceSend};
use crate::presence::{self, PresenceWrite};
use crate::receipts::{self, ReceiptsWrite};
use crate::typing::{self, TypingWrite};
use crate::{StorageError, Tx};

/// A write that is frequent.
pub(crate) enum Frequent {
    /// How far a user has read a room.
    Receipts(ReceiptsWrite),
    /// When devices were last used.
    LastSeen(Vec<LastSeen>),
    /// Who is there.
    Presence(PresenceWrite),
    /// Who types.
    Typing(TypingWrite),
    /// Messages from device to device.
    ToDevice(ToDeviceSend),
    /// Up to where a device has its messages.
    ToDeviceDelivered(DeviceSn, Position),
}

impl Frequent {
    /// How many positions of the log are reserved for it before it runs; `None` if it does not need the log. One that needs fewer
    /// positions than it has changes says zero, and reserves what it needs when it knows.
    pub(crate) fn positions(&self) -> Option<i64> {
        match self {
            Self::Receipts(write) => Some(write.positions()),
            Self::Presence(_) | Self::Typing(_) | Self::ToDevice(_) | Self::ToDeviceDelivered(..) => Some(0),
            Self::LastSeen(_) => None,
        }
    }
}

/// Writes all, those of one kind together.
pub(crate) async fn write_all(tx: &mut Tx, writes: impl Iterator<Item = &Frequent>) -> Result<(), StorageError> {
    let (mut receipts, mut seen, mut presence, mut typing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut sent, mut delivered) = (Vec::new(), Vec::new());
    for write in writes {
        match write {
            Frequent::Receipts(write) => receipts.push(write),
            Frequent::LastSeen(write) => seen.extend(write),
            Frequent::Presence(write) => presence.push(write),
            Frequent::Typing(write) => typing.push(write),
            Frequent::ToDevice(send) => sent.push(send),
            Frequent::ToDeviceDelivered(device_sn, until) => delivered.push((*device_sn, *until)),
        }
    }
    receipts::write_all(tx, &receipts).await?;
    presence::write_all(tx, &presence).await?;
    typing::write_all(tx, &typing).await?;
    to_device::write_sent(tx, &sent).await?;
    to_device::remove_delivered(tx, &delivered).await?;
    devices::write_last_seen(tx, &seen).await
}
