//! What no single value can get wrong alone.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::{Config, Error, MailTls, Sources};

pub(crate) fn check(config: &Config, sources: &Sources) -> Result<(), Error> {
    listeners(config, sources)?;
    pool(config, sources)?;
    jobs(config, sources)?;
    paths(config, sources)?;
    turn(config, sources)?;
    support(config, sources)?;
    email(config, sources)
}

fn turn(config: &Config, sources: &Sources) -> Result<(), Error> {
    let turn = &config.turn;
    if turn.username.is_some() != turn.password.is_some() {
        let missing = if turn.username.is_some() { "turn.password" } else { "turn.username" };
        return Err(sources.error(missing, "expected both turn.username and turn.password, or neither"));
    }
    if !turn.uris.is_empty() && turn.shared_secret.is_none() && turn.username.is_none() {
        return Err(sources.error("turn.shared_secret", "expected a value, which turn.uris need"));
    }
    Ok(())
}

fn support(config: &Config, sources: &Sources) -> Result<(), Error> {
    for (index, contact) in config.support.contacts.iter().enumerate() {
        if contact.matrix_id.is_none() && contact.email_address.is_none() {
            let problem = "expected a matrix_id, an email_address, or both";
            return Err(sources.error(&format!("support.contacts[{index}]"), problem));
        }
        if contact.matrix_id.as_ref().is_some_and(|id| <&ruma::UserId>::try_from(id.as_str()).is_err()) {
            return Err(sources.error(&format!("support.contacts[{index}].matrix_id"), "expected a user ID"));
        }
    }
    Ok(())
}

fn listeners(config: &Config, sources: &Sources) -> Result<(), Error> {
    if config.listeners.is_empty() {
        return Err(sources.error("listeners", "expected at least one listener"));
    }
    let mut taken = HashSet::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        if listener.resources.is_empty() {
            return Err(sources.error(&format!("listeners[{index}].resources"), "expected at least one resource"));
        }
        if !listener.bind.is_free_for_all() && !taken.insert(&listener.bind) {
            let problem = format!("expected an address that no other listener has, not {} again", listener.bind);
            return Err(sources.error(&format!("listeners[{index}].bind"), problem));
        }
    }
    Ok(())
}

fn pool(config: &Config, sources: &Sources) -> Result<(), Error> {
    let pool = config.pool();
    if pool.min_connections > pool.max_connections {
        let problem = format!(
            "expected at most database.max_connections, {}, not {}",
            pool.max_connections, pool.min_connections
        );
        return Err(sources.error("database.min_connections", problem));
    }
    Ok(())
}

fn email(config: &Config, sources: &Sources) -> Result<(), Error> {
    let email = &config.email;
    let Some(host) = &email.smtp_host else {
        if config.registration.require_email {
            return Err(sources.error("registration.require_email", "expected email.smtp_host to be set with it"));
        }
        return Ok(());
    };
    let missing = [
        ("email.from", email.from.is_none()),
        ("server.public_base_url", config.server.public_base_url.is_none()),
        ("email.password", email.username.is_some() && email.password.is_none()),
        ("email.username", email.password.is_some() && email.username.is_none()),
    ];
    if let Some((key, _)) = missing.into_iter().find(|(_, is_missing)| *is_missing) {
        return Err(sources.error(key, "expected a value, which sending e-mail needs"));
    }
    if email.app_name.is_empty() || email.app_name.chars().any(char::is_control) {
        return Err(sources.error("email.app_name", "expected one line of text"));
    }
    let is_near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if email.tls == MailTls::None && email.password.is_some() && !is_near {
        let problem = "expected \"start_tls\" or \"implicit\": the password would be sent in clear to another machine";
        return Err(sources.error("email.tls", problem));
    }
    Ok(())
}

/// A device that is in use is written of as seen every few minutes; a day leaves no doubt.
const SHORTEST_UNSEEN: Duration = Duration::from_secs(24 * 3600);
/// A lease is renewed three times in its length, and has to survive a database that restarts.
const SHORTEST_LEASE: Duration = Duration::from_secs(10);

fn jobs(config: &Config, sources: &Sources) -> Result<(), Error> {
    let jobs = &config.jobs;
    if jobs.lease.duration() < SHORTEST_LEASE {
        return Err(sources.error("jobs.lease", "expected at least \"10s\""));
    }
    if jobs.remove_devices_unseen_for.is_some_and(|unseen| unseen.duration() < SHORTEST_UNSEEN) {
        return Err(sources.error("jobs.remove_devices_unseen_for", "expected at least \"1day\""));
    }
    Ok(())
}

fn paths(config: &Config, sources: &Sources) -> Result<(), Error> {
    let server = &config.server;
    let given = [
        ("server.data_dir", Some(&server.data_dir)),
        ("server.signing_key_path", server.signing_key_path.as_ref()),
        ("media.path", config.media.path.as_ref()),
        ("email.templates_dir", config.email.templates_dir.as_ref()),
    ];
    for (key, path) in given {
        if path.is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(sources.error(key, "expected a path that is not empty"));
        }
    }
    Ok(())
}
