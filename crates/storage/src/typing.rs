//! Who types in which room.

use std::collections::{BTreeSet, HashMap};

use homeserver_core::{Position, RoomSn, Timestamp, UserSn};

use crate::frequent::Frequent;
use crate::{Database, LogEntry, StorageError, Tx, Value, params};

impl Database {
    /// A user types in a room until `expires_at`.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn start_typing(
        &self,
        room_sn: RoomSn,
        user_sn: UserSn,
        expires_at: Timestamp,
    ) -> Result<(), StorageError> {
        let write = TypingWrite::Start { who: (room_sn, user_sn), expires_at };
        self.write_frequent(Frequent::Typing(write), "start_typing").await
    }

    /// These users type in these rooms no longer.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn stop_typing(&self, who: Vec<(RoomSn, UserSn)>, now: Timestamp) -> Result<(), StorageError> {
        let write = TypingWrite::Stop { who, now, latest: None };
        self.write_frequent(Frequent::Typing(write), "stop_typing").await
    }

    /// Ends the typing of up to `limit` users that expires at `now` or before, or after `latest`: that was said before the clock
    /// was set back. Returns how many they are.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn end_expired_typing(
        &self,
        now: Timestamp,
        latest: Timestamp,
        limit: i64,
    ) -> Result<usize, StorageError> {
        let find = "SELECT room_sn, user_sn FROM typing \
                    WHERE has_ended = FALSE AND (expires_at <= $1 OR expires_at > $2) LIMIT $3";
        let read = |row: &crate::Row<'_>| Ok((row.get::<RoomSn>(0)?, row.get::<UserSn>(1)?));
        let expired = self.query(find, params![now, latest, limit], read).await?;
        if expired.is_empty() {
            return Ok(0);
        }
        let found = expired.len();
        // Users who have gone on typing in the meantime are left out.
        let write = TypingWrite::Stop { who: expired, now, latest: Some(latest) };
        self.write_frequent(Frequent::Typing(write), "end_expired_typing").await?;
        Ok(found)
    }

    /// Whether a user types in a room.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn types(&self, room_sn: RoomSn, user_sn: UserSn) -> Result<bool, StorageError> {
        let sql = "SELECT 1 FROM typing WHERE room_sn = $1 AND user_sn = $2 AND has_ended = FALSE";
        Ok(self.query_optional(sql, params![room_sn, user_sn], |_| Ok(())).await?.is_some())
    }

    /// Everybody who types, and where.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn typing(&self) -> Result<Vec<(RoomSn, UserSn)>, StorageError> {
        let sql = "SELECT room_sn, user_sn FROM typing WHERE has_ended = FALSE ORDER BY room_sn, position";
        self.query(sql, &[], |row| Ok((row.get(0)?, row.get(1)?))).await
    }

    /// The rooms among these in which a user began or stopped typing after `after` and up to `until`.
    ///
    /// # Errors
    /// [`StorageError`] if the statement fails.
    pub async fn rooms_with_typing(
        &self,
        rooms: &[i64],
        after: Position,
        until: Position,
    ) -> Result<Vec<RoomSn>, StorageError> {
        let sql = "SELECT DISTINCT room_sn FROM typing WHERE room_sn IN LIST($1) AND position > $2 AND position <= $3";
        self.query(sql, params![rooms, after, until], |row| row.get(0)).await
    }

    /// Removes up to `limit` rows of typing that ended before `ended_before`. Returns how many.
    ///
    /// # Errors
    /// [`StorageError`] if a statement fails.
    pub async fn remove_ended_typing(&self, ended_before: Timestamp, limit: i64) -> Result<u64, StorageError> {
        let find = "SELECT room_sn, user_sn FROM typing WHERE has_ended = TRUE AND expires_at < $1 LIMIT $2";
        let read = |row: &crate::Row<'_>| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?));
        let found = self.query(find, params![ended_before, limit], read).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let rooms: Vec<i64> = found.iter().map(|(room_sn, _)| *room_sn).collect();
        let users: Vec<i64> = found.into_iter().map(|(_, user_sn)| user_sn).collect();
        // The lists can be paired otherwise: with rows that are just as old.
        let sql = "DELETE FROM typing WHERE room_sn IN LIST($1) AND user_sn IN LIST($2) \
                   AND has_ended = TRUE AND expires_at < $3";
        self.write(async move |tx| tx.execute(sql, params![&rooms, &users, ended_before]).await).await
    }
}

/// A change of who types.
pub(crate) enum TypingWrite {
    /// A user types until `expires_at`.
    Start { who: (RoomSn, UserSn), expires_at: Timestamp },
    /// Users type no longer, unless it expires between `now` and `latest`, if that is given.
    Stop { who: Vec<(RoomSn, UserSn)>, now: Timestamp, latest: Option<Timestamp> },
}

/// What is known of a user who types, or did.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Typist {
    has_ended: bool,
    expires_at: Timestamp,
    position: Position,
}

/// Writes changes of who types, in their order. What began and ended within them is no news.
pub(crate) async fn write_all(tx: &mut Tx, writes: &[&TypingWrite]) -> Result<(), StorageError> {
    let who: BTreeSet<(RoomSn, UserSn)> = writes.iter().flat_map(|write| write.who()).copied().collect();
    if who.is_empty() {
        return Ok(());
    }
    let keys: Vec<Vec<Value<'_>>> = who.iter().map(|(room, user)| vec![(*room).into(), (*user).into()]).collect();
    let find = "SELECT t.room_sn, t.user_sn, t.has_ended, t.expires_at, t.position \
                FROM ROWS(room_sn, user_sn) r JOIN typing t ON t.room_sn = r.room_sn AND t.user_sn = r.user_sn";
    let read = |row: &crate::Row<'_>| {
        let typist = Typist { has_ended: row.get(2)?, expires_at: row.get(3)?, position: row.get(4)? };
        Ok(((row.get(0)?, row.get(1)?), typist))
    };
    let before: HashMap<(RoomSn, UserSn), Typist> = tx.query_rows(find, &keys, read).await?.into_iter().collect();
    let mut after = before.clone();
    writes.iter().for_each(|write| write.apply(&mut after));

    let was_typing = |key: &(RoomSn, UserSn)| before.get(key).is_some_and(|typist| !typist.has_ended);
    let is_news = |key: &(RoomSn, UserSn), typist: &Typist| was_typing(key) == typist.has_ended;
    let mut changed: Vec<_> = after.into_iter().filter(|(key, typist)| before.get(key) != Some(typist)).collect();
    changed.sort_unstable_by_key(|(key, _)| *key);
    let news = changed.iter().filter(|(key, typist)| is_news(key, typist)).count();
    tx.reserve_positions(i64::try_from(news).unwrap_or(i64::MAX)).await?;
    for (key, typist) in &mut changed {
        if is_news(key, typist) {
            typist.position = tx.next_position().await?;
            let ((room_sn, user_sn), position, has_ended) = (*key, typist.position, typist.has_ended);
            tx.publish(LogEntry::Typing { position, room_sn, user_sn, has_ended });
        }
    }
    let rows = changed.iter().map(|((room_sn, user_sn), typist)| {
        let Typist { has_ended, expires_at, position } = *typist;
        vec![(*room_sn).into(), (*user_sn).into(), has_ended.into(), expires_at.into(), position.into()]
    });
    let into = "typing (room_sn, user_sn, has_ended, expires_at, position) ON CONFLICT (room_sn, user_sn) \
                DO UPDATE SET has_ended = excluded.has_ended, expires_at = excluded.expires_at, \
                position = excluded.position";
    tx.insert_all(into, &rows.collect::<Vec<_>>()).await
}

impl TypingWrite {
    fn who(&self) -> &[(RoomSn, UserSn)] {
        match self {
            Self::Start { who, .. } => std::slice::from_ref(who),
            Self::Stop { who, .. } => who,
        }
    }

    fn apply(&self, typists: &mut HashMap<(RoomSn, UserSn), Typist>) {
        match self {
            Self::Start { who, expires_at } => {
                let unknown = Typist { has_ended: true, expires_at: *expires_at, position: Position::START };
                let typist = typists.entry(*who).or_insert(unknown);
                // Who types already goes on typing: that is no news.
                (typist.has_ended, typist.expires_at) = (false, *expires_at);
            }
            Self::Stop { who, now, latest } => {
                for who in who {
                    let Some(typist) = typists.get_mut(who).filter(|typist| !typist.has_ended) else { continue };
                    if typist.expires_at <= *now || typist.expires_at > latest.unwrap_or(*now) {
                        (typist.has_ended, typist.expires_at) = (true, *now);
                    }
                }
            }
        }
    }
}
