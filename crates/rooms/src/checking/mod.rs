//! Deriving a room's state from its events again, and comparing it with the stored state.
//!
//! Everything else that is stored of a room follows from its events. A check goes through them in the order of their
//! positions and reports where the stored state differs; a repair stores the derived state.

mod comparing;
mod deriving;
mod finding;

use std::sync::Arc;

use homeserver_core::RoomSn;
use ruma::RoomId;
use storage::{Database, Interned, RoomRepair, Standing};

pub use finding::{Finding, RoomReport};

use self::comparing::compare;
use self::deriving::{Derivation, Derived, Judging};
use super::RoomError;
use super::resolving::RoomIdentity;

/// How often a repair is tried if the room changes during it.
const ATTEMPTS: usize = 5;

/// Checks rooms, and repairs them.
pub struct RoomCheck {
    database: Database,
    interned: Arc<Interned>,
}

impl RoomCheck {
    /// Checks rooms in `database`.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>) -> Self {
        Self { database, interned }
    }

    /// Compares the stored state of a room with the state that follows from its events.
    ///
    /// # Errors
    /// [`RoomError::NoSuchRoom`] if the room is not known here.
    pub async fn check(&self, room_id: &RoomId) -> Result<RoomReport, RoomError> {
        let room_sn = self.find(room_id).await?;
        let context = self.context(room_sn).await?;
        let mut report = RoomReport::new(room_id.to_owned());
        self.check_auth_chains(&context, &mut report).await?;
        let judging = self.judging(room_sn).await?;
        let derived = self.derive(&context, judging, &mut report).await?;
        compare(&self.database, &self.interned, &context, &derived, &mut report).await?;
        Ok(report)
    }

    /// Checks a room, and stores the derived state if anything differs.
    ///
    /// # Errors
    /// As [`RoomCheck::check`]; [`RoomError::Contended`] if the room moved on in every attempt.
    pub async fn repair(&self, room_id: &RoomId) -> Result<RoomReport, RoomError> {
        let room_sn = self.find(room_id).await?;
        let context = self.context(room_sn).await?;
        for _ in 0..ATTEMPTS {
            let mut report = RoomReport::new(room_id.to_owned());
            let head = self.database.room_head(room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
            if let Some(events) = self.check_auth_chains(&context, &mut report).await?
                && !self.database.rebuild_auth_chains(room_sn, head.version, events).await?
            {
                continue;
            }
            let judging = self.judging(room_sn).await?;
            let derived = self.derive(&context, judging, &mut report).await?;
            let repair = compare(&self.database, &self.interned, &context, &derived, &mut report).await?;
            if !report.is_damaged() || self.database.repair_room(repair).await? {
                report.is_repaired = report.is_damaged();
                return Ok(report);
            }
        }
        Err(RoomError::Contended)
    }

    /// Derives the state of a room again, now that all of the state is known by which this server entered it, judges all events by it, and
    /// says in the log that all of it is known. `None` if the room moved on in every attempt.
    pub(crate) async fn judge_again(&self, room: &RoomIdentity) -> Result<Option<RoomReport>, RoomError> {
        for attempt in 0..ATTEMPTS {
            let mut report = RoomReport::new(room.room_id.clone());
            let head = self.database.room_head(room.room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
            if let Some(events) = self.check_auth_chains(room, &mut report).await?
                && !self.database.rebuild_auth_chains(room.room_sn, head.version, events).await?
            {
                continue;
            }
            // Events must not be let in and put out again for ever.
            let judging = if attempt < 2 { Judging::Again } else { Judging::Rules };
            let derived = self.derive(room, judging, &mut report).await?;
            let is_let_in = |standing: &Standing| *standing != Standing::Rejected;
            if derived.standings.iter().any(|(_, standing)| is_let_in(standing)) {
                // They have no places in auth chains yet, by which states are resolved.
                let standings = derived.standings;
                self.database.replace_standings(room.room_sn, derived.head_version, standings).await?;
                continue;
            }
            let repair = compare(&self.database, &self.interned, room, &derived, &mut report).await?;
            let repair = RoomRepair { is_completion: true, ..repair };
            if self.database.repair_room(repair).await? {
                return Ok(Some(report));
            }
        }
        Ok(None)
    }

    /// Derives the states of a room from a version of this server that stored none.
    pub async fn complete(&self, room_sn: RoomSn) -> Result<(), RoomError> {
        let room_id = self.context(room_sn).await?.room_id;
        let report = self.repair(&room_id).await?;
        tracing::info!(%room_id, events = report.events, "derived the states of a room");
        Ok(())
    }

    async fn find(&self, room_id: &RoomId) -> Result<RoomSn, RoomError> {
        self.interned.find_room(room_id.as_str()).await?.ok_or(RoomError::NoSuchRoom)
    }

    async fn context(&self, room_sn: RoomSn) -> Result<RoomIdentity, RoomError> {
        let head = self.database.room_head(room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        RoomIdentity::load(&self.interned, room_sn, &head).await
    }

    /// While a room's state is known in part, the rules would reject what members do who are not known.
    async fn judging(&self, room_sn: RoomSn) -> Result<Judging, RoomError> {
        let head = self.database.room_head(room_sn).await?.ok_or(RoomError::NoSuchRoom)?;
        Ok(if head.state_whole_since.is_some() { Judging::Rules } else { Judging::AsStored })
    }

    async fn derive(
        &self,
        context: &RoomIdentity,
        judging: Judging,
        report: &mut RoomReport,
    ) -> Result<Derived, RoomError> {
        Derivation::new(&self.database, &self.interned, context, judging).await?.run(report).await
    }
}
