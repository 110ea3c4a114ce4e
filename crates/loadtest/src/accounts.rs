//! Makes accounts, by open registration or by a server's shared secret.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use hmac::{Hmac, Mac as _};
use serde::Deserialize;
use serde_json::json;
use sha1::Sha1;

use crate::matrix::{Homeserver, User};

/// Every account of a run has this password: it is a load test's, on a server that is thrown away.
pub(crate) const PASSWORD: &str = "load test, load test 1";

/// Where new accounts come from.
pub(crate) struct Registrar {
    shared_secret: Option<String>,
    /// Keeps the names of one run apart from those of another on the same server.
    name_prefix: String,
}

impl Registrar {
    pub(crate) fn new(shared_secret: Option<String>) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let process = std::process::id();
        Self { shared_secret, name_prefix: format!("load-{:x}-{process:x}", since_epoch.as_nanos()) }
    }

    /// Makes the account with this number and logs it in.
    pub(crate) async fn register(&self, server: &Homeserver, number: usize) -> anyhow::Result<User> {
        let name = format!("{}-{number}", self.name_prefix);
        match &self.shared_secret {
            Some(secret) => register_by_secret(server, secret, &name).await,
            None => register_openly(server, &name).await,
        }
    }
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register>
async fn register_openly(server: &Homeserver, name: &str) -> anyhow::Result<User> {
    const PATH: &str = "/_matrix/client/v3/register";
    let body = |auth| json!({"username": name, "password": PASSWORD, "auth": auth});
    let first = server.post(None, PATH, &body(json!({"type": "m.login.dummy"}))).await;
    let reply = match first {
        Ok(reply) => reply,
        Err(failure) => {
            let challenge = failure.body_of_status(401);
            let Some(session) = challenge.as_ref().and_then(|body| body.get("session")) else {
                bail!("cannot register ({failure}): open registration, or give --shared-secret");
            };
            let auth = json!({"type": "m.login.dummy", "session": session});
            let second = server.post(None, PATH, &body(auth)).await;
            second.context("the server asks for more than m.login.dummy: give --shared-secret")?
        }
    };
    reply.parse()
}

/// Synapse's registration by shared secret, which other servers offer too.
async fn register_by_secret(server: &Homeserver, secret: &str, name: &str) -> anyhow::Result<User> {
    const PATH: &str = "/_synapse/admin/v1/register";
    #[derive(Deserialize)]
    struct Offer {
        nonce: String,
    }
    let offer = server.get(None, PATH).await.context("asking to register by shared secret")?;
    let nonce = offer.parse::<Offer>()?.nonce;
    let mac = registration_mac(secret, &nonce, name)?;
    let body = json!({"nonce": nonce, "username": name, "password": PASSWORD, "admin": false, "mac": mac});
    let reply = server.post(None, PATH, &body).await.context("registering by shared secret")?;
    reply.parse()
}

fn registration_mac(secret: &str, nonce: &str, name: &str) -> anyhow::Result<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes())?;
    mac.update([nonce, name, PASSWORD, "notadmin"].join("\0").as_bytes());
    Ok(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registration_mac_is_forty_hexadecimal_digits_that_depend_on_the_nonce() {
        let one = registration_mac("secret", "nonce-1", "alice").unwrap();
        let two = registration_mac("secret", "nonce-2", "alice").unwrap();
        assert_eq!(one.len(), 40);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(one, two);
    }

    #[test]
    fn two_runs_use_different_names() {
        let one = Registrar::new(None);
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_ne!(one.name_prefix, Registrar::new(None).name_prefix);
    }
}
