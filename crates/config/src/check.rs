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
    email(config, sources)
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
