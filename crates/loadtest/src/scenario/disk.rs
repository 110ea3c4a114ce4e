//! How many bytes on disk an event costs, all in: tables, indexes, logs.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::context::{Context, Target};
use crate::measurement::{Figure, Measurement};

const EVENTS: usize = 5000;
const ROOMS: usize = 10;
/// What the server writes a little later is on disk by then.
const SETTLE: Duration = Duration::from_secs(3);

pub(super) async fn run(context: &Context) -> anyhow::Result<Vec<Measurement>> {
    let target = &context.target;
    if target.data_paths.is_empty() && target.disk_command.is_none() {
        context.progress.note("disk: left out, it needs --data-path or --disk-command");
        return Ok(Vec::new());
    }
    let users = context.users(ROOMS).await?;
    let rooms = context.prepare("preparing rooms", ROOMS, async |number| match users.get(number) {
        Some(user) => Ok((user.clone(), context.server.new_public_room(user).await?)),
        None => anyhow::bail!("too few accounts"),
    });
    let rooms = rooms.await?;
    tokio::time::sleep(SETTLE).await;
    let before = bytes_on_disk(target).await?;
    let events = context.size.count(EVENTS);
    context
        .prepare(&format!("disk, {events} messages"), events, async |number| {
            let (user, room) = rooms.get(number % ROOMS).context("too few rooms")?;
            Ok(context.server.send_chatter(user, room).await?)
        })
        .await?;
    tokio::time::sleep(SETTLE).await;
    let after = bytes_on_disk(target).await?;
    let value = (after as f64 - before as f64) / events as f64;
    let figure = Figure { name: "disk per event", unit: "bytes", value };
    Ok(vec![Measurement::of_figures(format!("disk, {events} messages"), vec![figure])])
}

async fn bytes_on_disk(target: &Target) -> anyhow::Result<u64> {
    let mut sum = 0;
    let mut seen = HashSet::new();
    for path in &target.data_paths {
        sum += allocated_bytes(path, &mut seen)?;
    }
    if let Some(command) = &target.disk_command {
        let output = tokio::process::Command::new("sh").args(["-c", command]).output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let failed = || format!("--disk-command must print one number of bytes, not {:?}", text.trim());
        ensure!(output.status.success(), "--disk-command failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        sum += text.trim().parse::<u64>().with_context(failed)?;
    }
    Ok(sum)
}

/// As `du` counts: blocks in use, every file once however many names it has.
fn allocated_bytes(path: &Path, seen: &mut HashSet<(u64, u64)>) -> anyhow::Result<u64> {
    let metadata = fs::symlink_metadata(path).with_context(|| format!("--data-path {}", path.display()))?;
    if !seen.insert((metadata.dev(), metadata.ino())) {
        return Ok(0);
    }
    let mut sum = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            // A file may go while it is being counted.
            sum += allocated_bytes(&entry?.path(), seen).unwrap_or(0);
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_counted_with_everything_in_it_and_once() {
        let folder = std::env::temp_dir().join(format!("loadtest-disk-{}", std::process::id()));
        fs::create_dir_all(folder.join("below")).unwrap();
        fs::write(folder.join("below/file"), vec![7; 100_000]).unwrap();
        let mut seen = HashSet::new();
        assert!(allocated_bytes(&folder, &mut seen).unwrap() >= 100_000);
        assert_eq!(allocated_bytes(&folder, &mut seen).unwrap(), 0);
        fs::remove_dir_all(&folder).unwrap();
    }
}
