//! What a package brings along.

use std::{collections::BTreeSet, fs, process::Command};

use crate::PROGRAM;

#[test]
fn every_shell_gets_completions_for_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(PROGRAM).args(["completions", shell]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        for command in ["backup", "config", "health", "room", "user"] {
            assert!(text.contains(command), "{shell} is not told of {command}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM).arg("man").arg(directory.path().join("man1")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let pages = fs::read_dir(directory.path().join("man1")).unwrap();
    let pages: BTreeSet<_> = pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    for page in ["synapse-rust.1", "synapse-rust-backup.1", "synapse-rust-user-create.1"] {
        assert!(pages.contains(page), "{page} is not among {pages:?}");
    }
}

#[test]
fn the_configuration_in_the_package_is_valid() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/debian/homeserver.toml");
    let check = |arguments: &[&str]| Command::new(PROGRAM).env_clear().args(arguments).output().unwrap();
    let checked = check(&["config", "check", "--config", file]);
    assert!(checked.status.success(), "{checked:?}");
    // Also with everything that is only proposed.
    let text: String = fs::read_to_string(file)
        .unwrap()
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let proposed = directory.path().join("homeserver.toml");
    fs::write(&proposed, text).unwrap();
    let checked = check(&["config", "check", "--config", proposed.to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn the_configuration_in_the_image_is_valid() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/docker/Dockerfile");
    let text = fs::read_to_string(file).unwrap();
    let mut variables = Vec::new();
    for word in text.lines().map(|line| line.trim_start_matches("ENV ").trim().trim_end_matches('\\').trim()) {
        if let Some((name, value)) = word.split_once('=').filter(|(name, _)| name.starts_with("SYNAPSE_RUST__")) {
            variables.push((name, value.trim_matches('"')));
        }
    }
    assert_eq!(variables.len(), 2, "{variables:?}");
    let shown = Command::new(PROGRAM).env_clear().envs(variables).args(["config", "show"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("data_dir = \"/data\"") && shown.contains("bind = \"0.0.0.0:8008\""), "{shown}");
}

/// `.cargo` among it: options of the allocator and of SQLite stand there.
#[test]
fn the_build_of_the_image_has_all_that_the_build_needs() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.dockerignore")).unwrap();
    let let_through: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert_eq!(let_through, BTreeSet::from([".cargo", "Cargo.lock", "Cargo.toml", "LICENSE", "crates"]));
}
