//! Receipts, as ephemeral events of rooms.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use homeserver_core::{Position, RoomSn};
use rooms::RoomError;
use rooms::wire::{push_number, push_string};
use storage::Receipt;

use super::changes::RoomUpdate;
use super::{Pass, Providers};

/// Most receipts of others in one answer about a room; the newest are taken. A client that sees a room for the first time does not
/// need the receipt of every past member.
const MAX_RECEIPTS: i64 = 500;

/// The receipts on an event: by type and user.
type OnEvent<'a> = BTreeMap<&'static str, BTreeMap<Arc<str>, &'a Receipt>>;

impl Providers {
    /// The receipts of each room that the user is told of: in rooms that are new to the client (`fresh`) the newest of all, in those
    /// that it knows those of the pass.
    pub(crate) async fn receipts(
        &self,
        pass: &Pass<'_>,
        fresh: &[&RoomUpdate],
        known: &[&RoomUpdate],
    ) -> Result<HashMap<RoomSn, Vec<Arc<Receipt>>>, RoomError> {
        let mut receipts: HashMap<RoomSn, Vec<Arc<Receipt>>> = HashMap::new();
        receipts.extend(known.iter().filter_map(|update| Some((update.room_sn, newest(update.receipts.as_ref()?)))));
        let unknown = known.iter().filter(|update| update.receipts.is_none());
        self.read_receipts(pass, unknown, pass.after(), &mut receipts).await?;
        self.read_receipts(pass, fresh.iter(), Position::START, &mut receipts).await?;
        Ok(receipts)
    }

    async fn read_receipts<'a>(
        &self,
        pass: &Pass<'_>,
        updates: impl Iterator<Item = &'a &'a RoomUpdate>,
        after: Position,
        receipts: &mut HashMap<RoomSn, Vec<Arc<Receipt>>>,
    ) -> Result<(), RoomError> {
        let rooms: Vec<i64> = updates.map(|update| update.room_sn.0).collect();
        if rooms.is_empty() {
            return Ok(());
        }
        let reader = pass.requester.user_sn;
        for receipt in self.database.receipts(&rooms, reader, after, pass.to, MAX_RECEIPTS).await? {
            receipts.entry(receipt.room_sn).or_default().push(Arc::new(receipt));
        }
        Ok(())
    }

    /// The events that tell of receipts, as JSON: mostly one, but for each event one can tell of no more than one receipt of a
    /// user. One without a thread says all that others on the same event say.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#mreceipt>
    pub(crate) async fn receipt_events(&self, receipts: &[Arc<Receipt>]) -> Result<Vec<Vec<u8>>, RoomError> {
        let mut out = Vec::new();
        let mut left: Vec<&Receipt> = receipts.iter().map(|receipt| &**receipt).collect();
        left.sort_by_key(|receipt| receipt.thread.id().is_some());
        while !left.is_empty() {
            let mut events: BTreeMap<&str, OnEvent<'_>> = BTreeMap::new();
            let mut doubled = Vec::new();
            for receipt in left {
                let user_id = self.interned.user_id(receipt.user_sn).await?;
                let on_event = events.entry(&receipt.event_id).or_default();
                match on_event.entry(receipt.receipt_type.as_str()).or_default().entry(user_id) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(receipt);
                    }
                    Entry::Occupied(told) if told.get().thread.id().is_none() => {}
                    Entry::Occupied(_) => doubled.push(receipt),
                }
            }
            out.push(receipt_event(events));
            left = doubled;
        }
        Ok(out)
    }
}

/// The newest receipt of each user, type and thread: it replaces the older ones.
fn newest(receipts: &[Arc<Receipt>]) -> Vec<Arc<Receipt>> {
    let mut seen = HashSet::with_capacity(receipts.len());
    let of = |receipt: &Receipt| (receipt.user_sn, receipt.receipt_type, receipt.thread.clone());
    let mut newest: Vec<_> = receipts.iter().rev().filter(|receipt| seen.insert(of(receipt))).cloned().collect();
    newest.reverse();
    newest
}

fn receipt_event(events: BTreeMap<&str, OnEvent<'_>>) -> Vec<u8> {
    let mut out = br#"{"type":"m.receipt","content":"#.to_vec();
    write_object(&mut out, events, |out, types| {
        write_object(out, types, |out, users| write_object(out, users, write_receipt));
    });
    out.push(b'}');
    out
}

fn write_object<K: AsRef<str>, V>(
    out: &mut Vec<u8>,
    members: impl IntoIterator<Item = (K, V)>,
    mut write: impl FnMut(&mut Vec<u8>, V),
) {
    out.push(b'{');
    for (index, (key, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(out, key.as_ref());
        out.push(b':');
        write(out, value);
    }
    out.push(b'}');
}

fn write_receipt(out: &mut Vec<u8>, receipt: &Receipt) {
    out.extend_from_slice(br#"{"ts":"#);
    push_number(out, receipt.received_at.0);
    if let Some(thread_id) = receipt.thread.id() {
        out.extend_from_slice(br#","thread_id":"#);
        push_string(out, thread_id);
    }
    out.push(b'}');
}
