//! Rooms that the user is in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::TryFutureExt as _;
use homeserver_core::{EventSn, Position, RoomSn};
use rooms::RoomError;
use rooms::wire::Bundles;
use storage::{Membership, Receipt, RoomHead, StoredEvent, UnreadThread};

use super::Sync;
use super::large_rooms::MemberPages;
use super::members::StateBefore;
use crate::providers::Pass;
use crate::providers::changes::{Before, RoomUpdate};
use crate::providers::summary::{Hero, Summary};
use crate::providers::timelines::{TimelinePart, empty_timeline};

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
    /// The rest of the state's members, if they are too many to be read at once.
    pub(super) more_members: Option<MemberPages>,
    /// The events above as servers exchange them, if the client wants that.
    pub(super) pdus: HashMap<EventSn, Vec<u8>>,
    /// What relates to the events of the timeline, as far as it is told with them.
    pub(super) bundles: Bundles,
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
        self.add_ephemeral(pass, &fresh, &known, &mut answers).await?;
        let both: Vec<&RoomUpdate> = fresh.into_iter().chain(known).collect();
        let mut unread = self.providers.unread(pass, &both).await?;
        for answer in &mut answers {
            answer.unread = unread.remove(&answer.room_sn).unwrap_or_default();
        }
        Ok(answers)
    }

    /// Adds receipts and who types to the answers, which are of these rooms.
    async fn add_ephemeral(
        &self,
        pass: &Pass<'_>,
        fresh: &[&RoomUpdate],
        known: &[&RoomUpdate],
        answers: &mut [RoomAnswer],
    ) -> Result<(), RoomError> {
        let mut receipts = self.providers.receipts(pass, fresh, known).await?;
        let mut typing = self.providers.typing_events(pass, fresh, known).await?;
        let filter = pass.wants.ephemeral_filter();
        let is_known: HashSet<RoomSn> = known.iter().map(|update| update.room_sn).collect();
        for answer in answers {
            let receipts = receipts.remove(&answer.room_sn).unwrap_or_default();
            let is_own = |receipt: &Arc<Receipt>| receipt.user_sn == pass.requester.user_sn;
            answer.is_read_further = is_known.contains(&answer.room_sn) && receipts.iter().any(is_own);
            if !receipts.is_empty() && pass.wants.receipts() && filter.includes_room(&answer.room_id) {
                answer.ephemeral = self.providers.receipt_events(&receipts).await?;
            }
            answer.ephemeral.extend(typing.remove(&answer.room_sn));
        }
        Ok(())
    }

    /// Rooms that the user was in all the time.
    async fn known_rooms(&self, pass: &Pass<'_>, updates: &[&RoomUpdate]) -> Result<Vec<RoomAnswer>, RoomError> {
        let unread_rooms: Vec<_> = updates.iter().filter(|update| update.events.is_none()).copied().collect();
        let mut read = self.providers.read_timelines(pass, &unread_rooms, pass.after()).await?;
        let mut answers = Vec::with_capacity(updates.len());
        for update in updates {
            let mut timeline = match &update.events {
                Some(events) => self.providers.cut_timeline(pass, update, events).await?,
                None => read.remove(&update.room_sn).unwrap_or_else(|| empty_timeline(pass.to)),
            };
            let summary = self.providers.changed_summary(pass, update, &timeline).await?;
            let heroes = heroes_of(summary.as_ref());
            let state = self.changed_state(pass, update, &mut timeline, heroes).await?;
            let more_members = self.more_members(pass, update, &timeline, &state).await?;
            answers.push(Self::finish_room(pass, update, timeline, (state, more_members), summary));
        }
        Ok(answers)
    }

    /// Rooms that are new to the client: with their whole state.
    async fn fresh_rooms(&self, pass: &Pass<'_>, updates: &[&RoomUpdate]) -> Result<Vec<RoomAnswer>, RoomError> {
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        let rooms: Vec<i64> = updates.iter().map(|update| update.room_sn.0).collect();
        // One does not wait for the other's round trip.
        let (mut timelines, mut states, heads) = futures::try_join!(
            self.providers.read_timelines(pass, updates, Position::START),
            self.providers.current_states(pass, updates),
            self.providers.database.room_heads(&rooms).map_err(RoomError::from),
        )?;
        let heads: HashMap<RoomSn, RoomHead> = heads.into_iter().map(|head| (head.room_sn, head)).collect();
        let mut unnamed = Vec::new();
        for update in updates {
            if !self.providers.is_named(states.get(&update.room_sn).map_or(&[], Vec::as_slice)).await? {
                unnamed.push(*update);
            }
        }
        let mut heroes = self.providers.heroes(pass, &unnamed).await?;
        let mut rooms = Vec::with_capacity(updates.len());
        for update in updates {
            let mut timeline = timelines.remove(&update.room_sn).unwrap_or_else(|| empty_timeline(pass.to));
            self.providers.hide_invisible(pass, update, &mut timeline).await?;
            // A user who comes (back) into a room does not go on from an earlier timeline.
            timeline.is_limited |= pass.from.is_some();
            let is_unnamed = unnamed.iter().any(|unnamed| unnamed.room_sn == update.room_sn);
            let heroes = is_unnamed.then(|| heroes.remove(&update.room_sn).unwrap_or_default());
            let summary = heads.get(&update.room_sn).map(|head| Summary::of(update, head, heroes));
            rooms.push((*update, timeline, summary));
        }
        let wanting: Vec<_> =
            rooms.iter().map(|(update, timeline, summary)| (*update, timeline, heroes_of(summary.as_ref()))).collect();
        let mut members = self.providers.load_members(pass, &wanting, true).await?;
        let mut answers = Vec::with_capacity(updates.len());
        for (update, mut timeline, summary) in rooms {
            let current = states.remove(&update.room_sn).unwrap_or_default();
            let mut events = self.providers.state_before(pass, &timeline, current).await?;
            if update.before == Before::Joined {
                self.providers.add_changed_members(pass, update, &timeline, &mut events).await?;
            }
            let members = members.remove(&update.room_sn).unwrap_or_default();
            let before = StateBefore { events, members, is_fresh: true };
            let state = self.choose_state(pass, update, &mut timeline, before).await?;
            let more_members = self.more_members(pass, update, &timeline, &state).await?;
            answers.push(Self::finish_room(pass, update, timeline, (state, more_members), summary));
        }
        Ok(answers)
    }

    /// The state that changed in a room where the user was all the time.
    async fn changed_state(
        &self,
        pass: &Pass<'_>,
        update: &RoomUpdate,
        timeline: &mut TimelinePart,
        heroes: &[Hero],
    ) -> Result<Vec<Arc<StoredEvent>>, RoomError> {
        let is_fresh = pass.wants.full_state;
        let events = if is_fresh {
            let current =
                self.providers.current_states(pass, &[update]).await?.remove(&update.room_sn).unwrap_or_default();
            let mut events = self.providers.state_before(pass, timeline, current).await?;
            self.providers.add_changed_members(pass, update, timeline, &mut events).await?;
            events
        } else {
            self.providers.changes_of_state(pass, update, timeline).await?
        };
        let mut members = self.providers.load_members(pass, &[(update, timeline, heroes)], is_fresh).await?;
        let members = members.remove(&update.room_sn).unwrap_or_default();
        self.choose_state(pass, update, timeline, StateBefore { events, members, is_fresh }).await
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
            bundles: Bundles::default(),
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
