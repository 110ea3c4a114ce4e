//! Senders who are not known as members, while a room's state is known in part.

use std::collections::BTreeMap;

use room_engine::resolution::StatePlace;
use room_engine::{Membership, Pdu};
use storage::{Standing, StateBefore};

use crate::RoomError;
use crate::resolving::Resolver;

impl Resolver<'_> {
    /// The state before an event that was accepted, with the member event of its sender. If there is none in the part of the state that is
    /// known, it is the one that the event names: clients are shown who speaks.
    pub(in super::super) async fn with_sender(&self, pdu: &Pdu, before: StateBefore) -> Result<StateBefore, RoomError> {
        let sender = pdu.sender().as_str();
        let place = self.place(&StatePlace::new("m.room.member", sender)).await?;
        if self.event_at(&before, place).await?.is_some() {
            return Ok(before);
        }
        let names: Vec<String> = pdu.auth_events().iter().map(ToString::to_string).collect();
        for event in self.database.graph_events_by_id(self.room.room_sn, &names).await? {
            let named = self.room.parse(&event)?;
            let is_joined = named.is_state("m.room.member", sender) && named.membership() == Some(Membership::Join);
            if is_joined && event.standing != Standing::Rejected {
                let mut changes: BTreeMap<_, _> = before.changes.into_iter().collect();
                changes.insert(place, Some(event.stored.sn));
                return Ok(StateBefore { base: before.base, changes: changes.into_iter().collect() });
            }
        }
        Ok(before)
    }
}
