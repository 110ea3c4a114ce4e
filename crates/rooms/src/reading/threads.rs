//! The threads of a room.

use std::collections::HashMap;

use accounts::sessions::Requester;
use event_log::tokens::history_token;
use homeserver_core::{EventSn, TimelineOrder};
use room_engine::redact;
use ruma::RoomId;
use storage::{StoredEvent, ThreadPlace};

use super::access::Access;
use super::erasure::redact_erased;
use super::history::History;
use super::page::bounded;
use super::writing::{EventWriter, with_transaction_ids};
use crate::RoomError;
use crate::wire::push_string;

/// Most threads of a page.
const MAX_LIMIT: usize = 100;

/// A request for the threads of a room.
#[derive(Clone, Copy, Debug)]
pub struct ThreadsRequest {
    /// The place to start from; the newest thread if absent.
    pub from: Option<TimelineOrder>,
    /// The most threads.
    pub limit: Option<u64>,
    /// Whether only those are wanted in which the reader has taken part.
    pub is_participated_only: bool,
}

impl History {
    /// A page of the threads of a room, those with the newest events first: the JSON of the answer.
    ///
    /// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads>
    ///
    /// # Errors
    /// [`RoomError::NotInRoom`] if the user may not read the room.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn threads(
        &self,
        requester: &Requester,
        room_id: &RoomId,
        request: ThreadsRequest,
    ) -> Result<Vec<u8>, RoomError> {
        let access = Access::open(&self.database, &self.interned, &self.states, requester, room_id).await?;
        let participant = request.is_participated_only.then_some(requester.user_sn);
        let until = request.from.unwrap_or(TimelineOrder::END);
        let limit = bounded(request.limit).clamp(1, MAX_LIMIT);
        let wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut places = self.database.threads(access.room_sn, until, participant, wanted).await?;
        let has_more = places.len() > limit;
        places.truncate(limit);
        let next = places.last().filter(|_| has_more).map(|place| place.latest.before());

        let roots = self.roots(&access, &places).await?;
        let bundles = self.bundles(&access, &roots).await?;
        // Of the others the reader sees no event: they are no threads to the reader.
        let roots: Vec<StoredEvent> = roots.into_iter().filter(|root| bundles.has(root.sn, "m.thread")).collect();
        let writer = EventWriter::new(&access, self.clock.now()).with_bundles(&bundles);
        let mut out = Vec::with_capacity(roots.len() * 2048 + 128);
        out.extend_from_slice(b"{\"chunk\":");
        writer.timeline(&mut out, &roots);
        if let Some(next) = next {
            out.extend_from_slice(b",\"next_batch\":");
            push_string(&mut out, &history_token(next));
        }
        out.push(b'}');
        Ok(out)
    }

    /// The roots of threads that the reader may see, in the order of the threads. Those that users sent whom the reader ignores are
    /// redacted.
    async fn roots(&self, access: &Access<'_>, places: &[ThreadPlace]) -> Result<Vec<StoredEvent>, RoomError> {
        let sns: Vec<i64> = places.iter().map(|place| place.root_sn.0).collect();
        let mut events = self.database.events(&sns).await?;
        access.look_at(&self.database, &self.interned, &events).await?;
        events.retain(|event| access.may_see(event));
        redact_erased(&self.database, &access.visibility, &mut events).await?;
        with_transaction_ids(&self.database, access.requester, &mut events).await?;
        let ignored = self.ignored_users.of(access.requester).await?;
        if events.iter().any(|event| ignored.hides(event)) {
            let head = self.database.room_head(access.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
            let version = head.room_version.parse()?;
            for event in events.iter_mut().filter(|event| ignored.hides(event)) {
                event.client_json = redact(version, &event.client_json).into();
            }
        }
        let mut by_number: HashMap<EventSn, StoredEvent> = events.into_iter().map(|event| (event.sn, event)).collect();
        Ok(places.iter().filter_map(|place| by_number.remove(&place.root_sn)).collect())
    }
}
