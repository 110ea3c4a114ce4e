//! Answers with the whole state of the user's rooms, which are written piece by piece: what is in memory of them is bounded,
//! and the client has the first rooms while the last ones are read.
//!
//! All pieces show one position of the log. When a read fails, the body ends with an error, so that no client takes a part for
//! the whole.

use std::sync::Arc;
use std::time::Duration;

use accounts::sessions::Requester;
use bytes::Bytes;
use homeserver_core::{Position, Timestamp};
use rooms::RoomError;
use storage::{Membership, StorageError};
use tasks::limits::{Limit, Permit};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::{Instrument as _, Span};

use super::answer::{Answer, RoomSections};
use super::joined::RoomAnswer;
use super::{Sync, SyncRequest};
use crate::providers::Pass;
use crate::providers::changes::RoomUpdate;

/// Bytes that are gathered before they are handed to the client.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the client.
const PIECES_AHEAD: usize = 2;
/// How long a client may take for a piece.
const PATIENCE: Duration = Duration::from_secs(60);

/// The JSON of an answer.
#[derive(Debug)]
pub enum SyncBody {
    /// All of it.
    Whole(Vec<u8>),
    /// Piece by piece: the first one, and those that follow.
    Pieces(Bytes, LaterPieces),
}

/// The pieces after the first one. An empty one is the mark of the end.
#[derive(Debug)]
pub struct LaterPieces(mpsc::Receiver<Result<Bytes, RoomError>>);

impl LaterPieces {
    /// The next piece; `None` when the answer is complete. After an error, which also a writer that gave up is, nothing follows.
    pub async fn next(&mut self) -> Option<Result<Bytes, RoomError>> {
        match self.0.recv().await {
            Some(Ok(end)) if end.is_empty() => None,
            Some(piece) => Some(piece),
            None => Some(Err(StorageError::Unavailable("the answer was given up".to_owned()).into())),
        }
    }
}

impl SyncBody {
    /// All of the JSON.
    ///
    /// # Errors
    /// [`RoomError`] if something cannot be read.
    pub async fn into_bytes(self) -> Result<Vec<u8>, RoomError> {
        match self {
            Self::Whole(json) => Ok(json),
            Self::Pieces(first, mut pieces) => {
                let mut json = first.to_vec();
                while let Some(piece) = pieces.next().await {
                    json.extend_from_slice(&piece?);
                }
                Ok(json)
            }
        }
    }
}

/// An answer that is handed over piece by piece.
pub(super) struct Pieces {
    gathered: Vec<u8>,
    sections: RoomSections,
    client: mpsc::Sender<Result<Bytes, RoomError>>,
    /// Whether the client has gone, or is too slow.
    is_gone: bool,
    limit: Arc<Limit>,
    /// The place in the limit; given back while the answer waits for the client.
    place: Option<Permit>,
}

impl Pieces {
    /// Takes the rooms that were added to the answer.
    fn take_rooms(&mut self, answer: &mut Answer) {
        for (section, rooms) in answer.take_rooms() {
            self.sections.append(&mut self.gathered, section, &rooms);
        }
    }

    /// Takes what was added to a joined room whose beginning was taken before.
    fn take_more(&mut self, answer: &mut Answer) {
        for (_, more) in answer.take_rooms() {
            self.gathered.extend_from_slice(&more);
        }
    }

    /// Hands over what was gathered if it is enough for a piece, or `is_last`. While the client is waited for, others have its
    /// place. After that it goes on even if there is no place soon, because it would have to begin again.
    async fn hand_over(&mut self, is_last: bool) {
        if self.is_gone || (self.gathered.len() < PIECE_BYTES && !is_last) {
            return;
        }
        let piece = Bytes::from(std::mem::take(&mut self.gathered));
        match self.client.try_send(Ok(piece)) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => self.is_gone = true,
            Err(TrySendError::Full(piece)) => {
                self.place = None;
                self.is_gone = self.client.send_timeout(piece, PATIENCE).await.is_err();
                self.place = if self.is_gone { None } else { self.limit.enter().await.ok() };
            }
        }
    }
}

impl Sync {
    /// Begins to answer a request for everything.
    pub(super) async fn begin_whole(
        self: &Arc<Self>,
        requester: &Requester,
        request: &SyncRequest,
        since: Option<Position>,
    ) -> Result<SyncBody, RoomError> {
        let limit = self.initial.clone();
        let place = Some(limit.enter().await?);
        let (client, mut pieces) = mpsc::channel(PIECES_AHEAD);
        let (gathered, sections) = (Vec::new(), RoomSections::default());
        let out = Pieces { gathered, sections, client, is_gone: false, limit, place };
        let writing = self.clone().hand_over_whole(requester.clone(), request.clone(), since, out);
        tokio::spawn(writing.instrument(Span::current()));
        let never_began = || StorageError::Unavailable("the answer was given up".to_owned());
        let first = pieces.recv().await.ok_or_else(never_began)??;
        let is_all = first.len() < PIECE_BYTES;
        Ok(if is_all { SyncBody::Whole(first.into()) } else { SyncBody::Pieces(first, LaterPieces(pieces)) })
    }

    async fn hand_over_whole(
        self: Arc<Self>,
        requester: Requester,
        request: SyncRequest,
        since: Option<Position>,
        mut out: Pieces,
    ) {
        if let Err(error) = Box::pin(self.write_whole(&requester, &request, since, &mut out)).await
            && !out.is_gone
        {
            out.place = None;
            // A client that does not take it has gone.
            drop(out.client.send_timeout(Err(error), PATIENCE).await);
        }
    }

    async fn write_whole(
        &self,
        requester: &Requester,
        request: &SyncRequest,
        since: Option<Position>,
        out: &mut Pieces,
    ) -> Result<(), RoomError> {
        let pass = self.providers.pass(requester, &request.wants, since).await?;
        let (mut answer, mut updates) = self.begin_answer(&pass, request.received(since)).await?;
        self.add_key_counts(requester, &mut answer).await?;
        answer.write_start(&mut out.gathered);
        updates.sort_by_key(section);
        let joined = updates.partition_point(|update| update.membership == Membership::Join);
        let (joined, others) = updates.split_at_mut(joined);
        for part in self.divided(&pass, joined).await? {
            self.add_rooms(&pass, part, &mut answer, Some(out)).await?;
            out.take_rooms(&mut answer);
            out.hand_over(false).await;
            if out.is_gone {
                return Ok(());
            }
        }
        answer.add_remaining_account_data();
        out.take_rooms(&mut answer);
        // One by one: each of them may be large.
        for update in others.chunks(1) {
            self.add_rooms(&pass, update, &mut answer, None).await?;
            out.take_rooms(&mut answer);
            out.hand_over(false).await;
            if out.is_gone {
                return Ok(());
            }
        }
        out.sections.end(&mut out.gathered);
        out.hand_over(true).await;
        // The mark of the end.
        out.hand_over(true).await;
        Ok(())
    }

    /// Adds the members of a large room to its entry, which was begun, and hands over what is written of it.
    pub(super) async fn add_members(
        &self,
        pass: &Pass<'_>,
        update: Option<&RoomUpdate>,
        room: &mut RoomAnswer,
        (answer, mut out): (&mut Answer, Option<&mut Pieces>),
        now: Timestamp,
    ) -> Result<(), RoomError> {
        let mut is_first = room.state.is_empty();
        if let Some(out) = &mut out {
            out.take_rooms(answer);
        }
        while let Some(update) = update
            && self.next_members(pass, &update.state, room).await?
        {
            answer.add_state(room, pass, now, is_first);
            is_first &= room.state.is_empty();
            if let Some(out) = &mut out {
                out.take_more(answer);
                out.hand_over(false).await;
                if out.is_gone {
                    break;
                }
            }
        }
        answer.end_joined(room, pass);
        if let Some(out) = out {
            out.take_more(answer);
        }
        Ok(())
    }
}

/// The sections of an answer in their order.
fn section(update: &RoomUpdate) -> u8 {
    match update.membership {
        Membership::Join => 0,
        Membership::Leave | Membership::Ban => 1,
        Membership::Invite => 2,
        Membership::Knock => 3,
    }
}
