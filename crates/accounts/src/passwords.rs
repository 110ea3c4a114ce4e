//! Hashes passwords, off the threads that serve requests.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use homeserver_core::Live;
use tasks::limits::{Busy, Limit};

use crate::unicode;

/// The longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 512;

/// The cost of computing a hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashCost {
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Passes over the memory.
    pub iterations: u32,
}

/// What is demanded of passwords that users choose.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct PasswordPolicy {
    /// The least length, in characters.
    pub least_chars: usize,
    /// The least score of zxcvbn, from 0 (everything is good enough) to 4.
    pub least_score: u8,
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
    /// It is too short.
    #[error("The password is too short: it needs at least {least_chars} characters")]
    TooShort {
        /// How many it must have.
        least_chars: usize,
    },
    /// It is easy to guess.
    #[error("The password is too easy to guess{hint}")]
    TooWeak {
        /// What makes it so, behind a colon, if that is known.
        hint: String,
    },
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
    hashing: Live<Hashing>,
    limit: Arc<Limit>,
}

#[derive(Clone, Debug)]
struct Hashing {
    argon2: Argon2<'static>,
    policy: PasswordPolicy,
    is_enabled: bool,
}

impl Passwords {
    /// A hasher of this cost. So many hash at once as `limit` allows.
    ///
    /// # Errors
    /// [`PasswordError::Hashing`] if argon2 does not allow the cost.
    pub fn new(cost: HashCost, limit: Arc<Limit>) -> Result<Self, PasswordError> {
        let policy = PasswordPolicy::default();
        let hashing = Live::new(Hashing { argon2: argon2(cost)?, policy, is_enabled: true });
        Ok(Self { hashing, limit })
    }

    /// Changes what the next hash costs, what is demanded of the next password, and whether accounts have passwords at all. Hashes
    /// of another cost stay valid.
    ///
    /// # Errors
    /// [`PasswordError::Hashing`] if argon2 does not allow the cost; nothing has changed then.
    pub fn reconfigure(&self, cost: HashCost, policy: PasswordPolicy, is_enabled: bool) -> Result<(), PasswordError> {
        self.hashing.replace(Hashing { argon2: argon2(cost)?, policy, is_enabled });
        Ok(())
    }

    /// Whether accounts have passwords.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.hashing.read().is_enabled
    }

    /// Refuses a password that a user must not choose. Administrators may.
    ///
    /// # Errors
    /// [`PasswordError`] with what is wrong with it.
    pub async fn check(&self, password: &str) -> Result<(), PasswordError> {
        if password.is_empty() {
            return Err(PasswordError::Empty);
        }
        if password.len() > MAX_PASSWORD_BYTES {
            return Err(PasswordError::TooLong);
        }
        let PasswordPolicy { least_chars, least_score } = self.hashing.read().policy;
        if unicode::opaque_string(password).chars().count() < least_chars {
            return Err(PasswordError::TooShort { least_chars });
        }
        if least_score == 0 {
            return Ok(());
        }
        // It takes about as long as a hash.
        self.run(password, move |password| strong_enough(&password, least_score)).await
    }

    /// The hash of a new password, in PHC format.
    ///
    /// # Errors
    /// [`PasswordError`] if the password is not acceptable, or the server is too busy.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        if password.is_empty() {
            return Err(PasswordError::Empty);
        }
        let argon2 = self.hashing.read().argon2.clone();
        self.run(password, move |password| {
            let password = unicode::opaque_string(&password);
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
        let argon2 = self.hashing.read().argon2.clone();
        self.run(password, move |password| {
            let Some(hash) = hash else {
                let mut output = [0; 32];
                argon2.hash_password_into(password.as_bytes(), &[0; 16], &mut output).map_err(failed)?;
                return Ok(false);
            };
            let hash = PasswordHash::new(&hash).map_err(failed)?;
            let normal = unicode::opaque_string(&password);
            if is_hash_of(&argon2, &hash, &normal)? {
                return Ok(true);
            }
            // Earlier versions hashed a password as it was typed.
            Ok(normal != password && is_hash_of(&argon2, &hash, &password)?)
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

fn is_hash_of(argon2: &Argon2<'_>, hash: &PasswordHash<'_>, password: &str) -> Result<bool, PasswordError> {
    match argon2.verify_password(password.as_bytes(), hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn strong_enough(password: &str, least_score: u8) -> Result<(), PasswordError> {
    let estimate = zxcvbn::zxcvbn(password, &[]);
    if u8::from(estimate.score()) >= least_score {
        return Ok(());
    }
    let warning = estimate.feedback().and_then(|feedback| feedback.warning());
    let hint = warning.map(|warning| format!(": {warning}")).unwrap_or_default();
    Err(PasswordError::TooWeak { hint })
}

fn argon2(cost: HashCost) -> Result<Argon2<'static>, PasswordError> {
    let memory_kib = u32::try_from(cost.memory_bytes / 1024).unwrap_or(u32::MAX);
    let params = Params::new(memory_kib, cost.iterations, 1, None).map_err(failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
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
    async fn another_cost_is_for_new_hashes_and_the_old_ones_stay_valid() {
        let passwords = passwords();
        let old = passwords.hash("secret").await.unwrap();
        let policy = PasswordPolicy::default();
        passwords.reconfigure(HashCost { memory_bytes: 128 * 1024, iterations: 2 }, policy, false).unwrap();
        assert!(!passwords.is_enabled());
        let new = passwords.hash("secret").await.unwrap();
        assert!(new.starts_with("$argon2id$v=19$m=128,t=2,p=1$"), "{new}");
        for hash in [old, new] {
            assert!(passwords.verify("secret", Some(hash)).await.unwrap());
        }
        passwords.reconfigure(HashCost { memory_bytes: 0, iterations: 0 }, policy, true).unwrap_err();
        assert!(!passwords.is_enabled());
    }

    #[tokio::test]
    async fn a_password_is_the_same_however_its_characters_are_composed() {
        let passwords = passwords();
        let (composed, decomposed) = ("\u{fc}bers3kr1t m\u{fc}de", "u\u{308}bers3kr1t\u{a0}mu\u{308}de");
        let hash = passwords.hash(decomposed).await.unwrap();
        assert!(passwords.verify(composed, Some(hash.clone())).await.unwrap());
        assert!(passwords.verify(decomposed, Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("ubers3kr1t mude", Some(hash)).await.unwrap());
        // As it was hashed before passwords were normalised.
        let salt = SaltString::encode_b64(&[7; 16]).unwrap();
        let argon2 = passwords.hashing.read().argon2.clone();
        let old = argon2.hash_password(decomposed.as_bytes(), &salt).unwrap().to_string();
        assert!(passwords.verify(decomposed, Some(old)).await.unwrap());
    }

    #[tokio::test]
    async fn what_the_policy_demands_is_told() {
        let passwords = passwords();
        let cost = HashCost { memory_bytes: 64 * 1024, iterations: 1 };
        passwords.check("x").await.unwrap();
        passwords.reconfigure(cost, PasswordPolicy { least_chars: 6, least_score: 0 }, true).unwrap();
        let short = passwords.check("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}").await.unwrap_err();
        assert_eq!(short.to_string(), "The password is too short: it needs at least 6 characters");
        passwords.check("secret").await.unwrap();
        passwords.reconfigure(cost, PasswordPolicy { least_chars: 6, least_score: 3 }, true).unwrap();
        let weak = passwords.check("password1").await.unwrap_err();
        assert!(weak.to_string().starts_with("The password is too easy to guess: "), "{weak}");
        passwords.check("plover gravel onyx 71").await.unwrap();
        // Nobody checks what an administrator chooses.
        passwords.hash("x").await.unwrap();
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
