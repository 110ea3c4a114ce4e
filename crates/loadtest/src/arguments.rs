//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};

use crate::context::{Size, Target};
use crate::federation::Federation;
use crate::process::Processes;
use crate::scenario::Scenario;
use crate::soak::Soak;
use crate::start_up::StartUp;
use crate::waiting::Waiting;

/// Drives a Matrix homeserver by its public client API and measures it.
///
/// Use a server that can be thrown away: a run leaves accounts and rooms behind. Raise its rate limits;
/// requests that are limited all the same are repeated and counted.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) one: OneTarget,
    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measures several servers, scenario by scenario, and compares each with the first
    Compare {
        /// name=URL[,node=URL]…[,pid=PID]…[,process=NAME]…[,shared-secret=TEXT][,data-path=PATH]…[,disk-command=COMMAND]
        /// [,start-command=COMMAND][,start-url=URL]; may be given again
        #[arg(long = "target", required = true)]
        targets: Vec<Target>,
        #[command(flatten)]
        run: Run,
    },
    /// Lets thousands of clients wait in /sync; fails if one costs too much memory
    Waiting(Waiting),
    /// Fills a database and measures how long the server takes to start on it; fails if that is too long
    StartUp(StartUp),
    /// Mixed traffic for long; fails if memory or latencies grow, or anything fails
    Soak(Soak),
    /// Events from and to other servers, which it plays itself; fails if a goal is missed
    ///
    /// The server needs `network.verify_tls = false`, `network.allow_private_addresses = true`,
    /// `federation.trusted_key_servers = ["127.10.255.254:18448"]` and `rate_limits.enabled = false`.
    Federation(Federation),
}

/// What a run does, whatever the target.
#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    /// What to measure; all of it where none is named
    #[arg(value_enum)]
    pub(crate) scenarios: Vec<Scenario>,
    /// Factor on every count and duration, such as 0.1 for a quick look
    #[arg(long, default_value = "1", value_parser = parse_scale)]
    pub(crate) scale: f64,
    /// Seconds that a measured part runs, before --scale
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Also writes the results to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Run {
    pub(crate) fn size(&self) -> Size {
        Size { scale: self.scale, duration: Duration::from_secs(self.seconds) }
    }
}

/// The server, where there is only one.
#[derive(Args, Clone, Debug)]
pub(crate) struct OneTarget {
    /// Base URL of the homeserver
    #[arg(long, default_value = "http://127.0.0.1:8008")]
    url: String,
    /// Base URL of a further server on the same database, for `fanout`; may be given again
    #[arg(long, value_name = "URL")]
    node_url: Vec<String>,
    /// Makes accounts at /_synapse/admin/v1/register with this secret instead of by open registration
    #[arg(long, value_name = "TEXT")]
    shared_secret: Option<String>,
    /// Processes of the server and of its database whose CPU time counts, with all that they start; may be given again
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    server_pid: Vec<u32>,
    /// All processes of this name count as well, such as postgres; may be given again
    #[arg(long, value_name = "NAME")]
    server_process_name: Vec<String>,
    /// Files or folders of the server, for `disk`; may be given again
    #[arg(long, value_name = "PATH")]
    data_path: Vec<PathBuf>,
    /// Prints how many bytes the database occupies, for `disk`
    #[arg(long, value_name = "COMMAND")]
    disk_command: Option<String>,
    /// Starts a fresh server in the foreground, for `startup`
    #[arg(long, value_name = "COMMAND")]
    start_command: Option<String>,
    /// Where the fresh server answers, where that is not --url
    #[arg(long, value_name = "URL")]
    start_url: Option<String>,
}

impl From<OneTarget> for Target {
    fn from(one: OneTarget) -> Self {
        Self {
            name: "server".to_owned(),
            url: one.url,
            nodes: one.node_url,
            shared_secret: one.shared_secret,
            processes: Processes { pids: one.server_pid, names: one.server_process_name },
            data_paths: one.data_path,
            disk_command: one.disk_command,
            start_command: one.start_command,
            start_url: one.start_url,
        }
    }
}

fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.001..=1000.0).contains(&scale) => Ok(scale),
        _ => Err("a number from 0.001 to 1000 is expected".to_owned()),
    }
}

const TARGET_KEYS: [&str; 8] =
    ["node", "pid", "process", "shared-secret", "data-path", "disk-command", "start-command", "start-url"];

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut parts = split_at_keys(text).into_iter();
        let head = parts.next().unwrap_or_default();
        let (name, url) = head.split_once('=').context("a target starts with name=URL")?;
        let mut target = Self { name: name.to_owned(), url: url.to_owned(), ..Self::default() };
        for part in parts {
            let (key, value) = part.split_once('=').context("key=value is expected")?;
            let owned = value.to_owned();
            match key {
                "pid" => {
                    let pid = value.parse().with_context(|| format!("pid={value}: a process id is expected"))?;
                    target.processes.pids.push(pid);
                }
                "node" => target.nodes.push(owned),
                "process" => target.processes.names.push(owned),
                "shared-secret" => target.shared_secret = Some(owned),
                "data-path" => target.data_paths.push(owned.into()),
                "disk-command" => target.disk_command = Some(owned),
                "start-command" => target.start_command = Some(owned),
                "start-url" => target.start_url = Some(owned),
                _ => bail!("{key}: one of {} is expected", TARGET_KEYS.join(", ")),
            }
        }
        Ok(target)
    }
}

/// Splits at the commas that a known key follows, so that commands may hold commas of their own.
fn split_at_keys(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for piece in text.split(',') {
        let begins = TARGET_KEYS.iter().any(|key| piece.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')));
        match parts.last_mut() {
            Some(last) if !begins => {
                last.push(',');
                last.push_str(piece);
            }
            _ => parts.push(piece.to_owned()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_target_is_parsed_with_commas_in_its_command() {
        let text = "synapse=http://127.0.0.1:8008,node=http://127.0.0.1:8009,pid=7,pid=9,process=postgres,disk-command=echo 1,2,shared-secret=s";
        let target: Target = text.parse().unwrap();
        assert_eq!((target.name.as_str(), target.url.as_str()), ("synapse", "http://127.0.0.1:8008"));
        assert_eq!(target.nodes, ["http://127.0.0.1:8009"]);
        assert_eq!(target.processes.pids, [7, 9]);
        assert_eq!(target.processes.names, ["postgres"]);
        assert_eq!(target.disk_command.as_deref(), Some("echo 1,2"));
        assert_eq!(target.shared_secret.as_deref(), Some("s"));
    }

    #[test]
    fn a_target_without_a_name_or_with_a_wrong_pid_is_refused() {
        assert!("http://127.0.0.1".parse::<Target>().is_err());
        assert!("one=http://127.0.0.1,pid=x".parse::<Target>().is_err());
    }

    #[test]
    fn scenarios_and_compare_are_told_apart() {
        let one = Arguments::try_parse_from(["loadtest", "send", "sync-initial", "--server-pid", "1,2"]).unwrap();
        assert_eq!(one.run.scenarios, [Scenario::Send, Scenario::SyncInitial]);
        assert_eq!(Target::from(one.one).processes.pids, [1, 2]);
        let line = ["loadtest", "compare", "--target", "a=http://a", "--scale", "0.1", "versions"];
        let Some(Command::Compare { targets, run }) = Arguments::try_parse_from(line).unwrap().command else {
            panic!("not read as a comparison");
        };
        assert_eq!((targets.len(), run.scenarios), (1, vec![Scenario::Versions]));
        assert!(Arguments::try_parse_from(["loadtest", "--scale", "0"]).is_err());
    }
}
