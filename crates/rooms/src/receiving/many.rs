//! Receiving several events of a room. Messages that follow each other are stored together.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use homeserver_core::Timestamp;
use room_engine::Pdu;
use room_engine::auth::{AuthEvent, AuthState};
use room_engine::receipt::{JudgedPdu, KeyLookup, ReceivedPdu, VerifiedPdu, in_order};
use ruma::{EventId, OwnedEventId, OwnedUserId};
use storage::{
    Append, Arrival, EventNumber, GraphEvent, NewEvent, RoomHead, Standing, StateBefore, Unread, later_version,
};

use super::{Reception, is_dummy};
use crate::resolving::{Resolver, RoomIdentity};
use crate::{RoomError, Timeline};

/// So many events are stored together at most.
const MAX_RUN: usize = 200;

/// Events with their places in the list that was given.
type Queue = VecDeque<(usize, VerifiedPdu)>;

impl Timeline {
    /// Receives events of a room, as [`Timeline::receive`] does each of them, in an order in which they can be judged. The answer is in
    /// the order of `events`.
    ///
    /// # Errors
    /// [`RoomError::Busy`] if too many signatures are being checked.
    #[tracing::instrument(level = "debug", skip_all, fields(events = events.len()))]
    pub async fn receive_all<K: KeyLookup + Sync + ?Sized>(
        &self,
        room: &RoomIdentity,
        events: Vec<ReceivedPdu>,
        keys: &K,
    ) -> Result<Vec<Result<Reception, RoomError>>, RoomError> {
        let count = events.len();
        let verified = self.verify_read(events, keys).await?;
        let mut receptions: Vec<(usize, Result<Reception, RoomError>)> = Vec::with_capacity(count);
        let mut events = Vec::with_capacity(count);
        for (place, event) in verified.into_iter().enumerate() {
            match event {
                Ok(event) => events.push((place, event)),
                Err(reason) => receptions.push((place, Ok(Reception::Dropped(reason)))),
            }
        }
        let mut queue = sorted(events);
        while let Some((place, first)) = queue.front() {
            let (place, first) = (*place, first.clone());
            let run = self.receive_run(room, &queue).await.unwrap_or_else(|error| {
                tracing::debug!(%error, room_sn = %room.room_sn, "events of a room were not stored together");
                0
            });
            if run == 0 {
                queue.pop_front();
                receptions.push((place, self.receive_in_turn(room, first, None).await));
            } else {
                let stored = || Ok(Reception::Stored(Standing::Accepted, None));
                receptions.extend(queue.drain(..run).map(|(place, _)| (place, stored())));
            }
        }
        receptions.sort_unstable_by_key(|(place, _)| *place);
        Ok(receptions.into_iter().map(|(_, reception)| reception).collect())
    }

    /// Stores the first events of the queue together, if they are messages that follow each other and the room's end, and nothing speaks
    /// against them. Returns how many were stored; the next one is to be received by itself.
    async fn receive_run(&self, room: &RoomIdentity, queue: &Queue) -> Result<usize, RoomError> {
        let run = run_of(queue);
        // One event by itself is received as fast. In versions 1 and 2 an event of another room may have the ID.
        if run.len() < 2 || room.version.event_id_in_pdu() {
            return Ok(0);
        }
        let open = self.open_settled(room.room_sn).await?;
        let head = self.database().room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        if !self.follows_end(&head, run.first().map(|event| event.event())).await? {
            return Ok(0);
        }
        let accepted = self.judge_run(room, &head, &run).await?;
        if accepted.len() < 2 {
            return Ok(0);
        }
        let unread = self.evaluate_all_received(room, &accepted).await?;
        let mut events = Vec::with_capacity(accepted.len());
        for (pdu, unread) in accepted.iter().zip(unread) {
            events.push(self.message(pdu, unread).await?);
        }
        let append = Append {
            room_sn: room.room_sn,
            room_version: room.version.as_str().into(),
            expected_version: head.version,
            new_version: later_version(head.version),
            events,
            resolved: None,
            extremities: None,
            transaction: None,
            joined_change: 0,
            invited_change: 0,
            also: None,
            is_entry: false,
        };
        open.append(append).await?;
        Ok(accepted.len())
    }

    /// Whether an event follows exactly the forward extremities. Then the state before it is the current one.
    async fn follows_end(&self, head: &RoomHead, event: Option<&Pdu>) -> Result<bool, RoomError> {
        let Some(event) = event else { return Ok(false) };
        if event.prev_events().len() != head.extremities.len() {
            return Ok(false);
        }
        let extremities = self.database().graph_events(&head.extremities).await?;
        let follows = |extremity: &GraphEvent| event.prev_events().iter().any(|id| *id == *extremity.stored.event_id);
        Ok(extremities.iter().all(follows))
    }

    /// The first events of a run that are new and that the rules allow.
    async fn judge_run(
        &self,
        room: &RoomIdentity,
        head: &RoomHead,
        run: &[&VerifiedPdu],
    ) -> Result<Vec<Pdu>, RoomError> {
        let resolver = Resolver { database: self.database(), interned: self.interned(), room };
        let current = StateBefore { base: head.state.ok_or(RoomError::StateUnknown)?, changes: Vec::new() };
        let mut names: BTreeSet<OwnedEventId> = run.iter().flat_map(|event| event.needed_events()).collect();
        names.extend(run.iter().map(|event| event.event().event_id().to_owned()));
        let names: Vec<String> = names.into_iter().map(String::from).collect();
        let mut known: HashMap<OwnedEventId, (Pdu, bool)> = HashMap::with_capacity(names.len());
        for event in self.database().graph_events_by_id(room.room_sn, &names).await? {
            let pdu = room.parse(&event)?;
            known.insert(pdu.event_id().to_owned(), (pdu, event.standing == Standing::Rejected));
        }
        let pdus: Vec<&Pdu> = run.iter().map(|event| event.event()).collect();
        let redacted = self.redacted_before(room, &pdus).await?;
        let is_new = |event_id: &EventId| !known.contains_key(event_id) && !redacted.contains_key(event_id);
        let mut states: HashMap<OwnedUserId, AuthState> = HashMap::new();
        let mut accepted = Vec::with_capacity(run.len());
        for verified in run {
            let pdu = verified.event();
            if !is_new(pdu.event_id()) {
                break;
            }
            // Of a message, only the sender makes a difference to what the rules look at.
            let state = match states.get(pdu.sender()) {
                Some(state) => state,
                None => {
                    let state = resolver.auth_state(pdu, &current).await?;
                    states.entry(pdu.sender().to_owned()).or_insert(state)
                }
            };
            let Some(judged) = judge_message((*verified).clone(), &known, state) else { break };
            accepted.push(judged.event);
        }
        Ok(accepted)
    }

    async fn message(&self, pdu: &Pdu, unread: Unread) -> Result<NewEvent, RoomError> {
        Ok(NewEvent {
            number: EventNumber::default(),
            event_id: pdu.event_id().as_str().into(),
            type_sn: self.interned().event_type(pdu.event_type()).await?,
            state_key_sn: None,
            sender_sn: self.interned().user(pdu.sender().as_str()).await?,
            origin_server_ts: Timestamp(pdu.origin_server_ts()),
            depth: pdu.depth(),
            client_json: pdu.client_json().clone(),
            federation_json: pdu.federation_json().clone(),
            unread: Arc::new(unread),
            replaces: None,
            membership: None,
            redacts: None,
            standing: Standing::Accepted,
            auth_events: Vec::new(),
            previous_in_chain: None,
            state_before: None,
            arrival: Arrival::default(),
        })
    }
}

/// The events in an order in which they can be judged. Those that name each other in a circle are last.
fn sorted(events: Vec<(usize, VerifiedPdu)>) -> Queue {
    let ordered = in_order(events.iter().map(|(_, event)| event.event().clone()).collect());
    let order = ordered.events.iter().chain(&ordered.circular).map(Pdu::event_id);
    let ranks: HashMap<&EventId, usize> = order.enumerate().map(|(rank, event_id)| (event_id, rank)).collect();
    let mut events = events;
    events.sort_by_key(|(_, event)| ranks.get(event.event().event_id()).copied());
    events.into()
}

/// The first events of a queue that are messages, each following the one before it.
fn run_of(queue: &Queue) -> Vec<&VerifiedPdu> {
    let mut run: Vec<&VerifiedPdu> = Vec::new();
    for (_, verified) in queue.iter().take(MAX_RUN) {
        let pdu = verified.event();
        let is_message = pdu.state_key().is_none() && pdu.event_type() != "m.room.redaction" && !is_dummy(pdu);
        let follows = run.last().is_none_or(|last| pdu.prev_events() == [last.event().event_id()]);
        if !is_message || !follows {
            break;
        }
        run.push(verified);
    }
    run
}

/// A message, if its auth events and the current state allow it.
fn judge_message(
    verified: VerifiedPdu,
    known: &HashMap<OwnedEventId, (Pdu, bool)>,
    current: &AuthState,
) -> Option<JudgedPdu> {
    let permitted = verified.check_auth_events(|event_id| {
        let (event, rejected) = known.get(event_id)?;
        Some(AuthEvent { event, rejected: *rejected })
    });
    let allowed = permitted.ok()?.check_state_before(current).ok()?;
    let judged = allowed.check_current_state(current);
    judged.is_accepted().then_some(judged)
}
