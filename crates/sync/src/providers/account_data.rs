//! Account data, of users and of their rooms.

use std::sync::Arc;

use accounts::push_rules::{PUSH_RULES, account_data_content};
use homeserver_core::Position;
use rooms::RoomError;
use storage::AccountDataEntry;

use super::changes::RoomUpdate;
use super::{Pass, Providers};

/// Account data that changed.
#[derive(Default)]
pub(crate) struct AccountData {
    pub(crate) global: Vec<AccountDataEntry>,
    /// By the IDs of rooms.
    pub(crate) of_rooms: Vec<(Arc<str>, AccountDataEntry)>,
}

impl Providers {
    /// The account data that changed in the pass.
    pub(crate) async fn account_data(&self, pass: &Pass<'_>) -> Result<AccountData, RoomError> {
        let (global_filter, room_filter) = (pass.wants.account_data_filter(), pass.wants.room_account_data_filter());
        let mut changed = AccountData::default();
        for change in self.database.account_data_changes(pass.requester.user_sn, pass.after(), pass.to).await? {
            match change.room_sn {
                None if global_filter.includes_type(&change.data_type) => changed.global.push(change),
                None => {}
                Some(room_sn) => {
                    let is_joined = pass.rooms.place(room_sn).is_some_and(|place| place.is_joined());
                    let room_id = self.interned.room_id(room_sn).await?;
                    let is_wanted = pass.wants.includes_room(&room_id) && room_filter.includes_type(&change.data_type);
                    if is_joined && is_wanted && pass.can_show(&self.states.of(room_sn)) {
                        changed.of_rooms.push((room_id, change));
                    }
                }
            }
        }
        if global_filter.includes_type(PUSH_RULES) {
            changed.global.extend(self.push_rules(pass).await?);
        }
        Ok(changed)
    }

    /// The user's push rules, if they changed in the pass.
    async fn push_rules(&self, pass: &Pass<'_>) -> Result<Option<AccountDataEntry>, RoomError> {
        let stored = self.database.push_rules(pass.requester.user_sn).await?;
        let position = stored.as_ref().map_or(Position::START, |stored| stored.position);
        let is_new = pass.from.is_none_or(|from| position > from && position <= pass.to);
        Ok(is_new.then(|| AccountDataEntry {
            room_sn: None,
            data_type: PUSH_RULES.to_owned(),
            content: account_data_content(stored.as_ref(), &pass.requester.user_id),
            position,
        }))
    }

    /// The account data of rooms that could not be shown before, whenever it was written.
    pub(crate) async fn late_account_data(
        &self,
        pass: &Pass<'_>,
        updates: &[RoomUpdate],
    ) -> Result<Vec<(Arc<str>, AccountDataEntry)>, RoomError> {
        let filter = pass.wants.room_account_data_filter();
        let mut late = Vec::new();
        for update in updates.iter().filter(|update| update.is_late(pass)) {
            let entries = self.database.account_data_of_room(pass.requester.user_sn, Some(update.room_sn)).await?;
            let is_wanted =
                |entry: &AccountDataEntry| entry.position <= pass.after() && filter.includes_type(&entry.data_type);
            late.extend(entries.into_iter().filter(is_wanted).map(|entry| (update.room_id.clone(), entry)));
        }
        Ok(late)
    }
}
