//! Hashes passwords, off the threads that serve requests.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tasks::limits::{Busy, Limit};

/// The longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 512;

/// What a hash costs whoever computes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashCost {
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Passes over the memory.
    pub iterations: u32,
}

/// Why a password was not hashed or compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It is empty.
    #[error("The password is empty")]
    Empty,
    /// It is too long.
    #[error("The password is longer than {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    /// Too many passwords are being hashed at the moment.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The hash function failed.
    #[error("hashing a password failed: {0}")]
    Hashing(String),
}

/// Hashes passwords with argon2id, as many at once as a limit allows.
#[derive(Debug)]
pub struct Passwords {
    argon2: Argon2<'static>,
    limit: Arc<Limit>,
}

impl Passwords {
    /// A hasher of this cost. So many hash at once as `limit` allows.
    ///
    /// # Errors
    /// [`PasswordError::Hashing`] if argon2 does not allow the cost.
    pub fn new(cost: HashCost, limit: Arc<Limit>) -> Result<Self, PasswordError> {
        let memory_kib = u32::try_from(cost.memory_bytes / 1024).unwrap_or(u32::MAX);
        let params = Params::new(memory_kib, cost.iterations, 1, None).map_err(failed)?;
        Ok(Self { argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params), limit })
    }

    /// The hash of a new password, in PHC format.
    ///
    /// # Errors
    /// [`PasswordError`] if the password is not acceptable, or the server is too busy.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        if password.is_empty() {
            return Err(PasswordError::Empty);
        }
        let argon2 = self.argon2.clone();
        self.run(password, move |password| {
            let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(failed)?;
            Ok(argon2.hash_password(password.as_bytes(), &salt).map_err(failed)?.to_string())
        })
        .await
    }

    /// Whether the password is the one that was hashed. Without a hash it takes as long to find that it is not.
    ///
    /// # Errors
    /// [`PasswordError`] if the stored hash cannot be read, or the server is too busy.
    pub async fn verify(&self, password: &str, hash: Option<String>) -> Result<bool, PasswordError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        let argon2 = self.argon2.clone();
        self.run(password, move |password| {
            let Some(hash) = hash else {
                let mut output = [0; 32];
                argon2.hash_password_into(password.as_bytes(), &[0; 16], &mut output).map_err(failed)?;
                return Ok(false);
            };
            let hash = PasswordHash::new(&hash).map_err(failed)?;
            match argon2.verify_password(password.as_bytes(), &hash) {
                Ok(()) => Ok(true),
                Err(argon2::password_hash::Error::Password) => Ok(false),
                Err(error) => Err(failed(error)),
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        password: &str,
        work: impl FnOnce(String) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(PasswordError::TooLong);
        }
        let password = password.to_owned();
        let permit = self.limit.enter().await?;
        let done = tokio::task::spawn_blocking(move || {
            let answer = work(password);
            drop(permit);
            answer
        });
        done.await.map_err(failed)?
    }
}

fn failed(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Hashing(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use tasks::limits::{LimitSize, Reason, Unobserved};

    use super::*;

    fn passwords() -> Passwords {
        let size = LimitSize { running: NonZeroUsize::MIN, waiting: 1, longest_wait: Duration::from_secs(10) };
        let limit = Arc::new(Limit::new("password_hashing", size, Arc::new(Unobserved)));
        Passwords::new(HashCost { memory_bytes: 64 * 1024, iterations: 1 }, limit).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_recognised_and_another_is_not() {
        let passwords = passwords();
        let hash = passwords.hash("übers3kr1t").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert!(passwords.verify("übers3kr1t", Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("ubers3kr1t", Some(hash)).await.unwrap());
        assert!(!passwords.verify("übers3kr1t", None).await.unwrap());
    }

    #[tokio::test]
    async fn empty_and_endless_passwords_are_refused() {
        let passwords = passwords();
        assert!(matches!(passwords.hash("").await, Err(PasswordError::Empty)));
        assert!(matches!(passwords.hash(&"x".repeat(513)).await, Err(PasswordError::TooLong)));
        assert!(!passwords.verify("", None).await.unwrap());
        assert!(!passwords.verify(&"x".repeat(100_000), None).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_core_is_bounded() {
        let passwords = passwords();
        let _running = passwords.limit.enter().await.unwrap();
        let (one, other) = tokio::join!(passwords.hash("x"), passwords.verify("x", None));
        let reason = |error: PasswordError| match error {
            PasswordError::Busy(busy) => busy.reason,
            error => panic!("{error}"),
        };
        assert_eq!(reason(one.unwrap_err()), Reason::WaitedTooLong);
        assert_eq!(reason(other.unwrap_err()), Reason::QueueFull);
    }
}
