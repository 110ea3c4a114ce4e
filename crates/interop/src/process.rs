//! A server as a process that can be stopped and started again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A server that runs, or is stopped for a while.
pub(crate) struct Server {
    /// The name in user IDs.
    pub(crate) name: String,
    /// Where its client API is.
    pub(crate) url: String,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// A server that is not started yet. What it prints goes to the file `log`.
    pub(crate) fn new(name: String, url: String, program: &Path, arguments: Vec<String>, log: PathBuf) -> Self {
        Self { name, url, program: program.to_owned(), arguments, log, child: None }
    }

    /// Starts it, and waits until it answers.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        let child = self.child.insert(child);
        let deadline = Instant::now() + READY_WITHIN;
        let versions = format!("{}/_matrix/client/versions", self.url);
        loop {
            if let Ok(answer) = reqwest::get(&versions).await
                && answer.status().is_success()
            {
                return Ok(());
            }
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status}: see {}", self.program.display(), self.log.display());
            }
            if Instant::now() > deadline {
                bail!("{} does not answer: see {}", self.program.display(), self.log.display());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Stops it as an operator would, and waits until it is gone.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process has a number")?;
        kill_process(pid, Signal::TERM)?;
        let deadline = Instant::now() + STOPPED_WITHIN;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("{} did not stop: see {}", self.program.display(), self.log.display());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may be gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
