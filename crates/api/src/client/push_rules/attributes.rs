//! `/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled` and `…/actions`

use std::sync::Arc;

use accounts::push_rules::{PushRules, PushRulesError};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use push_rules::Action;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{kind_of, no_such_rule};
use crate::Empty;
use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, Path};

#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Enabled {
    enabled: bool,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidenabled>
pub(crate) async fn enabled(
    Authenticated(requester): Authenticated,
    Path((kind, rule_id)): Path<(String, String)>,
    State(push_rules): State<Arc<PushRules>>,
) -> ClientResult<Json<Enabled>> {
    let kind = kind_of(&kind)?;
    let rules = push_rules.of(requester.user_sn).await?;
    let rule = rules.rule(kind, &rule_id).ok_or_else(|| no_such_rule(kind, &rule_id))?;
    Ok(Json(Enabled { enabled: rule.enabled }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidenabled>
pub(crate) async fn set_enabled(
    Authenticated(requester): Authenticated,
    Path((kind, rule_id)): Path<(String, String)>,
    State(push_rules): State<Arc<PushRules>>,
    Json(Enabled { enabled }): Json<Enabled>,
) -> ClientResult<Json<Empty>> {
    push_rules.set_enabled(requester.user_sn, kind_of(&kind)?, rule_id, enabled).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleidactions>
pub(crate) async fn actions(
    Authenticated(requester): Authenticated,
    Path((kind, rule_id)): Path<(String, String)>,
    State(push_rules): State<Arc<PushRules>>,
) -> ClientResult<Response> {
    let kind = kind_of(&kind)?;
    let rules = push_rules.of(requester.user_sn).await?;
    let rule = rules.rule(kind, &rule_id).ok_or_else(|| no_such_rule(kind, &rule_id))?;
    Ok(Json(json!({ "actions": rule.actions })).into_response())
}

#[derive(Deserialize, Debug)]
pub(crate) struct Actions {
    actions: Value,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleidactions>
pub(crate) async fn set_actions(
    Authenticated(requester): Authenticated,
    Path((kind, rule_id)): Path<(String, String)>,
    State(push_rules): State<Arc<PushRules>>,
    Json(Actions { actions }): Json<Actions>,
) -> ClientResult<Json<Empty>> {
    let kind = kind_of(&kind)?;
    let actions = Action::parse_list(&actions).map_err(PushRulesError::from)?;
    push_rules.set_actions(requester.user_sn, kind, rule_id, actions).await?;
    Ok(Json(Empty {}))
}
