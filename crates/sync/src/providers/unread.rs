//! What is unread of rooms.
//!
//! Mostly that is known from the answer before, and what came since is in memory: then the database is asked nothing.

use std::collections::HashMap;
use std::sync::Arc;

use homeserver_core::RoomSn;
use rooms::RoomError;
use storage::{Notice, RedactedEvent, StoredEvent, UnreadThread, UnreadTotals};

use super::changes::RoomUpdate;
use super::{Pass, Providers};

impl Providers {
    /// What is unread of each of these rooms at the end of the pass.
    pub(crate) async fn unread(
        &self,
        pass: &Pass<'_>,
        updates: &[&RoomUpdate],
    ) -> Result<HashMap<RoomSn, Arc<[UnreadThread]>>, RoomError> {
        let mut counts: HashMap<RoomSn, Arc<[UnreadThread]>> = HashMap::with_capacity(updates.len());
        let (mut missing, mut has_grown) = (Vec::new(), false);
        for update in updates {
            match continued(pass, update) {
                Some(threads) => {
                    has_grown |= pass.rooms.set_unread(update.room_sn, pass.to, threads.clone());
                    counts.insert(update.room_sn, threads);
                }
                None => missing.push(update.room_sn.0),
            }
        }
        if !missing.is_empty() {
            let mut read: HashMap<RoomSn, Vec<UnreadThread>> = HashMap::new();
            for thread in self.database.unread(pass.requester.user_sn, &missing, pass.to).await? {
                read.entry(thread.room_sn).or_default().push(thread);
            }
            for room_sn in missing.into_iter().map(RoomSn) {
                let threads: Arc<[UnreadThread]> = read.remove(&room_sn).unwrap_or_default().into();
                has_grown |= pass.rooms.set_unread(room_sn, pass.to, threads.clone());
                counts.insert(room_sn, threads);
            }
        }
        if has_grown {
            self.user_rooms.reweigh(pass.requester.user_sn);
        }
        Ok(counts)
    }
}

/// What is unread at the end of the pass, if it follows from what is in memory.
fn continued(pass: &Pass<'_>, update: &RoomUpdate) -> Option<Arc<[UnreadThread]>> {
    let (at, threads) = pass.rooms.unread(update.room_sn)?;
    if at >= pass.to {
        return Some(threads);
    }
    let (from, events) = (pass.from?, update.events.as_ref()?);
    let new = events.get(events.partition_point(|event| event.sn.position() <= at)..)?;
    // What happened in the room before the pass, but after what is in memory, is not among its events.
    let is_gapless =
        at >= from || new.first().and_then(|event| event.previous_sn).is_some_and(|previous| previous.position() <= at);
    if is_gapless { with_events(pass, threads, new) } else { None }
}

/// Adds events to what is unread; `None` if of one of them it is not known what it is to the user.
fn with_events(
    pass: &Pass<'_>,
    threads: Arc<[UnreadThread]>,
    events: &[Arc<StoredEvent>],
) -> Option<Arc<[UnreadThread]>> {
    let mut added: Option<Vec<UnreadThread>> = None;
    for event in events {
        if let Some(redacted) = &event.redacts
            && threads.iter().any(|thread| is_counted(thread, redacted))
        {
            take_off(pass, added.get_or_insert_with(|| threads.to_vec()), redacted)?;
        }
        let unread = event.unread.as_ref()?;
        let notice = unread.notice_of(pass.requester.user_sn);
        if notice == Notice::default() {
            continue;
        }
        let added = added.get_or_insert_with(|| threads.to_vec());
        let thread = added.iter_mut().find(|thread| thread.thread.as_ref().map(|(root, _)| *root) == unread.thread);
        // The ID of a root that is not among them has to be read.
        let totals = &mut thread?.totals;
        let UnreadTotals { notify, highlight } = UnreadTotals::from(notice);
        (totals.notify, totals.highlight) = (totals.notify + notify, totals.highlight + highlight);
    }
    Some(added.map_or(threads, Arc::from))
}

/// Takes a redacted event off what is unread; `None` if it is not known what it was to the user.
fn take_off(pass: &Pass<'_>, threads: &mut [UnreadThread], redacted: &RedactedEvent) -> Option<()> {
    let unread = redacted.unread.as_ref()?;
    let of_event = |thread: &&mut UnreadThread| thread.thread.as_ref().map(|(root, _)| *root) == unread.thread;
    // A thread that is not among them has nothing unread.
    if let Some(thread) = threads.iter_mut().find(of_event).filter(|thread| is_counted(thread, redacted)) {
        let was = UnreadTotals::from(unread.notice_of(pass.requester.user_sn));
        thread.totals.notify -= was.notify;
        thread.totals.highlight -= was.highlight;
    }
    Some(())
}

/// Whether the event is in the part of the room that the count is about, if it is in the thread.
fn is_counted(thread: &UnreadThread, redacted: &RedactedEvent) -> bool {
    redacted.sn.position() > thread.start
}
