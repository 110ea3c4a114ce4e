//! The compiler that lints while it builds.
//!
//! `cargo clippy` compiles everything, dependencies too, only to throw the code away; the tests compile everything once more. Clippy's
//! driver is the compiler itself with further lints, and it makes code as well. With the driver in place of the compiler for the
//! crates of the workspace, as cargo offers it, one pass lints and builds.
//!
//! What makes that sound: the tests run code of the same compiler, unoptimised in both cases; the driver only turns optimisations of
//! the compiler's intermediate representation off. Programs that people run are never built this way. Warnings are counted in
//! cargo's messages, whose form is stable, and cargo repeats those of crates that did not have to be compiled: what failed once
//! fails until it is mended. They do not stop the build, so that lints of a newer compiler leave the tests their say.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// Names what cargo starts in place of the compiler, for the crates of the workspace only.
const WRAPPER_VARIABLE: &str = "RUSTC_WORKSPACE_WRAPPER";

/// Clippy's driver, which belongs to the same toolchain as cargo.
pub(crate) struct Driver(PathBuf);

impl Driver {
    /// The driver beside the cargo that runs this program.
    pub(crate) fn find() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").context("run this as `cargo xtask ci`")?;
        let driver = PathBuf::from(cargo).with_file_name("clippy-driver");
        if !driver.exists() {
            bail!("{} is missing: install clippy (`rustup component add clippy`)", driver.display());
        }
        Ok(Self(driver))
    }

    /// Has `cargo` lint what it compiles of the workspace. Every command that is to share what another one built needs this.
    pub(crate) fn lint(&self, mut cargo: Command) -> Command {
        cargo.env(WRAPPER_VARIABLE, &self.0);
        cargo
    }
}

/// A line of what cargo writes with `--message-format=json`.
#[derive(Deserialize)]
struct Line {
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    message: String,
    rendered: Option<String>,
    spans: Vec<serde_json::Value>,
}

/// What the compiler had to say. A library and its tests are compiled apart, and what both say counts once.
#[derive(Default)]
pub(crate) struct Findings {
    /// Warnings that belong to a place in the code, not those that sum others up.
    pub(crate) warnings: u64,
    shown: HashSet<String>,
}

impl Findings {
    /// Counts a message of cargo if it is a warning. Returns what to show people, if they have not seen it.
    pub(crate) fn read(&mut self, line: &[u8]) -> Option<String> {
        let Ok(Line { message: Some(message) }) = serde_json::from_slice(line) else { return None };
        let rendered = message.rendered.unwrap_or(message.message);
        if !self.shown.insert(rendered.clone()) {
            return None;
        }
        self.warnings += u64::from(message.level == "warning" && !message.spans.is_empty());
        Some(rendered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_counted_and_everything_is_shown_once() {
        let mut findings = Findings::default();
        let lines = [
            r#"{"reason":"compiler-artifact","fresh":true}"#,
            r#"{"reason":"compiler-message","message":{"level":"warning","message":"u","rendered":"unused","spans":[{}]}}"#,
            r#"{"reason":"compiler-message","message":{"level":"warning","message":"u","rendered":"unused","spans":[{}]}}"#,
            r#"{"reason":"compiler-message","message":{"level":"warning","message":"1","rendered":"all","spans":[]}}"#,
            r#"{"reason":"compiler-message","message":{"level":"error","message":"wrong","rendered":null,"spans":[{}]}}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        let shown: Vec<_> = lines.iter().filter_map(|line| findings.read(line.as_bytes())).collect();
        assert_eq!(shown, ["unused", "all", "wrong"]);
        assert_eq!(findings.warnings, 1);
    }
}
