//! Which rooms have something new for a user.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use event_log::Place;
use homeserver_core::{Position, RoomSn, UserSn};
use rooms::RoomError;
use storage::{KnownState, LogEntry, Membership, Presence, Receipt, RoomHead, StoredEvent};

use super::{Pass, Providers};

/// What changed for a user.
pub(crate) struct Changes {
    pub(crate) rooms: Vec<RoomUpdate>,
    pub(crate) has_account_data: bool,
    /// Whose presence changed; `None` if that has to be read.
    pub(crate) presence: Option<HashMap<UserSn, Arc<Presence>>>,
    /// Users who joined rooms, perhaps those of the user.
    pub(crate) newcomers: HashSet<UserSn>,
}

/// A room with something new.
pub(crate) struct RoomUpdate {
    pub(crate) room_sn: RoomSn,
    pub(crate) room_id: Arc<str>,
    /// What is known of its state.
    pub(crate) state: KnownState,
    /// Whether all of its state came to be known in the pass.
    pub(crate) is_completed: bool,
    /// What the user is to the room at the end of the pass.
    pub(crate) membership: Membership,
    /// When the user became that.
    pub(crate) since: Position,
    /// What the user was to the room at the start of the pass, and whether that never changed on the way.
    pub(crate) before: Before,
    /// Whether its members are too many to be read at once.
    pub(crate) is_large: bool,
    /// All events of the pass, oldest first; `None` if they have to be read.
    pub(crate) events: Option<Vec<Arc<StoredEvent>>>,
    /// The receipts of the pass that the user is shown, oldest first; `None` if they have to be read.
    pub(crate) receipts: Option<Vec<Arc<Receipt>>>,
    /// Whether somebody began or stopped typing in the pass; `None` if that has to be read.
    pub(crate) typing_changed: Option<bool>,
}

impl RoomUpdate {
    /// Whether the user is in the room, and the client does not know that yet.
    pub(crate) fn is_fresh(&self, pass: &Pass<'_>) -> bool {
        self.membership == Membership::Join && (pass.from.is_none() || self.before != Before::Unchanged)
    }

    /// Whether the user was in the room before the pass, but the client could not be shown it.
    pub(crate) fn is_late(&self, pass: &Pass<'_>) -> bool {
        self.is_completed && !pass.wants.lazy_members() && self.membership == Membership::Join
    }
}

/// What came in a pass that is not kept as part of rooms, as far as the user is shown it.
#[derive(Default)]
struct Ephemeral {
    receipts: HashMap<RoomSn, Vec<Arc<Receipt>>>,
    /// Rooms in which somebody began or stopped typing.
    typing: HashSet<RoomSn>,
}

/// What a user was to a room at the start of a pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Before {
    /// The same as at the end, all the time.
    Unchanged,
    /// Joined, but not all the time, or not any more.
    Joined,
    /// Not joined.
    NotJoined,
}

impl Providers {
    /// Finds the rooms that have something new. Work grows with what happened since, not with the user's rooms, as long as
    /// the tail of the log reaches back to where the user was.
    pub(crate) async fn changes(&self, pass: &Pass<'_>) -> Result<Changes, RoomError> {
        let Some(from) = pass.from.filter(|_| !pass.wants.full_state) else {
            let places = pass.rooms.places();
            let rooms = places.into_iter().map(|(room_sn, place)| (room_sn, place, None));
            let rooms = self.updates(pass, &HashSet::new(), rooms, None).await?;
            return Ok(Changes { rooms, has_account_data: true, presence: None, newcomers: HashSet::new() });
        };
        let mut has_account_data = false;
        let wants_presence = self.presences.is_enabled() && pass.wants.presence();
        let (mut presence, mut newcomers) = (HashMap::new(), HashSet::new());
        let mut completed = HashSet::new();
        // `None` where the events alone do not tell what changed.
        let mut events: BTreeMap<RoomSn, Option<Vec<Arc<StoredEvent>>>> = BTreeMap::new();
        let mut ephemeral = Ephemeral::default();
        let is_of_interest =
            |room_sn| pass.rooms.place(room_sn).is_some_and(|place| place.is_joined() || place.since > from);
        let is_in_memory = self.tail.visit(from, pass.to, |entry| match entry {
            LogEntry::Presence(changed) if wants_presence => {
                presence.insert(changed.user_sn, changed.clone());
            }
            LogEntry::Event(event) if is_of_interest(event.room_sn) => {
                if let Some((user_sn, Membership::Join)) = event.membership
                    && wants_presence
                {
                    newcomers.insert(user_sn);
                }
                if let Some(events) = events.entry(event.room_sn).or_insert_with(|| Some(Vec::new())) {
                    events.push(event.clone());
                }
            }
            LogEntry::StateResolved { room_sn, .. } if is_of_interest(*room_sn) => {
                events.insert(*room_sn, None);
            }
            LogEntry::RemoteMembership { room_sn, .. } if is_of_interest(*room_sn) => {
                events.entry(*room_sn).or_insert_with(|| Some(Vec::new()));
            }
            LogEntry::RemoteMembership { .. } => {}
            LogEntry::StateKnown { room_sn, is_whole: true, .. } if is_of_interest(*room_sn) => {
                events.insert(*room_sn, None);
                completed.insert(*room_sn);
            }
            LogEntry::Receipt(receipt) if is_of_interest(receipt.room_sn) && pass.is_shown(receipt) => {
                events.entry(receipt.room_sn).or_insert_with(|| Some(Vec::new()));
                ephemeral.receipts.entry(receipt.room_sn).or_default().push(receipt.clone());
            }
            LogEntry::Typing { room_sn, .. } if is_of_interest(*room_sn) && pass.wants.typing() => {
                events.entry(*room_sn).or_insert_with(|| Some(Vec::new()));
                ephemeral.typing.insert(*room_sn);
            }
            LogEntry::Receipt(_) | LogEntry::Typing { .. } => {}
            LogEntry::Presence(_) | LogEntry::NotificationRules { .. } => {}
            LogEntry::Event(_) | LogEntry::StateResolved { .. } | LogEntry::StateKnown { .. } => {}
            LogEntry::Account { .. }
            | LogEntry::RoomForgotten { .. }
            | LogEntry::Forward { .. }
            | LogEntry::Media { .. } => {}
            // Devices are told by `devices`.
            LogEntry::Devices { .. } | LogEntry::DeviceList { .. } => {}
            LogEntry::AccountData { user_sn, .. } => has_account_data |= *user_sn == pass.requester.user_sn,
        });
        if !is_in_memory {
            let rooms = self.changed_rooms(pass, from).await?;
            return Ok(Changes { rooms, has_account_data: true, presence: None, newcomers });
        }
        let changed =
            events.into_iter().filter_map(|(room_sn, events)| Some((room_sn, pass.rooms.place(room_sn)?, events)));
        let rooms = self.updates(pass, &completed, changed, Some(ephemeral)).await?;
        Ok(Changes { rooms, has_account_data, presence: Some(presence), newcomers })
    }

    /// The same from the database, for a client that was away for longer than the tail reaches back.
    async fn changed_rooms(&self, pass: &Pass<'_>, from: Position) -> Result<Vec<RoomUpdate>, RoomError> {
        let places = pass.rooms.places();
        let joined: Vec<i64> =
            places.iter().filter(|(_, place)| place.is_joined()).map(|(room_sn, _)| room_sn.0).collect();
        let heads = self.database.room_heads(&joined).await?;
        let is_completed = |head: &&RoomHead| head.state_whole_since.is_some_and(|since| since > from);
        let completed: HashSet<RoomSn> = heads.iter().filter(is_completed).map(|head| head.room_sn).collect();
        let has_events = |head: &&RoomHead| head.last_event_sn.position() > from;
        let mut changed: HashSet<RoomSn> = heads.iter().filter(has_events).map(|head| head.room_sn).collect();
        changed.extend(&completed);
        let reader = pass.requester.user_sn;
        changed.extend(self.database.rooms_with_receipts(&joined, reader, from, pass.to).await?);
        if pass.wants.typing() {
            changed.extend(self.database.rooms_with_typing(&joined, from, pass.to).await?);
        }
        let changed = places
            .into_iter()
            .filter(|(room_sn, place)| changed.contains(room_sn) || place.since > from)
            .map(|(room_sn, place)| (room_sn, place, None));
        self.updates(pass, &completed, changed, None).await
    }

    async fn updates(
        &self,
        pass: &Pass<'_>,
        completed: &HashSet<RoomSn>,
        changed: impl Iterator<Item = (RoomSn, Place, Option<Vec<Arc<StoredEvent>>>)>,
        mut ephemeral: Option<Ephemeral>,
    ) -> Result<Vec<RoomUpdate>, RoomError> {
        let mut updates = Vec::new();
        for (room_sn, place, events) in changed {
            let room_id = self.interned.room_id(room_sn).await?;
            if !pass.wants.includes_room(&room_id) {
                continue;
            }
            let Some((membership, since, before)) = self.memberships(pass, room_sn, place).await? else { continue };
            // A client is told once that the user left a room that they have forgotten, and nothing more of it.
            if place.is_forgotten && membership != Membership::Join && pass.from.is_none_or(|from| since <= from) {
                continue;
            }
            let state = self.states.of(room_sn);
            if membership == Membership::Join && !pass.can_show(&state) {
                continue;
            }
            let is_completed =
                completed.contains(&room_sn) || pass.from.is_some_and(|from| state.became_full_after(from));
            let receipts = ephemeral.as_mut().map(|new| new.receipts.remove(&room_sn).unwrap_or_default());
            let typing_changed = ephemeral.as_ref().map(|new| new.typing.contains(&room_sn));
            let mut update = RoomUpdate {
                room_sn,
                room_id,
                state,
                is_completed,
                membership,
                since,
                before,
                is_large: false,
                events,
                receipts,
                typing_changed,
            };
            if update.is_late(pass) {
                update.before = Before::NotJoined;
            }
            updates.push(update);
        }
        Ok(updates)
    }

    /// What the user is to the room at the end of the pass, since when, and what the user was at its start.
    async fn memberships(
        &self,
        pass: &Pass<'_>,
        room_sn: RoomSn,
        place: Place,
    ) -> Result<Option<(Membership, Position, Before)>, RoomError> {
        if let Some(membership) = place.membership
            && place.since <= pass.after()
        {
            return Ok(Some((membership, place.since, Before::Unchanged)));
        }
        if let (None, Some(membership)) = (pass.from, place.membership)
            && place.since <= pass.to
        {
            return Ok(Some((membership, place.since, Before::NotJoined)));
        }
        let history = self.database.membership_history_after(room_sn, pass.requester.user_sn, pass.after()).await?;
        let seen = history.partition_point(|(position, _)| *position <= pass.to);
        let history = history.get(..seen).unwrap_or_default();
        let Some((since, membership)) = history.last().copied() else { return Ok(None) };
        let known = history.partition_point(|(position, _)| *position <= pass.after());
        let (old, new) = history.split_at(known);
        let was_joined = old.last().is_some_and(|(_, membership)| *membership == Membership::Join);
        let before = match (was_joined, new.iter().all(|(_, membership)| *membership == Membership::Join)) {
            (true, true) => Before::Unchanged,
            (true, false) => Before::Joined,
            (false, _) if new.is_empty() => Before::Unchanged,
            (false, _) => Before::NotJoined,
        };
        Ok(Some((membership, since, before)))
    }
}
