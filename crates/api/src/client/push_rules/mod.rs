//! `/_matrix/client/v3/pushrules/…`

mod all;
mod attributes;
mod rule;

pub(super) use self::all::{all, global};
pub(super) use self::attributes::{actions, enabled, set_actions, set_enabled};
pub(super) use self::rule::{delete, put, read};

use accounts::push_rules::PushRulesError;
use push_rules::{RuleErrorKind, RuleKind};

use crate::client::error::ClientError;
use crate::error::{ApiError, ApiResult};

fn kind_of(name: &str) -> ApiResult<RuleKind> {
    RuleKind::parse(name).ok_or_else(|| {
        let kinds = RuleKind::ALL.map(RuleKind::as_str).join(", ");
        ApiError::not_found(format!("There are no push rules of the kind `{name}`: the kinds are {kinds}"))
    })
}

fn no_such_rule(kind: RuleKind, rule_id: &str) -> ApiError {
    ApiError::not_found(format!("There is no {kind} rule `{rule_id}`."))
}

impl From<PushRulesError> for ClientError {
    fn from(error: PushRulesError) -> Self {
        let rule_error = match error {
            PushRulesError::Rule(error) => error,
            PushRulesError::Storage(error) => return error.into(),
        };
        let sentence = rule_error.to_string();
        Self(match rule_error.kind() {
            RuleErrorKind::NotFound => ApiError::not_found(sentence),
            RuleErrorKind::InvalidParam => ApiError::invalid_param(sentence),
            RuleErrorKind::Unknown => ApiError::unknown(sentence),
            RuleErrorKind::NotJson => ApiError::not_json(sentence),
            RuleErrorKind::BadJson => ApiError::bad_json(sentence),
            RuleErrorKind::TooLarge => ApiError::too_large(sentence),
        })
    }
}
