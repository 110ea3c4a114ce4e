//! Who an access token belongs to, and how tokens come and go.
//!
//! Tokens are stored hashed. What was looked up is remembered under the hash, and forgotten when the token is revoked.

mod by_login_token;
mod device;
mod endings;
mod following;
mod last_seen;
mod requester;
mod tokens;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use homeserver_core::{Cache, Clock, DeviceSn, HeapSize, MemoryUsage, Timestamp, UserSn, allocation_bytes};
use ruma::OwnedUserId;
use storage::{Database, Interned, StorageError, StoredSession, TokenHash, Tx};

pub(crate) use self::by_login_token::token_hash;
pub use self::device::{CheckedDevice, DeviceError, MAX_DEVICE_ID_BYTES, SessionDevice};
use self::endings::{Ending, Endings};
use self::following::Changed;
use self::last_seen::LastSeenQueue;
pub use self::requester::Requester;
pub use self::tokens::IssuedTokens;
use self::tokens::{PreparedTokens, hash};

/// How exactly it is recorded when a device was last seen.
const LAST_SEEN_INTERVAL: Duration = Duration::from_secs(300);
/// How often a session is read again that others change meanwhile.
const MAX_LOOK_UPS: usize = 3;

/// Why a token was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Never issued, or logged out.
    #[error("unknown token")]
    UnknownToken,
    /// Issued, but expired by now; the device still exists.
    #[error("expired access token")]
    ExpiredToken,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How sessions behave.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// After what time an access token must be refreshed, for clients that can.
    pub access_token_lifetime: Duration,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { access_token_lifetime: Duration::from_secs(3600) }
    }
}

struct Remembered {
    requester: Requester,
    expires_at: Option<Timestamp>,
    seen_at: AtomicI64,
}

impl HeapSize for Remembered {
    fn heap_bytes(&self) -> usize {
        /// Whether the session has ended, and the reference counts.
        const ENDED_BYTES: usize = allocation_bytes(size_of::<Ending>() + 2 * size_of::<usize>());
        let device_id = self.requester.device_id.as_ref().map_or(0, |id| allocation_bytes(id.as_str().len()));
        self.requester.user_id.heap_bytes() + device_id + ENDED_BYTES
    }
}

/// The sessions of this server's users.
pub struct Sessions {
    database: Database,
    interned: Arc<Interned>,
    clock: Arc<dyn Clock>,
    options: SessionOptions,
    remembered: Cache<TokenHash, Arc<Remembered>>,
    endings: Endings,
    changed: Changed,
    last_seen: LastSeenQueue,
}

impl Sessions {
    /// The sessions stored in `database`.
    #[must_use]
    pub fn new(database: Database, interned: Arc<Interned>, clock: Arc<dyn Clock>, options: SessionOptions) -> Self {
        let last_seen = LastSeenQueue::new(database.clone());
        let remembered = Cache::new(database.memory(), "sessions");
        Self {
            database,
            interned,
            clock,
            options,
            remembered,
            endings: Endings::default(),
            changed: Changed::default(),
            last_seen,
        }
    }

    /// Whose `token` it is. From which `address` it was used, if that is known, is told in the list of devices.
    ///
    /// # Errors
    /// [`AuthenticationError`] if it is nobody's.
    pub async fn authenticate(&self, token: &str, address: Option<IpAddr>) -> Result<Requester, AuthenticationError> {
        let hash = hash(token);
        let session = match self.remembered.get(&hash) {
            Some(session) => session,
            // Rare, and boxed so that the requests that wait for something else do not take its room.
            None => Box::pin(self.remembered.load(&hash, self.look_up(hash))).await?,
        };
        let now = self.clock.now();
        if session.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(AuthenticationError::ExpiredToken);
        }
        self.note_use(&session, now, address);
        Ok(session.requester.clone())
    }

    async fn look_up(&self, hash: TokenHash) -> Result<Arc<Remembered>, AuthenticationError> {
        let mut changes = self.endings.changes();
        let mut stored = self.database.session(&hash).await?.ok_or(AuthenticationError::UnknownToken)?;
        let ending = self.endings.of(hash, stored.user_sn);
        // A session that ended between the two lines above was not told, so it is read once more.
        for _ in 1..MAX_LOOK_UPS {
            if self.endings.changes() == changes {
                break;
            }
            changes = self.endings.changes();
            stored = self.database.session(&hash).await?.ok_or(AuthenticationError::UnknownToken)?;
        }
        if let Some(refresh_hash) = stored.refresh_hash
            && self.database.has_predecessor(stored.device_sn, &refresh_hash).await?
        {
            // This is the first use of tokens that came from a refresh, so the client has them and needs no older ones.
            let revoked = self.database.retire_predecessor(stored.user_sn, stored.device_sn, refresh_hash).await?;
            self.forget(&revoked);
        }
        // The next join of this user needs these numbers.
        self.interned.remember_user(&stored.user_id, stored.user_sn, stored.user_key_sn);
        Ok(Arc::new(remember(stored, ending)?))
    }

    fn note_use(&self, session: &Remembered, now: Timestamp, address: Option<IpAddr>) {
        let seen_at = session.seen_at.load(Ordering::Relaxed);
        let Some(device_sn) = session.requester.device_sn else { return };
        if now.since(Timestamp(seen_at)) < LAST_SEEN_INTERVAL {
            return;
        }
        let claimed = session.seen_at.compare_exchange(seen_at, now.0, Ordering::Relaxed, Ordering::Relaxed);
        if claimed.is_ok() {
            self.last_seen.push(device_sn, now, address);
        }
    }

    /// Opens a session for a user who has proved to know the password of this hash. A device that the user had before loses its
    /// earlier tokens. `None` if the account has been closed meanwhile, or has another password.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub(crate) async fn open(
        &self,
        user_sn: UserSn,
        password_hash: &str,
        device: &CheckedDevice,
    ) -> Result<Option<IssuedTokens>, StorageError> {
        let prepared = self.prepare(device);
        let (new, device, hash) = (prepared.stored(self.clock.now()), device.clone(), password_hash.to_owned());
        let revoked = self.database.write(async move |tx| {
            if !tx.lock_password_hash(user_sn, &hash).await? {
                return Ok(None);
            }
            new_session(tx, user_sn, &device, &new).await.map(Some)
        });
        let Some(revoked) = revoked.await? else { return Ok(None) };
        self.end(&revoked);
        Ok(Some(prepared.issued))
    }

    pub(crate) fn prepare(&self, device: &CheckedDevice) -> PreparedTokens {
        PreparedTokens::new(device, self.options.access_token_lifetime)
    }

    /// Exchanges a refresh token for new tokens.
    ///
    /// # Errors
    /// [`AuthenticationError`] if the refresh token is not, or no longer, known.
    pub async fn refresh(&self, refresh_token: &str) -> Result<IssuedTokens, AuthenticationError> {
        let device = CheckedDevice { wants_refresh_token: true, ..CheckedDevice::default() };
        let prepared = self.prepare(&device);
        let refreshed = self.database.refresh_tokens(hash(refresh_token), prepared.stored(self.clock.now())).await?;
        let refreshed = refreshed.ok_or(AuthenticationError::UnknownToken)?;
        self.forget(&refreshed.revoked);
        Ok(prepared.issued)
    }

    /// Ends the sessions of some of a user's devices, and deletes the devices.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn delete_devices(&self, user_sn: UserSn, device_ids: Vec<String>) -> Result<(), StorageError> {
        let revoked = self.database.delete_devices(user_sn, device_ids).await?;
        self.end(&revoked);
        Ok(())
    }

    /// Ends all sessions of a user, but for those of one device, and deletes the devices.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn delete_all_devices(&self, user_sn: UserSn, except: Option<DeviceSn>) -> Result<(), StorageError> {
        let revoked = self.database.delete_all_devices(user_sn, except).await?;
        self.end(&revoked);
        Ok(())
    }

    /// Forgets the tokens of sessions that have ended in the database, and tells the requests of these sessions that wait.
    pub fn end(&self, revoked: &[TokenHash]) {
        self.endings.note_change();
        self.forget(revoked);
        revoked.iter().for_each(|hash| self.endings.end(hash));
    }

    /// Forgets tokens for which their sessions have got others, also those that are just being looked up. Requests that were made
    /// with them are answered: the session goes on.
    fn forget(&self, revoked: &[TokenHash]) {
        for hash in revoked {
            self.remembered.remove(hash);
        }
    }

    /// When the devices were last used, if that was so lately that it is not in the database yet.
    pub(crate) fn unwritten_uses(&self, devices: &mut [storage::Device]) {
        self.last_seen.add_to(devices);
    }

    /// Forgets what is remembered of a user's tokens, which stay valid: the account is another one now.
    ///
    /// # Errors
    /// [`StorageError`] if the tokens cannot be read.
    pub(crate) async fn look_up_again(&self, user_sn: UserSn) -> Result<(), StorageError> {
        for hash in self.database.access_tokens_of(user_sn).await? {
            self.remembered.remove(&hash);
        }
        Ok(())
    }

    /// How many tokens are remembered, what that takes, and how often one was recognised.
    #[must_use]
    pub fn usage(&self) -> MemoryUsage {
        self.remembered.usage()
    }

    /// Writes down when devices were last seen, as far as that waits to be written.
    ///
    /// # Errors
    /// [`StorageError`] if the transaction does not commit.
    pub async fn flush(&self) -> Result<(), StorageError> {
        self.last_seen.flush().await
    }
}

fn remember(stored: StoredSession, ending: Arc<Ending>) -> Result<Remembered, StorageError> {
    let user_id = OwnedUserId::try_from(stored.user_id.as_str());
    let user_id =
        user_id.map_err(|error| StorageError::Value { column: 1, reason: format!("{}: {error}", stored.user_id) })?;
    Ok(Remembered {
        requester: Requester {
            user_sn: stored.user_sn,
            user_id,
            device_sn: Some(stored.device_sn),
            device_id: Some(stored.device_id.into()),
            is_guest: stored.is_guest,
            is_admin: stored.is_admin,
            is_locked: stored.is_locked,
            is_suspended: stored.is_suspended,
            is_rate_limited: true,
            ending,
        },
        expires_at: stored.expires_at,
        seen_at: AtomicI64::new(stored.last_seen_at.map_or(0, |at| at.0)),
    })
}

/// Stores a new session in a transaction. Returns the access tokens that the device had before.
pub(crate) async fn new_session(
    tx: &mut Tx,
    user_sn: UserSn,
    device: &CheckedDevice,
    new: &storage::NewTokens,
) -> Result<Vec<TokenHash>, StorageError> {
    let address = device.address.map(|address| address.to_string());
    let (name, address) = (device.display_name.as_deref(), address.as_deref());
    let device_sn = tx.ensure_device(user_sn, &device.device_id, name, address, new.created_at).await?;
    let revoked = tx.delete_tokens(&[device_sn.0]).await?;
    if !revoked.is_empty() {
        tx.note_account_change(user_sn).await?;
    }
    tx.insert_tokens(user_sn, device_sn, new).await?;
    Ok(revoked)
}

#[cfg(test)]
mod tests {
    use homeserver_core::{DeviceSn, HeapSize as _, Timestamp, UserSn};
    use storage::StoredSession;

    use super::{Arc, Remembered, remember};

    #[test]
    fn what_is_counted_is_what_is_allocated() {
        let stored = |number: i64| StoredSession {
            user_sn: UserSn(number),
            user_id: format!("@user{number}:example.org"),
            user_key_sn: None,
            device_sn: DeviceSn(number),
            device_id: format!("DEVICE{number}"),
            is_guest: false,
            is_admin: false,
            is_locked: false,
            is_suspended: false,
            expires_at: None,
            refresh_hash: None,
            last_seen_at: Some(Timestamp(0)),
        };
        let mut sessions: Vec<Arc<Remembered>> = Vec::with_capacity(100);
        let taken = allocation_counter::measure(|| {
            sessions.extend((0..100).map(|number| Arc::new(remember(stored(number), Arc::default()).unwrap())));
        });
        let counted: usize = sessions.iter().map(|session| session.heap_bytes()).sum();
        let taken = usize::try_from(taken.bytes_current).unwrap();
        assert!((taken..taken + taken / 4).contains(&counted), "{counted} counted, {taken} taken");
    }
}
