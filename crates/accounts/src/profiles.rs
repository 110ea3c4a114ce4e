//! What users tell about themselves.

use std::sync::Arc;

use homeserver_core::{Clock, Timestamp, UserSn};
use ruma::UserId;
use serde_json::{Map, Value};
use storage::{Account, Database, StorageError, Tx};
use tasks::queue::{Job as _, JobId, JobQueue};

use crate::jobs::{PATIENCE, UpdateMemberProfile};

/// The longest name of a field, in bytes.
const MAX_FIELD_BYTES: usize = 255;
/// The largest profile, in bytes.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#profiles>
const MAX_PROFILE_BYTES: i64 = 64 * 1024;
/// The longest display name, in characters.
const MAX_DISPLAY_NAME_CHARS: usize = 256;
/// The longest avatar URL, in bytes.
const MAX_AVATAR_URL_BYTES: usize = 1_000;

/// Why a profile cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no such user, as far as is known here.
    #[error("There is no profile of this user")]
    NoSuchUser,
    /// The profile has no such field.
    #[error("The profile has no field of this name")]
    NoSuchField,
    /// The field's name is too long.
    #[error("The name of a profile field has at most {MAX_FIELD_BYTES} bytes")]
    NameTooLong,
    /// The field's name is not one by the grammar.
    #[error(
        "The name of a profile field begins with a small letter and consists of small letters, digits, and the characters - _ ."
    )]
    InvalidName,
    /// The value is not of the kind that the field has.
    #[error("{0}")]
    InvalidValue(&'static str),
    /// The profile would become too large.
    #[error("A profile has at most 64 KiB")]
    TooLarge,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What of a profile stands in the membership events of the user.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct MemberProfile {
    /// What to show instead of the user ID.
    pub display_name: Option<String>,
    /// The URL of the user's picture.
    pub avatar_url: Option<String>,
}

/// The profiles of this server's users.
pub struct Profiles {
    database: Database,
    clock: Arc<dyn Clock>,
    jobs: Arc<JobQueue>,
}

impl Profiles {
    /// The profiles stored in `database`. Rooms are told of their changes by `jobs`.
    #[must_use]
    pub fn new(database: Database, clock: Arc<dyn Clock>, jobs: Arc<JobQueue>) -> Self {
        Self { database, clock, jobs }
    }

    /// All of a user's profile.
    ///
    /// # Errors
    /// [`ProfileError::NoSuchUser`].
    pub async fn profile(&self, user_id: &UserId) -> Result<Map<String, Value>, ProfileError> {
        let account = self.account(user_id).await?;
        let fields = self.database.profile(account.user_sn).await?;
        fields.into_iter().map(|(field, value)| Ok((field, read_value(&value)?))).collect()
    }

    /// One field of a user's profile.
    ///
    /// # Errors
    /// [`ProfileError::NoSuchField`].
    pub async fn field(&self, user_id: &UserId, field: &str) -> Result<Value, ProfileError> {
        check_name(field)?;
        let account = self.account(user_id).await?;
        let value = self.database.profile_field(account.user_sn, field).await?;
        Ok(read_value(&value.ok_or(ProfileError::NoSuchField)?)?)
    }

    /// What of a user's profile stands in membership events.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn member_profile(&self, user_sn: UserSn) -> Result<MemberProfile, StorageError> {
        let mut profile = MemberProfile::default();
        for (field, value) in self.database.profile(user_sn).await? {
            match (field.as_str(), read_value(&value)?) {
                ("displayname", Value::String(text)) => profile.display_name = Some(text),
                ("avatar_url", Value::String(text)) => profile.avatar_url = Some(text),
                _ => {}
            }
        }
        Ok(profile)
    }

    /// Sets one field of a user's profile; `null` or an empty text removes a display name or a picture. The rooms whose
    /// membership events show the field are told of it by a job, which is waited for, but not for long.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub async fn set(&self, user_sn: UserSn, field: &str, value: &Value) -> Result<(), ProfileError> {
        check_name(field)?;
        check_value(field, value)?;
        if is_member_field(field) && (value.is_null() || value.as_str() == Some("")) {
            return self.remove(user_sn, field).await;
        }
        let (field, value, now) = (field.to_owned(), value.to_string(), self.clock.now());
        let write = async move |tx: &mut Tx| {
            if !tx.set_bounded_profile_field(user_sn, &field, &value, MAX_PROFILE_BYTES).await? {
                return Ok(None);
            }
            Ok(Some(schedule_telling(tx, user_sn, &field, now).await?))
        };
        let job = self.database.write(write).await?.ok_or(ProfileError::TooLarge)?;
        self.await_telling(job).await
    }

    /// Removes one field of a user's profile. Rooms are told of it as by [`Profiles::set`].
    ///
    /// # Errors
    /// [`ProfileError`].
    pub async fn remove(&self, user_sn: UserSn, field: &str) -> Result<(), ProfileError> {
        check_name(field)?;
        let (field, now) = (field.to_owned(), self.clock.now());
        let write = async move |tx: &mut Tx| {
            tx.delete_profile_field(user_sn, &field).await?;
            schedule_telling(tx, user_sn, &field, now).await
        };
        let job = self.database.write(write).await?;
        self.await_telling(job).await
    }

    async fn await_telling(&self, job: Option<JobId>) -> Result<(), ProfileError> {
        if let Some(job_id) = job {
            self.jobs.settle(job_id, PATIENCE).await?;
        }
        Ok(())
    }

    async fn account(&self, user_id: &UserId) -> Result<Account, ProfileError> {
        self.database.account_by_user_id(user_id.as_str()).await?.ok_or(ProfileError::NoSuchUser)
    }
}

/// Has the rooms told that show the field, if there are any.
async fn schedule_telling(
    tx: &mut Tx,
    user_sn: UserSn,
    field: &str,
    now: Timestamp,
) -> Result<Option<JobId>, StorageError> {
    if !is_member_field(field) || !tx.is_in_any_room(user_sn, false).await? {
        return Ok(None);
    }
    UpdateMemberProfile { user_sn: user_sn.0, field: Some(field.to_owned()) }.schedule(tx, now).await.map(Some)
}

/// Whether the field stands in membership events.
fn is_member_field(field: &str) -> bool {
    matches!(field, "displayname" | "avatar_url")
}

/// Refuses what cannot be the name of a field.
///
/// # Errors
/// [`ProfileError::NameTooLong`], [`ProfileError::InvalidName`].
pub fn check_name(field: &str) -> Result<(), ProfileError> {
    if field.len() > MAX_FIELD_BYTES {
        return Err(ProfileError::NameTooLong);
    }
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if field.starts_with(|first: char| first.is_ascii_lowercase()) && field.bytes().all(is_allowed) {
        Ok(())
    } else {
        Err(ProfileError::InvalidName)
    }
}

fn check_value(field: &str, value: &Value) -> Result<(), ProfileError> {
    match (field, value) {
        ("displayname", Value::String(name)) if name.chars().count() > MAX_DISPLAY_NAME_CHARS => {
            Err(ProfileError::InvalidValue("displayname: at most 256 characters"))
        }
        ("avatar_url", Value::String(url)) if url.len() > MAX_AVATAR_URL_BYTES => {
            Err(ProfileError::InvalidValue("avatar_url: at most 1000 bytes"))
        }
        ("displayname" | "avatar_url", Value::String(_) | Value::Null) => Ok(()),
        ("displayname", _) => Err(ProfileError::InvalidValue("displayname: a string is expected")),
        ("avatar_url", _) => Err(ProfileError::InvalidValue("avatar_url: a string is expected")),
        ("m.tz", Value::String(_)) => Ok(()),
        ("m.tz", _) => Err(ProfileError::InvalidValue("m.tz: a string is expected")),
        _ => Ok(()),
    }
}

fn read_value(json: &str) -> Result<Value, StorageError> {
    serde_json::from_str(json)
        .map_err(|error| StorageError::Value { column: 1, reason: format!("profile_fields.value: {error}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_follow_the_grammar() {
        for name in ["displayname", "m.tz", "org.example.job_title", "a-b"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "M.tz", ".a", "1a", "a b", "ä"] {
            assert!(matches!(check_name(name), Err(ProfileError::InvalidName)), "{name}");
        }
        assert!(matches!(check_name(&"a".repeat(256)), Err(ProfileError::NameTooLong)));
    }

    #[test]
    fn known_fields_have_their_types_and_others_any() {
        assert!(check_value("displayname", &"Alice".into()).is_ok());
        assert!(check_value("displayname", &Value::Null).is_ok());
        assert!(check_value("displayname", &5.into()).is_err());
        assert!(check_value("displayname", &"x".repeat(257).into()).is_err());
        assert!(check_value("org.example.x", &serde_json::json!({ "a": [1] })).is_ok());
    }
}
