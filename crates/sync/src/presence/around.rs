//! Users whose clients a node serves.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use homeserver_core::{DeviceSn, Timestamp};
use storage::{DevicePresence, PresenceState};

use super::PresenceOptions;

/// How often a change of a user's presence is written at once.
const AT_ONCE_EVERY: Duration = Duration::from_secs(10);

/// A user whose clients this node serves.
pub(super) struct Around {
    devices: HashMap<Option<DeviceSn>, Device>,
    /// When the user last did something, by the clock and as time goes by.
    pub(super) last_active_at: Timestamp,
    last_active: Instant,
    /// When a change was last written at once.
    told: Option<Instant>,
    /// What this node last said of the user.
    pub(super) said: Option<PresenceState>,
}

struct Device {
    /// What it says of its user.
    wants: PresenceState,
    /// How many of its requests wait.
    requests: u32,
    /// When the last one ended.
    last_seen: Instant,
    /// When it last asked something or said how it is, by the clock.
    asked_at: Timestamp,
}

impl Device {
    fn new() -> Self {
        Self { wants: PresenceState::Offline, requests: 0, last_seen: Instant::now(), asked_at: Timestamp(0) }
    }

    fn is_connected(&self, options: &PresenceOptions) -> bool {
        self.wants != PresenceState::Offline && self.is_recent(options)
    }

    /// Whether what it says still counts.
    fn is_recent(&self, options: &PresenceOptions) -> bool {
        self.requests > 0 || self.last_seen.elapsed() < options.offline_after
    }
}

impl Around {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { devices: HashMap::new(), last_active_at: now, last_active: Instant::now(), told: None, said: None }
    }

    fn device(&mut self, device_sn: Option<DeviceSn>) -> &mut Device {
        self.devices.entry(device_sn).or_insert_with(Device::new)
    }

    /// Whether a change is written at once. Otherwise the next tick writes it, together with other changes.
    pub(super) fn may_tell_at_once(&mut self) -> bool {
        let may = self.told.is_none_or(|told| told.elapsed() >= AT_ONCE_EVERY);
        if may {
            self.told = Some(Instant::now());
        }
        may
    }

    fn touch(&mut self, now: Timestamp) {
        (self.last_active_at, self.last_active) = (now, Instant::now());
    }

    /// A request of a device begins to wait. One that comes or comes back does something by that.
    pub(super) fn ask(&mut self, device_sn: Option<DeviceSn>, wants: PresenceState, now: Timestamp) {
        let device = self.device(device_sn);
        let before = std::mem::replace(&mut device.wants, wants);
        device.requests += 1;
        (device.last_seen, device.asked_at) = (Instant::now(), now);
        if wants == PresenceState::Online && before != wants {
            self.touch(now);
        }
    }

    pub(super) fn say(&mut self, device_sn: Option<DeviceSn>, state: PresenceState, now: Timestamp) {
        let device = self.device(device_sn);
        (device.wants, device.last_seen, device.asked_at) = (state, Instant::now(), now);
        if state == PresenceState::Online {
            self.touch(now);
        }
    }

    /// The user did something with a device, which is not idle then.
    pub(super) fn act(&mut self, device_sn: Option<DeviceSn>, now: Timestamp) {
        let device = self.device(device_sn);
        if device.wants == PresenceState::Unavailable {
            device.wants = PresenceState::Online;
        }
        device.asked_at = now;
        self.touch(now);
    }

    /// A request of a device has ended.
    pub(super) fn answered(&mut self, device_sn: Option<DeviceSn>) {
        let device = self.device(device_sn);
        device.requests = device.requests.saturating_sub(1);
        device.last_seen = Instant::now();
    }

    /// A device does not want to be seen.
    pub(super) fn hide(&mut self, device_sn: Option<DeviceSn>) {
        self.device(device_sn).wants = PresenceState::Offline;
    }

    /// Forgets devices that are of no interest any more. Tells whether any is left.
    pub(super) fn has_devices(&mut self, options: &PresenceOptions) -> bool {
        self.devices.retain(|_, device| device.requests > 0 || device.is_connected(options));
        !self.devices.is_empty()
    }

    /// Forgets devices without a waiting request.
    pub(super) fn forget_those_gone(&mut self) {
        self.devices.retain(|_, device| device.requests > 0);
    }

    /// Whether the user is there, by what all devices say.
    pub(super) fn state(&self, options: &PresenceOptions) -> PresenceState {
        let connected = self.devices.values().filter(|device| device.is_connected(options));
        let state = connected.map(|device| device.wants).max().unwrap_or(PresenceState::Offline);
        state.min(self.limit(options))
    }

    /// What each device says of which something was heard lately.
    pub(super) fn devices(&self, options: &PresenceOptions) -> Vec<DevicePresence> {
        let limit = self.limit(options);
        let recent = self.devices.iter().filter(|(_, device)| device.is_recent(options));
        let said = recent.map(|(device_sn, device)| {
            let (wants, asked_at) = (device.wants, device.asked_at);
            DevicePresence { device_sn: *device_sn, wants, state: wants.min(limit), asked_at }
        });
        said.collect()
    }

    /// The most that is said of the user: one who is idle is not online.
    fn limit(&self, options: &PresenceOptions) -> PresenceState {
        let is_idle = self.last_active.elapsed() >= options.idle_after;
        if is_idle { PresenceState::Unavailable } else { PresenceState::Online }
    }
}
