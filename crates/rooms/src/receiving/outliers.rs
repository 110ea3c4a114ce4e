//! Events that are stored because others refer to them: the auth chains and states that other servers send.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use homeserver_core::Timestamp;
use room_engine::Pdu;
use room_engine::auth::AuthEvent;
use room_engine::receipt::{Dropped, KeyLookup, Verdict, VerifiedPdu, in_order};
use ruma::{EventId, OwnedEventId};
use storage::{EventNames, EventNumber, NewOutlier, Standing, StorageError};

use crate::resolving::RoomIdentity;
use crate::{RoomError, Timeline};

/// So many events are stored in one transaction, so that others need not wait for long.
const STORED_AT_ONCE: usize = 1_000;

/// What became of events that were to be stored as outliers.
#[derive(Debug, Default)]
pub struct OutlierReport {
    /// How many were stored.
    pub stored: usize,
    /// How many of these the rules reject.
    pub rejected: usize,
    /// How many were stored before.
    pub known: usize,
    /// Auth events that are not known. What names them was not stored.
    pub missing: BTreeSet<OwnedEventId>,
    /// Why others were not stored.
    pub dropped: Vec<Dropped>,
}

/// An event that later ones of a batch can name.
pub(super) struct Evidence {
    pub(super) pdu: Pdu,
    pub(super) number: EventNumber,
    pub(super) is_rejected: bool,
}

/// A batch of events that were judged by what they say permits them.
#[derive(Default)]
pub(super) struct JudgedBatch {
    /// All of them that are or can be stored, with the stored events that they name.
    pub(super) evidence: HashMap<OwnedEventId, Evidence>,
    /// The new ones, each after its auth events.
    pub(super) new: Vec<OwnedEventId>,
    pub(super) report: OutlierReport,
}

impl Timeline {
    /// Stores events of other servers without giving them places in their room, in any order: verifies them, and judges them by what they
    /// say permits them. An event of which an auth event is not known is not stored; only state events are.
    ///
    /// # Errors
    /// [`RoomError`] if the stored events cannot be read, or nothing can be written.
    #[tracing::instrument(level = "debug", skip_all, fields(events = events.len()))]
    pub async fn store_outliers<K: KeyLookup + Sync + ?Sized>(
        &self,
        room: &RoomIdentity,
        events: &[Bytes],
        keys: &K,
    ) -> Result<OutlierReport, RoomError> {
        let verified = self.verify_all(room.version, &room.room_id, events, keys).await?;
        let create = self.stored_state(room, "m.room.create").await?;
        let create = create.as_ref().map(Pdu::event_id);
        let judged = self.judge_batch(room, verified, create).await?;
        self.store_batch(room, &judged).await?;
        Ok(judged.report)
    }

    /// Judges events by what they say permits them. `create` is the room's create event; another one is dropped.
    pub(super) async fn judge_batch(
        &self,
        room: &RoomIdentity,
        events: Vec<Result<VerifiedPdu, Dropped>>,
        create: Option<&EventId>,
    ) -> Result<JudgedBatch, RoomError> {
        let mut batch = JudgedBatch::default();
        let mut verified: HashMap<OwnedEventId, VerifiedPdu> = HashMap::with_capacity(events.len());
        for event in events {
            match event {
                Ok(event) if is_storable(event.event(), create) => {
                    verified.entry(event.event().event_id().to_owned()).or_insert(event);
                }
                Ok(_) => {}
                Err(reason) => batch.report.dropped.push(reason),
            }
        }
        self.load_known(room, &mut batch, &mut verified).await?;
        let ordered = in_order(verified.values().map(|event| event.event().clone()).collect());
        for pdu in ordered.events {
            if let Some(event) = verified.remove(pdu.event_id()) {
                batch.judge(event);
            }
        }
        Ok(batch)
    }

    /// Finds what is stored of the events and of what they name.
    async fn load_known(
        &self,
        room: &RoomIdentity,
        batch: &mut JudgedBatch,
        verified: &mut HashMap<OwnedEventId, VerifiedPdu>,
    ) -> Result<(), RoomError> {
        let mut names: BTreeSet<OwnedEventId> = verified.keys().cloned().collect();
        names.extend(verified.values().flat_map(VerifiedPdu::needed_events));
        let names: Vec<String> = names.into_iter().map(String::from).collect();
        for event in self.database().graph_events_by_id(room.room_sn, &names).await? {
            let pdu = room.parse(&event)?;
            let event_id = pdu.event_id().to_owned();
            batch.report.known += usize::from(verified.remove(&event_id).is_some());
            let is_rejected = event.standing == Standing::Rejected;
            batch.evidence.insert(event_id, Evidence { pdu, number: EventNumber::known(event.stored.sn), is_rejected });
        }
        if room.version.event_id_in_pdu() {
            // There the sender chooses the ID.
            let ids: Vec<String> = verified.keys().map(ToString::to_string).collect();
            for taken in self.database().ids_of_other_rooms(room.room_sn, &ids).await? {
                let Ok(event_id) = EventId::parse(&*taken) else { continue };
                verified.remove(&event_id);
                batch.report.dropped.push(Dropped::IdTaken { event_id });
            }
        }
        Ok(())
    }

    /// Finds what is stored of further events that are needed, such as those that permit an event which is not one of the batch.
    pub(super) async fn add_known(
        &self,
        room: &RoomIdentity,
        batch: &mut JudgedBatch,
        needed: Vec<OwnedEventId>,
    ) -> Result<(), RoomError> {
        let names = needed.into_iter().filter(|id| !batch.evidence.contains_key(id)).map(String::from);
        let names: Vec<String> = names.collect();
        for event in self.database().graph_events_by_id(room.room_sn, &names).await? {
            let (pdu, is_rejected) = (room.parse(&event)?, event.standing == Standing::Rejected);
            let evidence = Evidence { number: EventNumber::known(event.stored.sn), is_rejected, pdu };
            batch.evidence.insert(evidence.pdu.event_id().to_owned(), evidence);
        }
        Ok(())
    }

    /// Stores the new events of a batch, which gives them their numbers.
    pub(super) async fn store_batch(&self, room: &RoomIdentity, batch: &JudgedBatch) -> Result<(), RoomError> {
        for ids in batch.new.chunks(STORED_AT_ONCE) {
            let events: Vec<&Evidence> = ids.iter().filter_map(|id| batch.evidence.get(id)).collect();
            let pdus: Vec<&Pdu> = events.iter().map(|event| &event.pdu).collect();
            let names = self.names_of(&pdus).await?;
            let redacted = self.redacted_before(room, &pdus).await?;
            let mut outliers = Vec::with_capacity(events.len());
            for event in &events {
                let already = redacted.get(event.pdu.event_id());
                let kept = already.map_or(&event.pdu, |already| &already.pdu);
                let by = already.map(|already| already.by.0);
                outliers.push(NewOutlier { redacted_by: by, ..batch.outlier(event, kept, &names)? });
            }
            self.database().store_outliers(room.room_sn, Arc::from(outliers)).await?;
        }
        Ok(())
    }

    /// The numbers of the users, types and state keys of events.
    pub(super) async fn names_of(&self, pdus: &[&Pdu]) -> Result<EventNames, StorageError> {
        let (mut users, mut types, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for pdu in pdus {
            users.push(pdu.sender().as_str());
            users.extend(pdu.state_key().filter(|_| pdu.event_type() == "m.room.member"));
            types.push(pdu.event_type());
            keys.extend(pdu.state_key());
        }
        self.interned().intern_all(users, types, keys).await
    }
}

/// Only state events are evidence, and a room has one create event. U+0000 cannot be stored in text by every database.
fn is_storable(pdu: &Pdu, create: Option<&EventId>) -> bool {
    let Some(state_key) = pdu.state_key() else { return false };
    let is_other_create = pdu.event_type() == "m.room.create" && create.is_some_and(|create| create != pdu.event_id());
    !is_other_create && !state_key.contains('\0') && !pdu.event_type().contains('\0')
}

impl JudgedBatch {
    fn judge(&mut self, event: VerifiedPdu) {
        let needed = event.needed_events();
        let mut missing = needed.into_iter().filter(|id| !self.evidence.contains_key(id)).peekable();
        if missing.peek().is_some() {
            self.report.missing.extend(missing);
            return;
        }
        drop(missing);
        let permitted = event.check_auth_events(|event_id| {
            let Evidence { pdu, is_rejected, .. } = self.evidence.get(event_id)?;
            Some(AuthEvent { event: pdu, rejected: *is_rejected })
        });
        let judged = permitted.map_or_else(|rejected| rejected, room_engine::receipt::PermittedPdu::accept);
        let is_rejected = matches!(judged.verdict, Verdict::Rejected(_));
        self.report.stored += 1;
        self.report.rejected += usize::from(is_rejected);
        let event_id = judged.event.event_id().to_owned();
        let evidence = Evidence { pdu: judged.event, number: EventNumber::default(), is_rejected };
        self.evidence.insert(event_id.clone(), evidence);
        self.new.push(event_id);
    }

    /// The auth events of an event that was judged, in its order.
    pub(super) fn auth_events_of<'a>(&'a self, pdu: &'a Pdu) -> impl Iterator<Item = &'a Evidence> {
        pdu.auth_events().iter().filter_map(|id| self.evidence.get(id))
    }

    /// The auth event with the type and state key of the event itself.
    pub(super) fn previous_in_chain<'a>(&'a self, pdu: &'a Pdu) -> Option<&'a Evidence> {
        let state_key = pdu.state_key()?;
        self.auth_events_of(pdu).find(|event| event.pdu.is_state(pdu.event_type(), state_key))
    }

    fn outlier(&self, event: &Evidence, kept: &Pdu, names: &EventNames) -> Result<NewOutlier, RoomError> {
        let pdu = &event.pdu;
        let nameless = || StorageError::Corrupt(format!("what event {} names has no numbers", pdu.event_id()));
        let state_key = pdu.state_key().unwrap_or_default();
        let auth_events = self.auth_events_of(pdu).filter(|_| !event.is_rejected);
        let previous = self.previous_in_chain(pdu).filter(|_| !event.is_rejected);
        Ok(NewOutlier {
            number: event.number.clone(),
            event_id: pdu.event_id().as_str().into(),
            type_sn: *names.types.get(pdu.event_type()).ok_or_else(nameless)?,
            state_key_sn: Some(*names.keys.get(state_key).ok_or_else(nameless)?),
            sender_sn: *names.users.get(pdu.sender().as_str()).ok_or_else(nameless)?,
            origin_server_ts: Timestamp(pdu.origin_server_ts()),
            depth: pdu.depth(),
            client_json: kept.client_json().clone(),
            federation_json: kept.federation_json().clone(),
            is_rejected: event.is_rejected,
            auth_events: auth_events.map(|event| event.number.clone()).collect(),
            previous_in_chain: previous.map(|event| event.number.clone()),
            redacted_by: None,
        })
    }
}
