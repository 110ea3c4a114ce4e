//! What relates to events, told together with them: the newest edit, references, and threads.
//!
//! Relations that the reader may not see, or that users sent whom the reader ignores, do not count. What is told with an event is read
//! when the event is: nothing of it is remembered, so it cannot be out of date.
//!
//! <https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events>

use std::collections::{BTreeMap, HashMap, HashSet};

use accounts::ignoring::Ignored;
use accounts::sessions::Requester;
use homeserver_core::{EventSn, RoomSn, TimelineOrder, Timestamp, UserSn};
use room_engine::Relation;
use storage::{Database, Interned, RelationKind, RelationSum, StorageError, StoredEvent};

use super::access::Access;
use super::erasure::redact_erased;
use super::history::History;
use super::{Membership, Visibility};
use crate::RoomError;
use crate::wire::{Bundles, Reader, member, push_number, push_string, write_event, write_list};

/// Most references that are told with an event. The others are found by asking for its relations.
const MAX_REFERENCES: i64 = 200;

/// Finds what relates to events.
pub struct Bundling<'a> {
    /// Where events are read.
    pub database: &'a Database,
    /// The numbers of identifiers.
    pub interned: &'a Interned,
    /// The reader.
    pub requester: &'a Requester,
    /// Whom the reader ignores.
    pub ignored: &'a Ignored,
    /// What the reader may see of the rooms.
    pub sight: Sight<'a>,
    /// Relations at later places do not count.
    pub until: TimelineOrder,
    /// The room ID, where the answer does not name it elsewhere.
    pub room_id: Option<&'a str>,
    /// The time, from which ages are computed.
    pub now: Timestamp,
}

/// What a reader may see of a room.
#[derive(Clone, Copy)]
pub struct Sight<'a>(View<'a>);

#[derive(Clone, Copy)]
enum View<'a> {
    Whole,
    Of(&'a Visibility),
    Reading(&'a Access<'a>),
}

impl<'a> Sight<'a> {
    /// Everything that relates to the events: the reader was in the room all the time since they were sent.
    pub const WHOLE: Self = Self(View::Whole);

    /// What a view of the room allows.
    #[must_use]
    pub fn of(visibility: &'a Visibility) -> Self {
        Self(View::Of(visibility))
    }

    /// What reading the room allows.
    pub(super) fn reading(access: &'a Access<'a>) -> Self {
        Self(View::Reading(access))
    }
}

/// What relates to one event.
#[derive(Default)]
struct Bundle {
    edit: Option<StoredEvent>,
    references: Vec<Box<str>>,
    thread: Option<Thread>,
}

struct Thread {
    room_sn: RoomSn,
    count: i64,
    latest: TimelineOrder,
    has_participated: bool,
    /// The last event, and what relates to it.
    latest_event: Option<StoredEvent>,
}

type Targets<'e> = HashMap<&'e str, &'e StoredEvent>;

impl Bundling<'_> {
    /// What relates to the events.
    ///
    /// # Errors
    /// [`RoomError::Storage`] if something cannot be read.
    pub async fn bundles<'e>(&self, events: impl IntoIterator<Item = &'e StoredEvent>) -> Result<Bundles, RoomError> {
        let targets: Targets<'_> =
            events.into_iter().filter(|it| can_be_target(it)).map(|event| (&*event.event_id, event)).collect();
        let mut bundles = self.collect(&targets).await?;
        self.load_latest(&mut bundles).await?;
        let latest: Targets<'_> =
            bundles.values().filter_map(|it| it.thread.as_ref()?.latest_event.as_ref()).map(by_id).collect();
        // The last event of a thread is no root of another one, so this ends here.
        let inner = self.written(&self.collect(&latest).await?, None);
        Ok(self.written(&bundles, Some(&inner)))
    }

    async fn collect(&self, targets: &Targets<'_>) -> Result<BTreeMap<EventSn, Bundle>, RoomError> {
        let mut bundles: BTreeMap<EventSn, Bundle> = BTreeMap::new();
        let ids: Vec<String> = targets.keys().map(|id| (*id).to_owned()).collect();
        let sums = self.database.relation_sums(&ids, self.until).await?;
        let (mut edited, mut editors, mut referred) = (HashSet::new(), HashSet::new(), HashSet::new());
        for sum in &sums {
            let Some(target) = target_of(targets, sum.room_sn, &sum.target_id) else { continue };
            match sum.kind {
                RelationKind::Replace if sum.sender_sn == target.sender_sn => {
                    // The text of an ignored user is told nowhere.
                    if self.ignores(sum.sender_sn).await? {
                        continue;
                    }
                    edited.insert(sum.target_id.to_string());
                    editors.insert(sum.sender_sn.0);
                }
                RelationKind::Replace => {}
                RelationKind::Reference => drop(referred.insert(sum.target_id.to_string())),
                RelationKind::Thread => self.count(sum, target, &mut bundles).await?,
            }
        }
        if !edited.is_empty() {
            self.add_edits(targets, (edited, editors), &mut bundles).await?;
        }
        if !referred.is_empty() {
            self.add_references(targets, referred, &mut bundles).await?;
        }
        Ok(bundles)
    }

    /// Counts what one user sent into a thread.
    async fn count(
        &self,
        sum: &RelationSum,
        root: &StoredEvent,
        bundles: &mut BTreeMap<EventSn, Bundle>,
    ) -> Result<(), StorageError> {
        // An event that relates to another one cannot begin a thread.
        if Relation::of(&root.client_json).is_some() || self.ignores(sum.sender_sn).await? {
            return Ok(());
        }
        let reader = self.requester.user_sn;
        let has_begun = root.sender_sn == reader;
        let (room_sn, latest) = (sum.room_sn, sum.latest);
        let nothing = Thread { room_sn, count: 0, latest, has_participated: has_begun, latest_event: None };
        let thread = bundles.entry(root.sn).or_default().thread.get_or_insert(nothing);
        thread.count += sum.count;
        thread.latest = thread.latest.max(latest);
        thread.has_participated |= sum.sender_sn == reader;
        Ok(())
    }

    async fn ignores(&self, user_sn: UserSn) -> Result<bool, StorageError> {
        Ok(!self.ignored.is_empty() && self.ignored.has(&self.interned.user_id(user_sn).await?))
    }

    async fn add_edits(
        &self,
        targets: &Targets<'_>,
        (edited, editors): (HashSet<String>, HashSet<i64>),
        bundles: &mut BTreeMap<EventSn, Bundle>,
    ) -> Result<(), RoomError> {
        let (edited, editors): (Vec<_>, Vec<_>) = (edited.into_iter().collect(), editors.into_iter().collect());
        for edit in self.shown(self.database.newest_edits(&edited, &editors, self.until).await?).await? {
            let Some(relation) = Relation::of(&edit.client_json) else { continue };
            let Some(target) = target_of(targets, edit.room_sn, &relation.event_id) else { continue };
            if !is_valid_edit(&edit, target) {
                continue;
            }
            let newest = &mut bundles.entry(target.sn).or_default().edit;
            let age = |event: &StoredEvent| (event.origin_server_ts, event.event_id.clone());
            if newest.as_ref().is_none_or(|newest| age(newest) < age(&edit)) {
                *newest = Some(edit);
            }
        }
        Ok(())
    }

    async fn add_references(
        &self,
        targets: &Targets<'_>,
        referred: HashSet<String>,
        bundles: &mut BTreeMap<EventSn, Bundle>,
    ) -> Result<(), RoomError> {
        let referred: Vec<_> = referred.into_iter().collect();
        for reference in self.database.references(&referred, self.until, MAX_REFERENCES).await? {
            let Some(target) = target_of(targets, reference.room_sn, &reference.target_id) else { continue };
            if !self.ignores(reference.sender_sn).await? {
                bundles.entry(target.sn).or_default().references.push(reference.event_id);
            }
        }
        Ok(())
    }

    /// Reads the last event of each thread. Where the reader may not see it, nothing is told of the thread.
    async fn load_latest(&self, bundles: &mut BTreeMap<EventSn, Bundle>) -> Result<(), RoomError> {
        let mut places: BTreeMap<RoomSn, Vec<i64>> = BTreeMap::new();
        for thread in bundles.values().filter_map(|bundle| bundle.thread.as_ref()) {
            places.entry(thread.room_sn).or_default().push(thread.latest.0);
        }
        let mut latest: HashMap<(RoomSn, TimelineOrder), StoredEvent> = HashMap::new();
        for (room_sn, places) in places {
            for event in self.shown(self.database.events_at(room_sn, &places).await?).await? {
                latest.insert((room_sn, event.order), event);
            }
        }
        for bundle in bundles.values_mut() {
            let Some(mut thread) = bundle.thread.take() else { continue };
            thread.latest_event = latest.remove(&(thread.room_sn, thread.latest));
            bundle.thread = thread.latest_event.is_some().then_some(thread);
        }
        Ok(())
    }

    /// Those of the events that the reader may see, as the reader sees them.
    async fn shown(&self, mut events: Vec<StoredEvent>) -> Result<Vec<StoredEvent>, RoomError> {
        match self.sight.0 {
            View::Whole => events.retain(|event| event.sender_erased_at.is_none()),
            View::Of(visibility) => {
                events.retain(|event| visibility.may_see(event));
                redact_erased(self.database, visibility, &mut events).await?;
            }
            View::Reading(access) => {
                access.look_at(self.database, self.interned, &events).await?;
                events.retain(|event| access.may_see(event));
                redact_erased(self.database, &access.visibility, &mut events).await?;
            }
        }
        Ok(events)
    }

    fn membership_at(&self, event: &StoredEvent) -> Membership {
        match self.sight.0 {
            View::Whole => Membership::Join,
            View::Of(visibility) => visibility.membership_at(event),
            View::Reading(access) => access.membership_at(event),
        }
    }

    fn written(&self, bundles: &BTreeMap<EventSn, Bundle>, inner: Option<&Bundles>) -> Bundles {
        let (room_id, now, device_sn) = (self.room_id, self.now, self.requester.device_sn);
        let reader = Reader { room_id, now, device_sn, bundles: inner };
        let mut written = Bundles::default();
        for (sn, bundle) in bundles {
            let mut out = Vec::with_capacity(256);
            if let Some(edit) = &bundle.edit {
                out.extend_from_slice(b",\"m.replace\":");
                write_event(&mut out, edit, &reader, Some(self.membership_at(edit)));
            }
            if !bundle.references.is_empty() {
                out.extend_from_slice(b",\"m.reference\":{\"chunk\":");
                write_list(&mut out, &bundle.references, |out, event_id| {
                    out.extend_from_slice(b"{\"event_id\":");
                    push_string(out, event_id);
                    out.push(b'}');
                });
                out.push(b'}');
            }
            if let Some(Thread { count, has_participated, latest_event: Some(latest), .. }) = &bundle.thread {
                out.extend_from_slice(b",\"m.thread\":{\"latest_event\":");
                write_event(&mut out, latest, &reader, Some(self.membership_at(latest)));
                out.extend_from_slice(b",\"count\":");
                push_number(&mut out, *count);
                out.extend_from_slice(b",\"current_user_participated\":");
                out.extend_from_slice(if *has_participated { b"true}" } else { b"false}" });
            }
            if let Some(first) = out.first_mut() {
                *first = b'{';
                out.push(b'}');
                written.insert(*sn, out);
            }
        }
        written
    }
}

impl History {
    /// What is told of relations together with events that are read.
    pub(super) async fn bundles<'e>(
        &self,
        access: &Access<'_>,
        events: impl IntoIterator<Item = &'e StoredEvent>,
    ) -> Result<Bundles, RoomError> {
        let ignored = self.ignored_users.of(access.requester).await?;
        let until = access.visibility.readable().map_or(TimelineOrder::START, |(_, last)| TimelineOrder::end_of(last));
        let bundling = Bundling {
            database: &self.database,
            interned: &self.interned,
            requester: access.requester,
            ignored: &ignored,
            sight: Sight::reading(access),
            until,
            room_id: Some(access.room_id.as_str()),
            now: self.clock.now(),
        };
        bundling.bundles(events).await
    }
}

fn by_id(event: &StoredEvent) -> (&str, &StoredEvent) {
    (&event.event_id, event)
}

/// Nothing is told with edits and annotations: they are shown with the event that they relate to.
fn can_be_target(event: &StoredEvent) -> bool {
    Relation::of(&event.client_json).is_none_or(|it| !matches!(&*it.rel_type, "m.replace" | "m.annotation"))
}

/// The event with this ID, if it is in this room: events of other rooms do not relate to it.
fn target_of<'e>(targets: &Targets<'e>, room_sn: RoomSn, event_id: &str) -> Option<&'e StoredEvent> {
    targets.get(event_id).copied().filter(|target| target.room_sn == room_sn)
}

/// <https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events>
fn is_valid_edit(edit: &StoredEvent, target: &StoredEvent) -> bool {
    let content = member(&edit.client_json, "content").unwrap_or_default();
    let has_content = member(content, "m.new_content").is_some_and(|new| new.starts_with(b"{"));
    // What is encrypted has its new content inside.
    let is_encrypted = edit.client_json.ends_with(br#","type":"m.room.encrypted"}"#);
    let is_state = edit.state_key_sn.is_some() || target.state_key_sn.is_some();
    (edit.sender_sn, edit.type_sn) == (target.sender_sn, target.type_sn)
        && !is_state
        && (has_content || is_encrypted)
        && target.redacted_because.is_none()
}
