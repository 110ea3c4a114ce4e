//! What events count for users who have not read them, as the tables of [`crate::unread`] keep it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use database::TableRows;
use homeserver_core::{HeapSize, RoomSn, UserSn, table_bytes};

use room_engine::Members;

use super::{NewEvent, NumberedAppend, NumberedEvent};
use crate::unread::{MAIN_TIMELINE, Notice, UnreadTotals};
use crate::{Engine, Membership, StorageError, Tx, Value, params};

/// The end of a silence that has not ended.
const OPEN: i64 = i64::MAX;

/// A thread, by room and root.
type Thread = (RoomSn, i64);
/// A user in a thread.
type Reader = (UserSn, RoomSn, i64);

/// What the writer remembers of the totals that it continues.
#[derive(Default)]
pub(crate) struct KnownTotals {
    /// Since when users are silent, by room.
    silences: HashMap<RoomSn, HashMap<UserSn, i64>>,
    /// Of each room, the users who are silent, if they are exactly those of its last event: mostly the next event is silent for
    /// the same, and changes nothing.
    settled: HashMap<RoomSn, Arc<[UserSn]>>,
    totals: HashMap<Thread, UnreadTotals>,
    differences: HashMap<Reader, UnreadTotals>,
}

impl KnownTotals {
    pub(crate) fn len(&self) -> usize {
        self.silences.values().map(|silent| silent.len() + 1).sum::<usize>()
            + self.totals.len()
            + self.differences.len()
    }
}

/// Which totals were continued.
#[derive(Default)]
pub(crate) struct ContinuedTotals {
    rooms: Vec<RoomSn>,
    threads: Vec<Thread>,
    readers: Vec<Reader>,
}

impl KnownTotals {
    /// Forgets totals, so that they are read again.
    pub(crate) fn forget(&mut self, continued: &ContinuedTotals) {
        for room_sn in &continued.rooms {
            self.silences.remove(room_sn);
            self.settled.remove(room_sn);
        }
        for thread in &continued.threads {
            self.totals.remove(thread);
        }
        for reader in &continued.readers {
            self.differences.remove(reader);
        }
    }
}

impl HeapSize for KnownTotals {
    fn heap_bytes(&self) -> usize {
        let silent = self.silences.values().map(|silent| table_bytes::<(UserSn, i64)>(silent.capacity()));
        table_bytes::<(RoomSn, HashMap<UserSn, i64>)>(self.silences.capacity())
            + silent.sum::<usize>()
            + table_bytes::<(RoomSn, Arc<[UserSn]>)>(self.settled.capacity())
            + table_bytes::<(Thread, UnreadTotals)>(self.totals.capacity())
            + table_bytes::<(Reader, UnreadTotals)>(self.differences.capacity())
    }
}

/// The rows that follow from the events of a batch.
#[derive(Default)]
pub(super) struct UnreadRows {
    /// The end of each silence that began or ended.
    silences: HashMap<(UserSn, RoomSn, i64), i64>,
    threads: HashMap<Thread, i64>,
    totals: Vec<(Thread, i64, UnreadTotals)>,
    differences: Vec<(Reader, i64, UnreadTotals)>,
    floors: HashMap<(UserSn, RoomSn), i64>,
}

/// Continues the totals with what was written.
pub(super) async fn of_all(tx: &mut Tx, written: &[NumberedAppend<'_>]) -> Result<UnreadRows, StorageError> {
    let mut known = tx.take_unread_totals();
    let loaded = load(tx, &mut known, written).await;
    let mut rows = UnreadRows::default();
    if loaded.is_ok() {
        for (room_sn, event) in each_shown(written) {
            rows.add(&mut known, room_sn, event);
        }
    }
    tx.keep_unread_totals(known);
    tx.has_continued(rows.continued());
    loaded.map(|()| rows)
}

fn each_shown<'a>(written: &'a [NumberedAppend<'a>]) -> impl Iterator<Item = (RoomSn, &'a NumberedEvent<'a>)> {
    let each = written.iter().flat_map(|append| append.events.iter().map(|event| (append.append.room_sn, event)));
    each.filter(|(_, written)| written.event.is_news())
}

/// The number of the thread that the event is in.
fn thread_of(written: &NumberedEvent<'_>) -> i64 {
    written.event.unread.thread.map_or(MAIN_TIMELINE, |root| root.0)
}

/// The user who enters the room by the event.
fn entering(event: &NewEvent) -> Option<UserSn> {
    let (user_sn, Membership::Join) = event.membership? else { return None };
    (!stays_joined(event)).then_some(user_sn)
}

/// Whether the event leaves a user in the room who was in it before.
pub(super) fn stays_joined(event: &NewEvent) -> bool {
    let before = event.replaces.as_ref().and_then(|(_, json)| {
        let content = Members::new(json).find(|(key, _)| *key == b"content")?.1;
        Some(Members::new(content).find(|(key, _)| *key == b"membership")?.1)
    });
    matches!(event.membership, Some((_, Membership::Join))) && before == Some(b"\"join\"")
}

/// Whether the totals of the event's thread have a row for it.
fn has_totals(written: &NumberedEvent<'_>) -> bool {
    let usual = written.event.unread.usual;
    if written.event.unread.thread.is_some() { usual.notify } else { usual.highlight }
}

impl UnreadRows {
    fn add(&mut self, known: &mut KnownTotals, room_sn: RoomSn, written: &NumberedEvent<'_>) {
        let (unread, sn) = (&written.event.unread, written.stored.sn.0);
        if let Some(user_sn) = entering(written.event) {
            self.floors.insert((user_sn, room_sn), sn);
        }
        let thread = (room_sn, thread_of(written));
        let differences_before = self.differences.len();
        if unread.usual.notify {
            self.change_silences(known, room_sn, written);
        }
        let silent = known.silences.get(&room_sn);
        let expected = |user_sn: &UserSn| {
            let is_silent = silent.is_some_and(|silent| silent.contains_key(user_sn));
            if is_silent { Notice::default() } else { unread.usual }
        };
        let own = unread.local_sender.map(|sender| (sender, Notice::default()));
        for (user_sn, notice) in unread.others.iter().copied().chain(own) {
            let difference = UnreadTotals::from(notice).minus(expected(&user_sn).into());
            if difference == UnreadTotals::default() {
                continue;
            }
            let reader = (user_sn, room_sn, thread.1);
            let total = known.differences.entry(reader).or_default();
            *total = total.plus(difference);
            self.differences.push((reader, sn, *total));
        }
        if has_totals(written) {
            let total = known.totals.entry(thread).or_default();
            *total = total.plus(unread.usual.into());
            self.totals.push((thread, sn, *total));
        }
        let is_news = unread.usual.notify || self.differences.len() > differences_before;
        if unread.thread.is_some() && is_news {
            self.threads.insert(thread, sn);
        }
    }

    /// Begins the silences of users that the event does not notify, and ends the silences of users that it notifies.
    fn change_silences(&mut self, known: &mut KnownTotals, room_sn: RoomSn, written: &NumberedEvent<'_>) {
        let (unread, before) = (&written.event.unread, written.stored.sn.0 - 1);
        if known.settled.get(&room_sn).is_some_and(|settled| Arc::ptr_eq(settled, &unread.silent)) {
            return;
        }
        let silent = known.silences.entry(room_sn).or_default();
        for user_sn in unread.silent.iter().filter(|user_sn| Some(**user_sn) != unread.local_sender) {
            if !silent.contains_key(user_sn) {
                silent.insert(*user_sn, before);
                self.silences.insert((*user_sn, room_sn, before), OPEN);
            }
        }
        let is_notified = |user_sn: &UserSn| unread.notice_of(*user_sn) == unread.usual;
        for (user_sn, since) in silent.extract_if(|user_sn, _| is_notified(user_sn)) {
            self.silences.insert((user_sn, room_sn, since), before);
        }
        // Every silent user is now in the event's list, or among the few to whom the event is something else.
        let is_missing = |user_sn| !silent.contains_key(&user_sn) && unread.silent.binary_search(&user_sn).is_ok();
        if silent.len() == unread.silent.len() && !unread.local_sender.is_some_and(is_missing) {
            known.settled.insert(room_sn, unread.silent.clone());
        } else {
            known.settled.remove(&room_sn);
        }
    }

    fn continued(&self) -> ContinuedTotals {
        ContinuedTotals {
            rooms: self.silences.keys().map(|(_, room_sn, _)| *room_sn).collect(),
            threads: self.totals.iter().map(|(thread, ..)| *thread).collect(),
            readers: self.differences.iter().map(|(reader, ..)| *reader).collect(),
        }
    }

    /// The rows by table.
    pub(super) fn tables(&self) -> Vec<TableRows<'static>> {
        let floors =
            self.floors.iter().map(|((user_sn, room_sn), at)| vec![(*user_sn).into(), (*room_sn).into(), (*at).into()]);
        let threads =
            self.threads.iter().map(|((room_sn, root), last)| vec![(*room_sn).into(), (*root).into(), (*last).into()]);
        let silences = self.silences.iter().map(|((user_sn, room_sn, since), until)| {
            vec![(*user_sn).into(), (*room_sn).into(), (*since).into(), (*until).into()]
        });
        let totals = self.totals.iter().map(|((room_sn, root), sn, total)| {
            vec![(*room_sn).into(), (*root).into(), (*sn).into(), total.notify.into(), total.highlight.into()]
        });
        let differences = self.differences.iter().map(|((user_sn, room_sn, root), sn, total)| {
            let reader: [Value<'static>; 3] = [(*user_sn).into(), (*room_sn).into(), (*root).into()];
            reader.into_iter().chain([(*sn).into(), total.notify.into(), total.highlight.into()]).collect()
        });
        vec![
            TableRows { into: FLOORS, rows: floors.collect() },
            TableRows { into: THREADS, rows: threads.collect() },
            TableRows { into: SILENCES, rows: silences.collect() },
            TableRows { into: TOTALS, rows: totals.collect() },
            TableRows { into: DIFFERENCES, rows: differences.collect() },
        ]
    }
}

const FLOORS: &str = "unread_floors (user_sn, room_sn, position) ON CONFLICT (user_sn, room_sn) \
                      DO UPDATE SET position = excluded.position";
const THREADS: &str = "room_threads (room_sn, thread_sn, last_event_sn) ON CONFLICT (room_sn, thread_sn) \
                       DO UPDATE SET last_event_sn = excluded.last_event_sn";
const SILENCES: &str = "unread_silences (user_sn, room_sn, since, until) ON CONFLICT (user_sn, room_sn, since) \
                        DO UPDATE SET until = excluded.until";
const TOTALS: &str = "unread_totals (room_sn, thread_sn, event_sn, notify_total, highlight_total)";
const DIFFERENCES: &str = "unread_differences (user_sn, room_sn, thread_sn, event_sn, notify_total, highlight_total)";

/// Reads what the events continue and the writer does not remember.
async fn load(tx: &mut Tx, known: &mut KnownTotals, written: &[NumberedAppend<'_>]) -> Result<(), StorageError> {
    let (mut rooms, mut threads, mut readers) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (room_sn, event) in each_shown(written) {
        let (unread, thread) = (&event.event.unread, thread_of(event));
        let is_anything = unread.usual.notify || !unread.others.is_empty();
        if is_anything && !known.silences.contains_key(&room_sn) {
            rooms.insert(room_sn);
        }
        if has_totals(event) && !known.totals.contains_key(&(room_sn, thread)) {
            threads.insert((room_sn, thread));
        }
        let users =
            unread.others.iter().map(|(user_sn, _)| *user_sn).chain(unread.local_sender).filter(|_| is_anything);
        readers
            .extend(users.map(|user_sn| (user_sn, room_sn, thread)).filter(|it| !known.differences.contains_key(it)));
    }
    load_silences(tx, known, rooms).await?;
    load_totals(tx, known, threads).await?;
    load_differences(tx, known, readers).await
}

async fn load_silences(tx: &mut Tx, known: &mut KnownTotals, rooms: HashSet<RoomSn>) -> Result<(), StorageError> {
    if rooms.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = rooms.iter().map(|room_sn| room_sn.0).collect();
    let sql = "SELECT room_sn, user_sn, since FROM unread_silences \
               WHERE room_sn IN LIST($1) AND until = 9223372036854775807";
    let silences = tx.query(sql, params![&numbers], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).await?;
    for room_sn in rooms {
        known.silences.insert(room_sn, HashMap::new());
        known.settled.remove(&room_sn);
    }
    for (room_sn, user_sn, since) in silences {
        known.silences.entry(room_sn).or_default().insert(user_sn, since);
    }
    Ok(())
}

fn read_totals(row: &crate::Row<'_>, first: usize) -> Result<UnreadTotals, StorageError> {
    Ok(UnreadTotals { notify: row.get(first)?, highlight: row.get(first + 1)? })
}

async fn load_totals(tx: &mut Tx, known: &mut KnownTotals, threads: HashSet<Thread>) -> Result<(), StorageError> {
    // Few batches have more than one event in a thread without recent events.
    for (room_sn, thread_sn) in threads {
        let sql = "SELECT notify_total, highlight_total FROM unread_totals WHERE room_sn = $1 AND thread_sn = $2 \
                   ORDER BY event_sn DESC LIMIT 1";
        let total = tx.query_optional(sql, params![room_sn, thread_sn], |row| read_totals(row, 0)).await?;
        known.totals.insert((room_sn, thread_sn), total.unwrap_or_default());
    }
    Ok(())
}

async fn load_differences(tx: &mut Tx, known: &mut KnownTotals, readers: HashSet<Reader>) -> Result<(), StorageError> {
    if readers.is_empty() {
        return Ok(());
    }
    if tx.engine() == Engine::Sqlite {
        let sql = "SELECT notify_total, highlight_total FROM unread_differences \
                   WHERE user_sn = $1 AND room_sn = $2 AND thread_sn = $3 ORDER BY event_sn DESC LIMIT 1";
        for reader in readers {
            let (user_sn, room_sn, thread_sn) = reader;
            let total = tx.query_optional(sql, params![user_sn, room_sn, thread_sn], |row| read_totals(row, 0)).await?;
            known.differences.insert(reader, total.unwrap_or_default());
        }
        return Ok(());
    }
    let (mut users, mut rooms, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    for reader in &readers {
        users.push(reader.0.0);
        rooms.push(reader.1.0);
        threads.push(reader.2);
    }
    let sql = "SELECT k.user_sn, k.room_sn, k.thread_sn, d.notify_total, d.highlight_total \
               FROM UNNEST($1, $2, $3) AS k (user_sn, room_sn, thread_sn), LATERAL (\
               SELECT notify_total, highlight_total FROM unread_differences x WHERE x.user_sn = k.user_sn \
               AND x.room_sn = k.room_sn AND x.thread_sn = k.thread_sn ORDER BY x.event_sn DESC LIMIT 1) d";
    let found = tx
        .query(sql, params![&users, &rooms, &threads], |row| {
            Ok(((row.get(0)?, row.get(1)?, row.get(2)?), read_totals(row, 3)?))
        })
        .await?;
    known.differences.extend(readers.into_iter().map(|reader| (reader, UnreadTotals::default())));
    known.differences.extend(found);
    Ok(())
}
