//! `/_matrix/client/v3/pushrules/global/{kind}/{ruleId}`

use std::sync::Arc;

use accounts::push_rules::{PushRules, PushRulesError, RulePlace};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use push_rules::NewRule;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{kind_of, no_such_rule};
use crate::Empty;
use crate::client::error::ClientResult;
use crate::extract::{Authenticated, Json, Path, Query};

/// <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrulesglobalkindruleid>
pub(crate) async fn read(
    Authenticated(requester): Authenticated,
    Path((kind, rule_id)): Path<(String, String)>,
    State(push_rules): State<Arc<PushRules>>,
) -> ClientResult<Response> {
    let kind = kind_of(&kind)?;
    let rules = push_rules.of(requester.user_sn).await?;
    let rule = rules.rule(kind, &rule_id).ok_or_else(|| no_such_rule(kind, &rule_id))?;
    Ok(Json(rule.json(requester.user_id.as_str())).into_response())
}

#[derive(Deserialize, Debug)]
pub(crate) struct Neighbours {
    before: Option<String>,
    after: Option<String>,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid>
pub(crate) async fn put(
    Authenticated(requester): Authenticated,
    Path((kind, rule_id)): Path<(String, String)>,
    Query(Neighbours { before, after }): Query<Neighbours>,
    State(push_rules): State<Arc<PushRules>>,
    Json(body): Json<Box<RawValue>>,
) -> ClientResult<Json<Empty>> {
    let kind = kind_of(&kind)?;
    let rule = NewRule::parse(kind, body.get().as_bytes()).map_err(PushRulesError::from)?;
    push_rules.put(requester.user_sn, kind, rule_id, rule, RulePlace { before, after }).await?;
    Ok(Json(Empty {}))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3pushrulesglobalkindruleid>
pub(crate) async fn delete(
    Authenticated(requester): Authenticated,
    Path((kind, rule_id)): Path<(String, String)>,
    State(push_rules): State<Arc<PushRules>>,
) -> ClientResult<Json<Empty>> {
    push_rules.remove(requester.user_sn, kind_of(&kind)?, rule_id).await?;
    Ok(Json(Empty {}))
}
