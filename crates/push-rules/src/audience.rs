//! All members of a room: an event is evaluated for each of them.
//!
//! Members with the same rules form a group. The outcome for a member whom the event does not name is found once for each group.
//! The few members whom it names, by a mention, an invite or a display name, are found by an index and evaluated one by one.
//! The cost grows with the groups and the answer, not with the members.

mod names;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use homeserver_core::UserSn;

use crate::{
    CompiledRules, DisplayName, Outcome, PreparedEvent, Scalar,
    recipient::{Facts, Recipient},
};
use names::Names;

/// A member of a room with the rules of this server's user.
#[derive(Debug, Clone)]
pub struct Member<'m> {
    /// The user.
    pub user: UserSn,
    /// The user's ID.
    pub user_id: &'m str,
    /// The user's display name in the room.
    pub display_name: Option<&'m str>,
    /// The user's rules, as the [`Compiler`](crate::Compiler) gives them, so that equal ones are the same.
    pub rules: Arc<CompiledRules>,
}

/// The local members of a room. It can be kept, and changed when members join and leave.
#[derive(Debug, Default)]
pub struct Audience {
    seats: Vec<Option<Seat>>,
    free: Vec<usize>,
    by_id: HashMap<Arc<str>, usize>,
    groups: Vec<Group>,
    /// Groups by the address of their rules, which they keep alive.
    group_of: HashMap<usize, usize>,
    names: Names,
}

#[derive(Debug)]
struct Seat {
    user_id: Arc<str>,
    /// Only where the rules ask for it.
    display_name: Option<DisplayName>,
    group: usize,
    /// The index in the group.
    place: usize,
}

#[derive(Debug)]
struct Group {
    rules: Arc<CompiledRules>,
    /// The members and their seats.
    members: Vec<(UserSn, usize)>,
}

/// The members who are notified of an event, in no particular order, with their outcomes.
#[derive(Debug, Default)]
pub struct Notifications<'a> {
    outcomes: Vec<Outcome<'a>>,
    users: Vec<(UserSn, usize)>,
}

/// The members for whom the outcome of an event differs from the usual one.
#[derive(Debug, Default)]
pub struct Differences<'a> {
    /// The outcome for all other members.
    pub usual: Outcome<'a>,
    /// The members who differ from the usual outcome in whether they are notified, or in whether the event is highlighted; in no
    /// particular order.
    pub members: Vec<(UserSn, Outcome<'a>)>,
}

impl Audience {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Adds a member, or replaces it.
    pub fn insert(&mut self, member: Member<'_>) {
        self.remove(member.user_id);
        let seat = self.free.pop().unwrap_or(self.seats.len());
        let display_name = member.display_name.filter(|_| member.rules.asks_display_name()).and_then(DisplayName::new);
        if let Some(name) = &display_name {
            self.names.insert(name, seat);
        }
        let group = self.group(member.rules);
        let Some(members) = self.groups.get_mut(group).map(|group| &mut group.members) else { return };
        let place = members.len();
        members.push((member.user, seat));
        let user_id: Arc<str> = member.user_id.into();
        self.by_id.insert(Arc::clone(&user_id), seat);
        let taken = Some(Seat { user_id, display_name, group, place });
        match self.seats.get_mut(seat) {
            Some(free) => *free = taken,
            None => self.seats.push(taken),
        }
    }

    /// The group of those rules.
    fn group(&mut self, rules: Arc<CompiledRules>) -> usize {
        let address = Arc::as_ptr(&rules).addr();
        *self.group_of.entry(address).or_insert_with(|| {
            self.groups.push(Group { rules, members: Vec::new() });
            self.groups.len() - 1
        })
    }

    /// Removes a member.
    pub fn remove(&mut self, user_id: &str) {
        let Some(number) = self.by_id.remove(user_id) else { return };
        let Some(seat) = self.seats.get_mut(number).and_then(Option::take) else { return };
        self.free.push(number);
        if let Some(name) = &seat.display_name {
            self.names.remove(name, number);
        }
        let Some(group) = self.groups.get_mut(seat.group) else { return };
        group.members.swap_remove(seat.place);
        if let Some((_, moved)) = group.members.get(seat.place)
            && let Some(Some(moved)) = self.seats.get_mut(*moved)
        {
            moved.place = seat.place;
        }
        if group.members.is_empty() {
            self.remove_group(seat.group);
        }
    }

    fn remove_group(&mut self, number: usize) {
        let removed = self.groups.swap_remove(number);
        self.group_of.remove(&Arc::as_ptr(&removed.rules).addr());
        let Some(moved) = self.groups.get(number) else { return };
        self.group_of.insert(Arc::as_ptr(&moved.rules).addr(), number);
        for (_, seat) in &moved.members {
            if let Some(Some(seat)) = self.seats.get_mut(*seat) {
                seat.group = number;
            }
        }
    }

    /// Evaluates an event for all members but its sender, and returns the members whom it notifies.
    pub fn evaluate(&self, event: &PreparedEvent<'_>) -> Notifications<'_> {
        let mut notifications = Notifications::default();
        let (named, mut set_apart) = self.named(event);
        if let Some(sender) = event.sender().and_then(|sender| self.by_id.get(sender)) {
            set_apart.insert(*sender);
        }
        for group in &self.groups {
            let Some(found) = group.rules.evaluate_with(event, Facts::NONE) else { continue };
            let users = group.members.iter().filter(|(_, seat)| !set_apart.has(*seat)).map(|(user, _)| *user);
            notifications.extend(found.outcome(), users, group.members.len());
        }
        for seat in named.iter().filter_map(|seat| self.seats.get(*seat)?.as_ref()) {
            let recipient = Recipient { user_id: &seat.user_id, display_name: seat.display_name.as_ref() };
            let Some(group) = self.groups.get(seat.group) else { continue };
            let Some(found) = group.rules.evaluate(event, &recipient) else { continue };
            notifications.extend(found.outcome(), group.members.get(seat.place).map(|(user, _)| *user), 1);
        }
        notifications
    }

    /// Evaluates an event for all members but its sender, and returns the members whose outcome differs from that of the rules
    /// `usual`.
    /// The cost grows with the groups and the answer, not with members who have the usual rules.
    pub fn differences<'a>(&'a self, event: &PreparedEvent<'_>, usual: &'a CompiledRules) -> Differences<'a> {
        let usual = usual.evaluate_with(event, Facts::NONE).map(|found| found.outcome()).unwrap_or_default();
        let differs = |outcome: &Outcome<'_>| {
            outcome.notify != usual.notify || (usual.notify && outcome.highlight != usual.highlight)
        };
        let mut members = Vec::new();
        let (named, mut set_apart) = self.named(event);
        let sender = event.sender().and_then(|sender| self.by_id.get(sender)).copied();
        if let Some(sender) = sender {
            set_apart.insert(sender);
        }
        for group in &self.groups {
            let found = group.rules.evaluate_with(event, Facts::NONE);
            let outcome = found.map(|found| found.outcome()).unwrap_or_default();
            if differs(&outcome) {
                let users = group.members.iter().filter(|(_, seat)| !set_apart.has(*seat));
                members.extend(users.map(|(user, _)| (*user, outcome)));
            }
        }
        let named = named.into_iter().filter(|seat| Some(*seat) != sender);
        for seat in named.filter_map(|seat| self.seats.get(seat)?.as_ref()) {
            let recipient = Recipient { user_id: &seat.user_id, display_name: seat.display_name.as_ref() };
            let Some(group) = self.groups.get(seat.group) else { continue };
            let found = group.rules.evaluate(event, &recipient);
            let outcome = found.map(|found| found.outcome()).unwrap_or_default();
            if differs(&outcome) {
                members.extend(group.members.get(seat.place).map(|(user, _)| (*user, outcome)));
            }
        }
        Differences { usual, members }
    }

    /// The seats of the members that the event names, each once.
    fn named(&self, event: &PreparedEvent<'_>) -> (Vec<usize>, SeatSet) {
        let mut named = Vec::new();
        let mut set = SeatSet::new(self.seats.len());
        let mentions = event.mentions().iter().filter_map(|mention| match mention {
            Scalar::Text(user_id) => Some(user_id.as_ref()),
            _ => None,
        });
        for seat in mentions.chain(event.invited()).filter_map(|user_id| self.by_id.get(user_id)) {
            if set.insert(*seat) {
                named.push(*seat);
            }
        }
        for seat in event.body().into_iter().flat_map(|body| self.names.candidates(body)) {
            let name = self.seats.get(seat).and_then(Option::as_ref).and_then(|seat| seat.display_name.as_ref());
            if name.is_some_and(|name| name.is_in(event)) && set.insert(seat) {
                named.push(seat);
            }
        }
        (named, set)
    }
}

impl<'a> Notifications<'a> {
    /// An equal outcome is searched among so many earlier ones.
    const OUTCOMES_COMPARED: usize = 8;

    /// Adds at most so many users with an outcome, if it notifies.
    fn extend(&mut self, outcome: Outcome<'a>, users: impl IntoIterator<Item = UserSn>, at_most: usize) {
        if !outcome.notify {
            return;
        }
        let known = self.outcomes.iter().enumerate().rev().take(Self::OUTCOMES_COMPARED);
        let number = known.into_iter().find(|(_, known)| **known == outcome).map(|(number, _)| number);
        let number = number.unwrap_or_else(|| {
            self.outcomes.push(outcome);
            self.outcomes.len() - 1
        });
        self.users.reserve(at_most);
        self.users.extend(users.into_iter().map(|user| (user, number)));
    }

    /// The number of users who are notified.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether nobody is notified.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The users with their outcomes.
    pub fn iter(&self) -> impl Iterator<Item = (UserSn, Outcome<'a>)> {
        self.users.iter().map(|(user, outcome)| (*user, self.outcomes.get(*outcome).copied().unwrap_or_default()))
    }
}

/// A set of seats, a bit for each.
struct SeatSet(Vec<u64>);

impl SeatSet {
    fn new(seats: usize) -> Self {
        Self(vec![0; seats.div_ceil(64)])
    }

    fn has(&self, seat: usize) -> bool {
        self.0.get(seat / 64).is_some_and(|bits| bits & (1 << (seat % 64)) != 0)
    }

    /// Whether the seat was not there before.
    fn insert(&mut self, seat: usize) -> bool {
        let is_new = !self.has(seat);
        if let Some(bits) = self.0.get_mut(seat / 64) {
            *bits |= 1 << (seat % 64);
        }
        is_new
    }
}
