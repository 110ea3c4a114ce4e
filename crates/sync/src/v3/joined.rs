//! Rooms that the user is in.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryFutureExt as _;
use homeserver_core::{EventSn, KeySn, Position, RoomSn, TypeSn};
use rooms::RoomError;
use rooms::reading::{Visibility, redact_erased};
use storage::{FullState, KnownState, Membership, RoomHead, StoredEvent, UnreadThread};

use super::changes::{Before, RoomUpdate};
use super::large_rooms::MemberPages;
use super::members::StateBefore;
use super::summary::{Hero, Summary};
use super::{Pass, Sync};

/// What a user sees of a room that they are or were in.
pub(super) struct RoomAnswer {
    pub(super) room_sn: RoomSn,
    pub(super) room_id: Arc<str>,
    pub(super) timeline: Vec<Arc<StoredEvent>>,
    /// The reader's membership at each event of the timeline, where it is known.
    pub(super) memberships: Vec<Option<Membership>>,
    pub(super) is_limited: bool,
    pub(super) prev_batch: Position,
    pub(super) state: Vec<Arc<StoredEvent>>,
    /// The members who are part of the state too, if they are many.
    pub(super) more_members: Option<MemberPages>,
    /// The events above as servers exchange them, if the client wants that.
    pub(super) pdus: HashMap<EventSn, Vec<u8>>,
    pub(super) summary: Option<Summary>,
    /// Whether the client could not be told of all members before.
    pub(super) is_completed: bool,
    /// Ephemeral events, as JSON.
    pub(super) ephemeral: Vec<Vec<u8>>,
    /// Whether the user has read further.
    pub(super) is_read_further: bool,
    /// What the user has not read.
    pub(super) unread: Arc<[UnreadThread]>,
}

impl RoomAnswer {
    /// Whether there is nothing in it that a client would want to know. A summary alone is no news: the filter keeps from the
    /// client what changed it.
    pub(super) fn is_empty(&self) -> bool {
        self.timeline.is_empty()
            && self.state.is_empty()
            && !self.is_completed
            && !self.is_limited
            && self.ephemeral.is_empty()
            && !self.is_read_further
    }
}

/// The timeline of a room with what is needed to make its state.
#[derive(Clone)]
pub(super) struct TimelinePart {
    pub(super) events: Vec<Arc<StoredEvent>>,
    pub(super) memberships: Vec<Option<Membership>>,
    pub(super) is_limited: bool,
    /// Whether events were taken out of the timeline: the client has to be told otherwise of the state among them.
    pub(super) is_sieved: bool,
    /// Everything of the pass is after this position, or in `gap`.
    pub(super) start: Position,
    /// The events of the pass that are not in the timeline, if they are known.
    pub(super) gap: Option<Vec<Arc<StoredEvent>>>,
}

impl TimelinePart {
    /// Whether the client needs the event as state: it is of the pass, and the timeline does not show it.
    pub(super) fn needs_as_state(&self, pass: &Pass<'_>, event_sn: EventSn) -> bool {
        let position = event_sn.position();
        let is_shown = || self.events.binary_search_by_key(&event_sn, |event| event.sn).is_ok();
        position <= pass.to && (pass.request.use_state_after || position <= self.start || !is_shown())
    }
}

impl Sync {
    pub(super) async fn joined_rooms(
        &self,
        pass: &Pass<'_>,
        updates: &[RoomUpdate],
    ) -> Result<Vec<RoomAnswer>, RoomError> {
        let joined: Vec<_> = updates.iter().filter(|update| update.membership == Membership::Join).collect();
        let (fresh, known): (Vec<_>, Vec<_>) = joined.into_iter().partition(|update| update.is_fresh(pass));
        let mut answers = self.fresh_rooms(pass, &fresh).await?;
        answers.extend(self.known_rooms(pass, &known).await?);
        self.add_unread(pass, &fresh, &known, &mut answers).await?;
        self.add_receipts(pass, &fresh, &known, &mut answers).await?;
        self.add_typing(pass, &fresh, &known, &mut answers).await?;
        Ok(answers)
    }

    /// Rooms that the user was in all the time.
    async fn known_rooms(&self, pass: &Pass<'_>, updates: &[&RoomUpdate]) -> Result<Vec<RoomAnswer>, RoomError> {
        let unread_rooms: Vec<_> = updates.iter().filter(|update| update.events.is_none()).copied().collect();
        let mut read = self.read_timelines(pass, &unread_rooms, pass.after()).await?;
        let mut answers = Vec::with_capacity(updates.len());
        for update in updates {
            let mut timeline = match &update.events {
                Some(events) => self.cut_timeline(pass, update, events).await?,
                None => read.remove(&update.room_sn).unwrap_or_else(|| empty_timeline(pass.to)),
            };
            let summary = self.changed_summary(pass, update, &timeline).await?;
            let heroes = heroes_of(summary.as_ref());
            let state = self.changed_state(pass, update, &mut timeline, heroes).await?;
            let more_members = self.more_members(pass, update, &timeline, &state).await?;
            answers.push(Self::finish_room(pass, update, timeline, (state, more_members), summary));
        }
        Ok(answers)
    }

    /// The newest events of those in memory.
    async fn cut_timeline(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        events: &[Arc<StoredEvent>],
    ) -> Result<TimelinePart, RoomError> {
        let wanted = self.filtered_timeline(pass, events.iter().cloned(), &update.room_id).await?;
        let is_sieved = wanted.len() < events.len();
        let limit = pass.timeline_limit();
        let cut = wanted.len().saturating_sub(limit);
        let timeline = wanted.get(cut..).unwrap_or_default().to_vec();
        let is_limited = cut > 0;
        let start = match timeline.first() {
            _ if !is_limited => pass.after(),
            Some(first) => Position(first.sn.0 - 1),
            None => pass.to,
        };
        let gap = events.iter().filter(|event| !timeline.iter().any(|shown| shown.sn == event.sn)).cloned().collect();
        let memberships = vec![Some(Membership::Join); timeline.len()];
        Ok(TimelinePart { events: timeline, memberships, is_limited, is_sieved, start, gap: Some(gap) })
    }

    /// The newest events of many rooms, from the database.
    pub(super) async fn read_timelines(
        &self,
        pass: &Pass<'_>,
        updates: &[&RoomUpdate],
        after: Position,
    ) -> Result<HashMap<RoomSn, TimelinePart>, RoomError> {
        let rooms: Vec<i64> = updates.iter().map(|update| update.room_sn.0).collect();
        if rooms.is_empty() {
            return Ok(HashMap::new());
        }
        let limit = pass.timeline_limit();
        let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let read = self.database.timelines_backwards(&rooms, after.0, pass.to.0, wanted).await?;
        let read = self.with_transaction_ids(pass, read).await?;
        let mut by_room: HashMap<RoomSn, Vec<Arc<StoredEvent>>> = HashMap::with_capacity(rooms.len());
        for event in read {
            by_room.entry(event.room_sn).or_default().push(event);
        }
        let mut timelines = HashMap::with_capacity(rooms.len());
        for update in updates {
            let mut events = by_room.remove(&update.room_sn).unwrap_or_default();
            let is_limited = events.len() > limit;
            events.truncate(limit);
            let start = events.last().filter(|_| is_limited).map_or(after, |oldest| Position(oldest.sn.0 - 1));
            events.reverse();
            let read = events.len();
            let events = self.filtered_timeline(pass, events, &update.room_id).await?;
            let is_sieved = events.len() < read;
            let memberships = vec![Some(Membership::Join); events.len()];
            let start = if limit == 0 && is_limited { pass.to } else { start };
            let mut timeline = TimelinePart { events, memberships, is_limited, is_sieved, start, gap: None };
            if is_sieved && is_limited {
                self.look_further_back(pass, update, after, &mut timeline).await?;
            }
            timelines.insert(update.room_sn, timeline);
        }
        Ok(timelines)
    }

    /// Adds the transaction IDs of what the reader's device sent.
    pub(super) async fn with_transaction_ids(
        &self,
        pass: &Pass<'_>,
        mut events: Vec<StoredEvent>,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        let sent: Vec<i64> =
            events.iter().filter(|event| event.sender_sn == pass.requester.user_sn).map(|event| event.sn.0).collect();
        if let (Some(device_sn), false) = (pass.requester.device_sn, sent.is_empty()) {
            let ids = self.database.transaction_ids(device_sn, &sent).await?;
            let mut ids: HashMap<_, _> = ids.into_iter().collect();
            for event in &mut events {
                event.transaction = ids.remove(&event.sn).map(|id| (device_sn, id));
            }
        }
        Ok(events.into_iter().map(Arc::new).collect())
    }

    /// The state that changed in a room where the user was all the time.
    async fn changed_state(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &mut TimelinePart,
        heroes: &[Hero],
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        let is_fresh = pass.request.full_state;
        let events = if is_fresh {
            let current = self.current_states(pass, &[update]).await?.remove(&update.room_sn).unwrap_or_default();
            let mut events = self.state_before(pass, timeline, current).await?;
            self.add_changed_members(pass, update, timeline, &mut events).await?;
            events
        } else {
            self.changes_of_state(pass, update, timeline).await?
        };
        let mut members = self.load_members(pass, &[(update, timeline, heroes)], is_fresh).await?;
        let members = members.remove(&update.room_sn).unwrap_or_default();
        self.choose_state(pass, update, timeline, StateBefore { events, members, is_fresh }).await
    }

    /// The state that changed in the pass, as far as the timeline does not show it.
    async fn changes_of_state(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &TimelinePart,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        let Some(gap) = &timeline.gap else { return self.read_changed_state(pass, update, timeline).await };
        let shown_too = timeline.events.iter().filter(|_| pass.request.use_state_after);
        let mut latest: HashMap<(TypeSn, KeySn), &Arc<StoredEvent>> = HashMap::new();
        for event in gap.iter().chain(shown_too) {
            let Some(key_sn) = event.state_key_sn else { continue };
            let known = latest.entry((event.type_sn, key_sn)).or_insert(event);
            if known.sn < event.sn {
                *known = event;
            }
        }
        Ok(latest.into_values().cloned().collect())
    }

    /// Adds the members who changed in the pass to a whole state without members, for a client that was in the room before:
    /// it knows members, and would not learn of the change otherwise.
    async fn add_changed_members(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &TimelinePart,
        state: &mut Vec<Arc<StoredEvent>>,
    ) -> Result<(), RoomError> {
        if pass.lazy_loads_members() && pass.from.is_some() {
            let member_type = self.interned.event_type("m.room.member").await?;
            let changed = self.changes_of_state(pass, update, timeline).await?;
            state.extend(changed.into_iter().filter(|event| event.type_sn == member_type));
        }
        Ok(())
    }

    /// The state that changed in the pass, as far as the timeline does not show it, from the database.
    pub(super) async fn read_changed_state(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &TimelinePart,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        // Also what is as new as the timeline: when branches of the room met, older events may have come into the state.
        let changes = self.database.state_changes(&[update.room_sn.0], pass.after(), pass.to).await?;
        let newest: HashMap<_, _> = changes
            .iter()
            .filter(|it| timeline.needs_as_state(pass, it.entry.event_sn))
            .map(|it| ((it.entry.type_sn, it.entry.key_sn), it.entry.event_sn.0))
            .collect();
        let sns: Vec<i64> = newest.into_values().collect();
        Ok(self.load_events(&sns).await?)
    }

    /// Rooms that are new to the client: with their whole state.
    async fn fresh_rooms(&self, pass: &Pass<'_>, updates: &[&RoomUpdate]) -> Result<Vec<RoomAnswer>, RoomError> {
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        let rooms: Vec<i64> = updates.iter().map(|update| update.room_sn.0).collect();
        // One does not wait for the other's round trip.
        let (mut timelines, mut states, heads) = futures::try_join!(
            self.read_timelines(pass, updates, Position::START),
            self.current_states(pass, updates),
            self.database.room_heads(&rooms).map_err(RoomError::from),
        )?;
        let heads: HashMap<RoomSn, RoomHead> = heads.into_iter().map(|head| (head.room_sn, head)).collect();
        let mut unnamed = Vec::new();
        for update in updates {
            if !self.is_named(states.get(&update.room_sn).map_or(&[], Vec::as_slice)).await? {
                unnamed.push(*update);
            }
        }
        let mut heroes = self.heroes(pass, &unnamed).await?;
        let mut rooms = Vec::with_capacity(updates.len());
        for update in updates {
            let mut timeline = timelines.remove(&update.room_sn).unwrap_or_else(|| empty_timeline(pass.to));
            self.hide_invisible(pass, update, &mut timeline).await?;
            // Whoever comes (back) into a room does not go on from an earlier timeline of it.
            timeline.is_limited |= pass.from.is_some();
            let is_unnamed = unnamed.iter().any(|unnamed| unnamed.room_sn == update.room_sn);
            let heroes = is_unnamed.then(|| heroes.remove(&update.room_sn).unwrap_or_default());
            let summary = heads.get(&update.room_sn).map(|head| Summary::of(update, head, heroes));
            rooms.push((*update, timeline, summary));
        }
        let wanting: Vec<_> =
            rooms.iter().map(|(update, timeline, summary)| (*update, timeline, heroes_of(summary.as_ref()))).collect();
        let mut members = self.load_members(pass, &wanting, true).await?;
        let mut answers = Vec::with_capacity(updates.len());
        for (update, mut timeline, summary) in rooms {
            let current = states.remove(&update.room_sn).unwrap_or_default();
            let mut events = self.state_before(pass, &timeline, current).await?;
            if update.before == Before::Joined {
                self.add_changed_members(pass, update, &timeline, &mut events).await?;
            }
            let members = members.remove(&update.room_sn).unwrap_or_default();
            let before = StateBefore { events, members, is_fresh: true };
            let state = self.choose_state(pass, update, &mut timeline, before).await?;
            let more_members = self.more_members(pass, update, &timeline, &state).await?;
            answers.push(Self::finish_room(pass, update, timeline, (state, more_members), summary));
        }
        Ok(answers)
    }

    /// The current state of many rooms; without members if the client loads them lazily or they are many.
    async fn current_states(
        &self,
        pass: &Pass<'_>,
        updates: &[&RoomUpdate],
    ) -> Result<HashMap<RoomSn, Vec<Arc<StoredEvent>>>, RoomError> {
        let (without, with): (Vec<&RoomUpdate>, Vec<&RoomUpdate>) =
            updates.iter().partition(|update| pass.lazy_loads_members() || update.is_large);
        let mut events = Vec::new();
        if !without.is_empty() {
            let member_type = self.interned.event_type("m.room.member").await?;
            let known: Vec<&KnownState> = without.iter().map(|update| &update.state).collect();
            events = self.database.current_states_without_members(&known, member_type).await?;
        }
        if !with.is_empty() {
            let full: Vec<&FullState> = with.iter().filter_map(|update| update.state.full()).collect();
            events.extend(self.database.current_states(&full).await?);
        }
        let mut states: HashMap<RoomSn, Vec<Arc<StoredEvent>>> = HashMap::with_capacity(updates.len());
        for event in events {
            states.entry(event.room_sn).or_default().push(Arc::new(event));
        }
        Ok(states)
    }

    /// Takes out of the timeline what the user may not see: what was before the user came, if the room says so.
    async fn hide_invisible(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &mut TimelinePart,
    ) -> Result<(), RoomError> {
        let Some(first) = timeline.events.first().filter(|first| first.sn.position() < update.since) else {
            return Ok(());
        };
        let visibility = self.visibility(pass, update, first).await?;
        let before = timeline.events.len();
        timeline.events.retain(|event| visibility.may_see(event));
        let is_hiding = timeline.events.len() < before;
        (timeline.is_limited, timeline.is_sieved) = (timeline.is_limited || is_hiding, timeline.is_sieved || is_hiding);
        redact_erased(&self.database, &visibility, &mut timeline.events).await?;
        timeline.memberships = timeline.events.iter().map(|event| Some(visibility.membership_at(event))).collect();
        if let Some(first) = timeline.events.first() {
            timeline.start = Position(first.sn.0 - 1);
        }
        Ok(())
    }

    /// What the user may see of a room from an event on.
    pub(super) async fn visibility(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        first: &StoredEvent,
    ) -> Result<Visibility, RoomError> {
        // What was just before decides, too, whether a change of visibility or membership is seen.
        let from = Position(first.sn.0 - 1);
        Ok(Visibility::load(&self.database, &self.interned, &update.state, pass.requester.user_sn, from).await?)
    }

    /// The state at the start of the timeline, or at its end if the client wants that: the current state with what
    /// the timeline shows undone.
    pub(super) async fn state_before(
        &self,
        pass: &Pass<'_>,
        timeline: &TimelinePart,
        current: Vec<Arc<StoredEvent>>,
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        if current.iter().all(|event| timeline.needs_as_state(pass, event.sn)) {
            return Ok(current);
        }
        let mut state = Vec::with_capacity(current.len());
        let mut older: Vec<i64> = Vec::new();
        for event in current {
            if timeline.needs_as_state(pass, event.sn) {
                state.push(event);
            } else {
                older.extend(event.replaces_sn.map(|sn| sn.0));
            }
        }
        // What was replaced more than once since is followed back, a step for all of them at a time.
        while !older.is_empty() {
            let mut still_newer = Vec::new();
            for event in self.load_events(&older).await? {
                if timeline.needs_as_state(pass, event.sn) {
                    state.push(event);
                } else {
                    still_newer.extend(event.replaces_sn.map(|sn| sn.0));
                }
            }
            older = still_newer;
        }
        Ok(state)
    }

    fn finish_room(
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: TimelinePart,
        (state, more_members): (Vec<Arc<StoredEvent>>, Option<MemberPages>),
        summary: Option<Summary>,
    ) -> RoomAnswer {
        let prev_batch = if timeline.events.is_empty() && !timeline.is_limited { pass.to } else { timeline.start };
        RoomAnswer {
            room_sn: update.room_sn,
            room_id: update.room_id.clone(),
            timeline: timeline.events,
            memberships: timeline.memberships,
            is_limited: timeline.is_limited,
            prev_batch,
            state,
            more_members,
            pdus: HashMap::new(),
            summary,
            is_completed: update.is_completed,
            ephemeral: Vec::new(),
            is_read_further: false,
            unread: Arc::default(),
        }
    }
}

fn heroes_of(summary: Option<&Summary>) -> &[Hero] {
    summary.and_then(|summary| summary.heroes.as_deref()).unwrap_or_default()
}

pub(super) fn empty_timeline(at: Position) -> TimelinePart {
    TimelinePart {
        events: Vec::new(),
        memberships: Vec::new(),
        is_limited: false,
        is_sieved: false,
        start: at,
        gap: Some(Vec::new()),
    }
}
