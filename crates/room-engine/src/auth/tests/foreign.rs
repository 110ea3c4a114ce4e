//! Events for `ruma-state-res`.

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UInt, UserId, events::TimelineEventType, state_res::Event,
};
use serde_json::value::RawValue;

use crate::{Pdu, RoomVersion};

/// An event as ruma wants it.
#[derive(Clone)]
pub(crate) struct Foreign {
    pub(crate) pdu: Pdu,
    pub(crate) event_id: OwnedEventId,
    pub(crate) event_type: TimelineEventType,
    pub(crate) content: Box<RawValue>,
    pub(crate) auth_events: Vec<OwnedEventId>,
    pub(crate) redacts: Option<OwnedEventId>,
    pub(crate) rejected: bool,
}

impl Foreign {
    pub(crate) fn new(pdu: &Pdu) -> Self {
        let content = String::from_utf8(pdu.content().as_bytes().to_vec()).unwrap();
        Self {
            pdu: pdu.clone(),
            event_id: pdu.event_id().to_owned(),
            event_type: pdu.event_type().into(),
            content: RawValue::from_string(content).unwrap(),
            auth_events: pdu.auth_events().to_vec(),
            redacts: pdu.redacts().map(ToOwned::to_owned),
            rejected: false,
        }
    }
}

impl Event for Foreign {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        let derived = self.pdu.version() == RoomVersion::V12 && self.pdu.event_type() == "m.room.create";
        (!derived).then(|| self.pdu.room_id())
    }

    fn sender(&self) -> &UserId {
        self.pdu.sender()
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(UInt::try_from(self.pdu.origin_server_ts()).unwrap())
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.event_type
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.pdu.state_key()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.pdu.prev_events().iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}
