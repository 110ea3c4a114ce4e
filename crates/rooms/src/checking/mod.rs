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
use storage::{Database, Interned};

pub use finding::{Finding, RoomReport};

use self::comparing::compare;
use self::deriving::{Derivation, Derived};
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
        let derived = self.derive(&context, &mut report).await?;
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
            let derived = self.derive(&context, &mut report).await?;
            let repair = compare(&self.database, &self.interned, &context, &derived, &mut report).await?;
            let is_done = match repair {
                Some(repair) => self.database.repair_room(repair).await?,
                None => true,
            };
            if is_done {
                report.is_repaired = report.is_damaged();
                return Ok(report);
            }
        }
        Err(RoomError::Contended)
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

    async fn derive(&self, context: &RoomIdentity, report: &mut RoomReport) -> Result<Derived, RoomError> {
        Derivation::new(&self.database, &self.interned, context).await?.run(report).await
    }
}
