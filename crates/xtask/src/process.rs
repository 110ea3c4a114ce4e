//! Runs programs so that Ctrl-C, a termination signal or a time limit ends them with all their children,
//! and this program lives on to clean up.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

const POLL_INTERVAL: Duration = Duration::from_millis(50);
const GRACE_PERIOD: Duration = Duration::from_secs(5);

/// The error of a run that a signal cut short.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Starts programs in process groups of their own and ends the group when a signal arrives.
pub(crate) struct Supervisor {
    interrupted: Arc<AtomicBool>,
}

impl Supervisor {
    /// Takes over SIGINT, SIGTERM and SIGHUP for the whole program.
    pub(crate) fn install() -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("cannot handle signals")?;
        }
        Ok(Self { interrupted })
    }

    /// Fails if a signal has arrived since the start.
    pub(crate) fn check(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Interrupted.into());
        }
        Ok(())
    }

    /// Runs `command` to its end, with its output going where ours goes.
    pub(crate) fn run(&self, command: &mut Command, limit: Duration) -> Result<ExitStatus> {
        let mut child = start(command)?;
        self.wait(&mut child, command, limit)
    }

    /// Runs `command` to its end; every line of its standard output is printed and handed to `on_line`.
    pub(crate) fn run_reading<F>(&self, command: &mut Command, limit: Duration, mut on_line: F) -> Result<ExitStatus>
    where
        F: FnMut(&str) + Send,
    {
        self.run_capturing(command, limit, |line| {
            let mut own_output = std::io::stdout().lock();
            own_output.write_all(line)?;
            own_output.flush()?;
            on_line(String::from_utf8_lossy(line).trim_end());
            Ok(())
        })
    }

    /// Runs `command` to its end; every line of its standard output is handed to `on_line`, and not printed.
    pub(crate) fn run_capturing<F>(&self, command: &mut Command, limit: Duration, on_line: F) -> Result<ExitStatus>
    where
        F: FnMut(&[u8]) -> std::io::Result<()> + Send,
    {
        let mut child = start(command.stdout(Stdio::piped()))?;
        let output = child.stdout.take().context("the program has no standard output")?;
        let (finished_sender, finished) = mpsc::channel();
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let result = read_lines(output, on_line);
                // Nobody listens any more when the program was ended early.
                let _ = finished_sender.send(());
                result
            });
            let status = self.wait(&mut child, command, limit);
            // A grandchild that outlives the program holds the pipe open: end it, or the reader waits for ever.
            if finished.recv_timeout(GRACE_PERIOD).is_err() {
                signal_group(&child, Signal::KILL);
            }
            match reader.join() {
                Ok(read) => read.context("cannot read the program's output")?,
                Err(_) => bail!("the reader of the program's output panicked"),
            }
            status
        })
    }

    fn wait(&self, child: &mut Child, command: &Command, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = child.try_wait()? {
                self.check()?;
                return Ok(status);
            }
            if let Err(interrupted) = self.check() {
                end_group(child)?;
                return Err(interrupted);
            }
            if Instant::now() > deadline {
                end_group(child)?;
                bail!("`{}` was ended: it took more than {} s", text(command), limit.as_secs());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// The command line as one would type it, for messages.
pub(crate) fn text(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy()));
    words.join(" ")
}

fn start(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::null()).process_group(0).spawn().with_context(|| format!("cannot start `{}`", text(command)))
}

fn read_lines(output: impl Read, mut on_line: impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        on_line(&line)?;
        line.clear();
    }
    Ok(())
}

fn end_group(child: &mut Child) -> Result<()> {
    signal_group(child, Signal::TERM);
    let deadline = Instant::now() + GRACE_PERIOD;
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            break;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    // Also when the leader is gone: its children may have ignored the first signal.
    signal_group(child, Signal::KILL);
    child.wait()?;
    Ok(())
}

fn signal_group(child: &Child, signal: Signal) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // The only error here is that the group is gone already, which is what we want.
        let _ = kill_process_group(group, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn every_line_of_output_is_seen() {
        let supervisor = Supervisor::install().unwrap();
        let mut lines = Vec::new();
        let mut command = Command::new("printf");
        command.arg("one\\ntwo\\n");
        let status = supervisor.run_reading(&mut command, LIMIT, |line| lines.push(line.to_owned())).unwrap();
        assert!(status.success());
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_its_children() {
        let supervisor = Supervisor::install().unwrap();
        let started = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 30 & sleep 30"]);
        let error = supervisor.run_reading(&mut command, Duration::from_millis(100), |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c sleep 30 & sleep 30` was ended: it took more than 0 s");
        assert!(started.elapsed() < Duration::from_secs(60), "the children kept the output open");
    }

    #[test]
    fn a_grandchild_that_outlives_the_program_does_not_hang_the_run() {
        let supervisor = Supervisor::install().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 30 & exit 3"]);
        let status = supervisor.run_reading(&mut command, LIMIT, |_| ()).unwrap();
        assert_eq!(status.code(), Some(3));
    }
}
