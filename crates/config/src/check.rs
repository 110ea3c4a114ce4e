//! What no single value can get wrong alone.

use std::collections::HashSet;
use std::time::Duration;

use crate::{Config, Error, Sources};

pub(crate) fn check(config: &Config, sources: &Sources) -> Result<(), Error> {
    listeners(config, sources)?;
    pool(config, sources)?;
    jobs(config, sources)?;
    paths(config, sources)
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
    ];
    for (key, path) in given {
        if path.is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(sources.error(key, "expected a path that is not empty"));
        }
    }
    Ok(())
}
