//! CPU time and memory of the server's processes, read from `/proc`.
//!
//! The CPU time of a tree of processes is the sum, over its living members, of what each used itself
//! (`utime` + `stime`, all threads) and of what its children that have exited used (`cutime` +
//! `cstime`). A process that ends between two readings moves from the first kind to the second, one
//! that starts is found by the scan, so the difference of two readings misses nothing, also where a
//! database starts a process per connection. See proc(5), `/proc/[pid]/stat`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// The kernel reports times in units of `USER_HZ`, which is 100 on every architecture Rust runs on.
const TICK: Duration = Duration::from_millis(10);
/// How often a reading is repeated when processes came or went while it was made.
const READING_ATTEMPTS: usize = 5;

/// The fields of `/proc/[pid]/stat` that are used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) parent: u32,
    /// `utime` + `stime` + `cutime` + `cstime`.
    pub(crate) cpu_ticks: u64,
}

impl Stat {
    /// Parses one line; the name stands in parentheses and may itself hold spaces and parentheses.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (pid, rest) = line.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            pid: pid.trim().parse().ok()?,
            name: name.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            cpu_ticks: ticks(11)? + ticks(12)? + ticks(13)? + ticks(14)?,
        })
    }
}

/// The processes whose CPU time counts as the server's: those given, those of a name, and all their
/// descendants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    pub(crate) pids: Vec<u32>,
    pub(crate) names: Vec<String>,
}

impl Processes {
    pub(crate) fn is_empty(&self) -> bool {
        self.pids.is_empty() && self.names.is_empty()
    }

    /// CPU time of all of them since they started.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let mut members = self.members(&read_all_stats()?)?;
        for _ in 0..READING_ATTEMPTS {
            let again = self.members(&read_all_stats()?)?;
            // All of the first reading were still there later: none was counted as a child of another too.
            if again.keys().eq(members.keys()) {
                break;
            }
            members = again;
        }
        let ticks: u64 = members.values().map(|stat| stat.cpu_ticks).sum();
        Ok(TICK.saturating_mul(u32::try_from(ticks).context("more CPU time than can be counted")?))
    }

    /// Resident memory, in bytes, of the processes given by id, without their descendants: a database's
    /// processes share their memory and would count it once each.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.pids.iter().map(|pid| resident_bytes_of(*pid)).sum()
    }

    fn members(&self, all: &BTreeMap<u32, Stat>) -> anyhow::Result<BTreeMap<u32, Stat>> {
        for pid in &self.pids {
            if !all.contains_key(pid) {
                bail!("process {pid} is not there (any more)");
            }
        }
        let roots: BTreeSet<u32> = all
            .values()
            .filter(|stat| self.pids.contains(&stat.pid) || self.names.contains(&stat.name))
            .map(|stat| stat.pid)
            .collect();
        if roots.is_empty() {
            bail!("no process is named {}", self.names.join(" or "));
        }
        Ok(with_descendants(&roots, all))
    }
}

/// Resident memory, in bytes, of a process and its descendants; a shell that only started them is left out.
pub(crate) fn resident_bytes_of_tree(root: u32) -> anyhow::Result<u64> {
    let tree = with_descendants(&BTreeSet::from([root]), &read_all_stats()?);
    let counted = tree.keys().filter(|pid| **pid != root || tree.len() == 1);
    counted.map(|pid| resident_bytes_of(*pid)).sum()
}

/// What the scheduler gave to the threads of a process and its descendants, see
/// <https://docs.kernel.org/scheduler/sched-stats.html>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scheduled {
    /// Time on a core.
    pub(crate) ran: Duration,
    /// Time in which a thread could have run and had no core: what other programs on the machine cost it.
    pub(crate) waited: Duration,
}

/// The sum over all threads that are alive; nothing where the kernel does not tell.
pub(crate) fn scheduled_of_tree(root: u32) -> anyhow::Result<Scheduled> {
    let mut sum = Scheduled::default();
    for pid in with_descendants(&BTreeSet::from([root]), &read_all_stats()?).keys() {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} has ended"))?;
        for thread in threads.flatten() {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let Scheduled { ran, waited } = parse_schedstat(&text).unwrap_or_default();
            sum.ran += ran;
            sum.waited += waited;
        }
    }
    Ok(sum)
}

/// Nanoseconds on a core, nanoseconds in the queue for one, and how often.
fn parse_schedstat(text: &str) -> Option<Scheduled> {
    let mut fields = text.split_ascii_whitespace().map(|field| field.parse().ok().map(Duration::from_nanos));
    Some(Scheduled { ran: fields.next()??, waited: fields.next()?? })
}

fn with_descendants(roots: &BTreeSet<u32>, all: &BTreeMap<u32, Stat>) -> BTreeMap<u32, Stat> {
    let belongs = |stat: &Stat| {
        let mut pid = stat.pid;
        // A parent chain is short; the bound guards against ids reused while the scan went on.
        for _ in 0..64 {
            if roots.contains(&pid) {
                return true;
            }
            match all.get(&pid) {
                Some(found) => pid = found.parent,
                None => return false,
            }
        }
        false
    };
    let members = all.values().filter(|stat| belongs(stat));
    members.map(|stat| (stat.pid, stat.clone())).collect()
}

fn read_all_stats() -> anyhow::Result<BTreeMap<u32, Stat>> {
    let entries = fs::read_dir("/proc").context("CPU time is read from /proc, which is not there")?;
    let stats = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        let pid: u32 = name.to_str()?.parse().ok()?;
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, Stat::parse(&line)?))
    });
    Ok(stats.collect())
}

fn resident_bytes_of(pid: u32) -> anyhow::Result<u64> {
    // The roll-up is exact; the figure in `status` is gathered per thread and may lag.
    let exact = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    if let Some(bytes) = exact.ok().and_then(|text| kib_field(&text, "Rss:")) {
        return Ok(bytes);
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is not there (any more)"))?;
    kib_field(&status, "VmRSS:").with_context(|| format!("process {pid} has no memory of its own"))
}

/// The value, in bytes, of a line such as `VmRSS:     1234 kB`.
fn kib_field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: u32, parent: u32) -> (u32, Stat) {
        let name = format!("process-{pid}");
        (pid, Stat { pid, name, parent, cpu_ticks: 1 })
    }

    #[test]
    fn a_stat_line_is_parsed_also_with_parentheses_in_the_name() {
        let line = "17 (a (b) c) S 3 17 17 0 -1 4194560 1 2 3 4 100 20 30 4 20 0 1 0 55 1000 250 0";
        let parsed = Stat::parse(line).unwrap();
        assert_eq!(parsed, Stat { pid: 17, name: "a (b) c".into(), parent: 3, cpu_ticks: 154 });
    }

    #[test]
    fn a_truncated_stat_line_is_refused() {
        assert_eq!(Stat::parse("17 (name) S 3 17"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn memory_lines_are_read_in_bytes() {
        assert_eq!(kib_field("VmPeak:\t 9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(kib_field("VmPeak:\t 9 kB\n", "VmRSS:"), None);
    }

    #[test]
    fn the_time_on_a_core_and_the_time_without_one_are_told_apart() {
        let scheduled = Scheduled { ran: Duration::from_micros(9_500), waited: Duration::from_millis(242) };
        assert_eq!(parse_schedstat("9500000 242000000 37\n"), Some(scheduled));
        assert_eq!(parse_schedstat(""), None);
        assert!(scheduled_of_tree(std::process::id()).is_ok());
    }

    #[test]
    fn descendants_of_every_depth_belong_to_the_tree() {
        let all = BTreeMap::from([stat(1, 0), stat(2, 1), stat(3, 2), stat(4, 1), stat(5, 4)]);
        let tree = with_descendants(&BTreeSet::from([2, 5]), &all);
        assert_eq!(tree.keys().copied().collect::<Vec<_>>(), [2, 3, 5]);
    }

    #[test]
    fn the_cpu_time_of_a_child_that_has_exited_is_counted() {
        let own = Processes { pids: vec![std::process::id()], names: Vec::new() };
        let before = own.cpu_time().unwrap();
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        std::process::Command::new("sh").args(["-c", script]).status().unwrap();
        assert!(own.cpu_time().unwrap() > before);
        assert!(own.resident_bytes().unwrap() > 100_000);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_that_names_it() {
        let gone = Processes { pids: vec![u32::MAX], names: Vec::new() };
        assert!(gone.cpu_time().unwrap_err().to_string().contains("4294967295"));
    }
}
