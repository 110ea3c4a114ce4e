//! Users' push rules, as clients read and change them.

use bytes::Bytes;
use homeserver_core::UserSn;
use push_rules::{Action, NewRule, RuleError, RuleKind, RulePosition, Ruleset};
use ruma::{RoomId, UserId};
use serde::Serialize;
use storage::{Database, StorageError, StoredPushRules, Tx};

/// The type of account data under which clients see the rules.
pub const PUSH_RULES: &str = "m.push_rules";

/// Why push rules cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum PushRulesError {
    /// The rules do not allow it, or there is no such rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The push rules of this server's users.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#push-rules>
pub struct PushRules {
    database: Database,
}

/// Where a client wants a new rule among the others.
#[derive(Clone, Debug, Default)]
pub struct RulePlace {
    /// Above the rule with this ID.
    pub before: Option<String>,
    /// Below the rule with this ID.
    pub after: Option<String>,
}

impl PushRules {
    /// The push rules stored in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// All rules of a user.
    ///
    /// # Errors
    /// [`PushRulesError`] if they cannot be read.
    pub async fn of(&self, user_sn: UserSn) -> Result<Ruleset, PushRulesError> {
        Ok(ruleset(self.database.push_rules(user_sn).await?.as_ref()))
    }

    /// Adds a rule, or replaces the one of that ID.
    ///
    /// # Errors
    /// [`PushRulesError::Rule`] if it cannot be one of a user's rules, or there are too many.
    pub async fn put(
        &self,
        user_sn: UserSn,
        kind: RuleKind,
        rule_id: String,
        rule: NewRule,
        place: RulePlace,
    ) -> Result<(), PushRulesError> {
        self.change(user_sn, move |ruleset| {
            let place = RulePosition { before: place.before.as_deref(), after: place.after.as_deref() };
            ruleset.put(kind, &rule_id, rule.clone(), place)
        })
        .await
    }

    /// Deletes one of the user's own rules.
    ///
    /// # Errors
    /// [`PushRulesError::Rule`] if there is no such rule, or it is a default rule.
    pub async fn remove(&self, user_sn: UserSn, kind: RuleKind, rule_id: String) -> Result<(), PushRulesError> {
        self.change(user_sn, move |ruleset| ruleset.remove(kind, &rule_id)).await
    }

    /// Enables or disables a rule.
    ///
    /// # Errors
    /// [`PushRulesError::Rule`] if there is no such rule.
    pub async fn set_enabled(
        &self,
        user_sn: UserSn,
        kind: RuleKind,
        rule_id: String,
        enabled: bool,
    ) -> Result<(), PushRulesError> {
        self.change(user_sn, move |ruleset| ruleset.set_enabled(kind, &rule_id, enabled)).await
    }

    /// Sets what a rule does.
    ///
    /// # Errors
    /// [`PushRulesError::Rule`] if there is no such rule, or the actions are too large.
    pub async fn set_actions(
        &self,
        user_sn: UserSn,
        kind: RuleKind,
        rule_id: String,
        actions: Vec<Action>,
    ) -> Result<(), PushRulesError> {
        self.change(user_sn, move |ruleset| ruleset.set_actions(kind, &rule_id, actions.clone())).await
    }

    /// Changes the rules in one transaction, so that two devices do not undo each other's changes.
    async fn change(
        &self,
        user_sn: UserSn,
        change: impl Fn(&mut Ruleset) -> Result<(), RuleError> + Send + 'static,
    ) -> Result<(), PushRulesError> {
        let changed = self.database.write(async move |tx| {
            let before = ruleset(tx.push_rules(user_sn).await?.as_ref());
            let mut after = before.clone();
            if let Err(error) = change(&mut after) {
                return Ok(Err(error));
            }
            if after != before {
                tx.set_push_rules(user_sn, &json(&after.for_storage())).await?;
            }
            Ok(Ok(()))
        });
        Ok(changed.await??)
    }
}

/// Whether the rules say something of a room that holds for the room that replaced it, too.
#[must_use]
pub fn follows_upgrade(stored: Option<&StoredPushRules>, old_room_id: &RoomId, new_room_id: &RoomId) -> bool {
    matches!(ruleset(stored).follow_upgrade(old_room_id.as_str(), new_room_id.as_str()), Ok(true))
}

/// Copies a user's rules about a room to the room that replaced it, unless the user would then have too many rules.
///
/// # Errors
/// [`StorageError`] if a statement fails.
pub async fn follow_upgrade(
    tx: &mut Tx,
    user_sn: UserSn,
    old_room_id: &RoomId,
    new_room_id: &RoomId,
) -> Result<(), StorageError> {
    let mut rules = ruleset(tx.push_rules(user_sn).await?.as_ref());
    if matches!(rules.follow_upgrade(old_room_id.as_str(), new_room_id.as_str()), Ok(true)) {
        tx.set_push_rules(user_sn, &json(&rules.for_storage())).await?;
    }
    Ok(())
}

/// The content of the account data [`m.push_rules`](https://spec.matrix.org/v1.19/client-server-api/#mpush_rules).
#[must_use]
pub fn account_data_content(stored: Option<&StoredPushRules>, user_id: &UserId) -> Bytes {
    #[derive(Serialize)]
    struct Content<'a> {
        global: push_rules::RulesetJson<'a>,
    }
    let ruleset = ruleset(stored);
    json(&Content { global: ruleset.for_client(user_id.as_str()) }).into()
}

/// The rules that are stored, and the default ones. What cannot be read is what some later version wrote: then the user has
/// the default rules, rather than none at all.
fn ruleset(stored: Option<&StoredPushRules>) -> Ruleset {
    let parsed = stored.map(|stored| Ruleset::parse(&stored.rules)).transpose();
    parsed
        .unwrap_or_else(|error| {
            tracing::error!(%error, "stored push rules cannot be read; the default ones are used");
            None
        })
        .unwrap_or_default()
}

fn json(rules: &impl Serialize) -> Vec<u8> {
    // Rules are made of what JSON has, so this cannot fail.
    serde_json::to_vec(rules).unwrap_or_default()
}
