//! Knowing a password again that was hashed a moment ago.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Makes marks of passwords, with a key that is nowhere but in the memory of this process: without it they say nothing.
pub(super) struct Marker([u8; 32]);

impl Marker {
    pub(super) fn new() -> Self {
        Self(rand::random())
    }

    /// The mark of a password in a session; another in any other session.
    pub(super) fn mark(&self, session_id: &str, password: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(session_id.as_bytes());
        mac.update(b"\0");
        mac.update(password.as_bytes());
        Some(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
