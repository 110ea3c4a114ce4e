//! From the start command to the first answer.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::process::{Child, Command};

use crate::context::Context;
use crate::matrix::Homeserver;
use crate::measurement::{Measurement, Spent, Tally};
use crate::process::{Scheduled, resident_bytes_of_tree, scheduled_of_tree};

const STARTS: usize = 5;
const POLL: Duration = Duration::from_millis(2);
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Memory is read this long after the first answer.
const SETTLE: Duration = Duration::from_secs(1);
const STOP_LIMIT: Duration = Duration::from_secs(30);

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let Some(command) = &context.target.start_command else {
        context.progress.note("startup: left out, it needs --start-command");
        return Ok(Vec::new());
    };
    let url = context.target.start_url.as_ref().unwrap_or(&context.target.url);
    context.progress.stage("startup");
    Ok(vec![measure(context, command, url, context.size.count(STARTS)).await?])
}

/// Starts a server this many times, one after the other, and stops it each time.
pub(crate) async fn measure(context: &Context, command: &str, url: &str, starts: usize) -> anyhow::Result<Measurement> {
    let mut tally = Tally::default();
    let mut memory_bytes: Vec<u64> = Vec::new();
    let (mut ran, mut waited) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..starts {
        let server = Homeserver::new(url)?;
        let running = server.versions().await.is_ok();
        ensure!(!running, "something answers at {url} already: give the start command's own --start-url");
        let started = Instant::now();
        let mut child = start(command)?;
        let measured = until_ready(&server, &mut child).await;
        stop(child, &server).await?;
        let Ready { at, scheduled, resident_bytes } = measured?;
        tally.latency(at.duration_since(started));
        memory_bytes.push(resident_bytes);
        ran += scheduled.ran;
        waited += scheduled.waited;
        context.progress.tick();
    }
    let mean = |sum: f64| sum / memory_bytes.len() as f64;
    let mean_bytes = mean(memory_bytes.iter().sum::<u64>() as f64);
    let row = Measurement::new("startup, until ready", tally, Spent::default())
        .figure("time on a core until then", "ms", mean(ran.as_secs_f64() * 1000.0))
        .figure("time without one, all threads", "ms", mean(waited.as_secs_f64() * 1000.0));
    Ok(row.figure("memory of a fresh server", "MiB", mean_bytes / 1_048_576.0))
}

pub(crate) fn start(command: &str) -> anyhow::Result<Child> {
    Command::new("sh")
        .args(["-c", command])
        // Its own group, so that all it starts can be stopped together.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("running the start command")
}

/// A server that has answered for the first time.
pub(crate) struct Ready {
    at: Instant,
    /// Until then. What other programs on the machine have cost it is not the server's.
    scheduled: Scheduled,
    /// A little later.
    resident_bytes: u64,
}

/// Waits for the first answer.
pub(crate) async fn until_ready(server: &Homeserver, child: &mut Child) -> anyhow::Result<Ready> {
    let deadline = Instant::now() + READY_LIMIT;
    while server.versions().await.is_err() {
        if let Some(status) = child.try_wait()? {
            anyhow::bail!("the start command ended ({status}) before the server answered");
        }
        ensure!(Instant::now() < deadline, "no answer {} s after the start command", READY_LIMIT.as_secs());
        tokio::time::sleep(POLL).await;
    }
    let at = Instant::now();
    let pid = child.id().context("the server ended right after its first answer")?;
    let scheduled = scheduled_of_tree(pid)?;
    tokio::time::sleep(SETTLE).await;
    Ok(Ready { at, scheduled, resident_bytes: resident_bytes_of_tree(pid)? })
}

/// Stops the whole group and waits until the address is free.
pub(crate) async fn stop(mut child: Child, server: &Homeserver) -> anyhow::Result<()> {
    let Some(pid) = child.id() else {
        return Ok(());
    };
    signal_group("TERM", pid).await?;
    if tokio::time::timeout(STOP_LIMIT, child.wait()).await.is_err() {
        signal_group("KILL", pid).await?;
        child.wait().await?;
    }
    let deadline = Instant::now() + STOP_LIMIT;
    while server.versions().await.is_ok() {
        ensure!(Instant::now() < deadline, "the server still answers after it was stopped");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The shell's own `kill` is everywhere, and sending a signal by hand would need unsafe code.
async fn signal_group(signal: &str, group: u32) -> anyhow::Result<()> {
    let kill = format!("kill -{signal} -{group}");
    Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status().await?;
    Ok(())
}
