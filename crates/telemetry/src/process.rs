//! What Linux says about this process under `/proc/self`.

use std::fs;

/// Linux reports times to programs in units of 1/100 s on every architecture (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A reading of this process's use of the machine.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ProcessReading {
    pub(crate) resident_memory_bytes: f64,
    pub(crate) virtual_memory_bytes: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) threads: f64,
    pub(crate) open_fds: f64,
    /// Seconds since 1970.
    pub(crate) start_time_seconds: f64,
}

impl ProcessReading {
    /// Reads it now; `None` where there is no such `/proc`.
    pub(crate) fn now() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let machine = fs::read_to_string("/proc/stat").ok()?;
        // The directory handle that counts is itself one of the entries.
        let open_fds = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
        Self::parse(&status, &stat, &machine, u32::try_from(open_fds).ok()?)
    }

    fn parse(status: &str, stat: &str, machine: &str, open_fds: u32) -> Option<Self> {
        // The command name in parentheses may hold spaces and parentheses itself.
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // Counted as in proc(5), where the state after the name is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let boot_time: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        Some(Self {
            resident_memory_bytes: kib(status, "VmRSS:")? * 1024.0,
            virtual_memory_bytes: kib(status, "VmSize:")? * 1024.0,
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            threads: field(20)?,
            open_fds: open_fds.into(),
            start_time_seconds: boot_time + field(22)? / TICKS_PER_SECOND,
        })
    }
}

fn kib(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::ProcessReading;

    #[test]
    fn a_reading_is_parsed_whatever_the_command_is_called() {
        let status = "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 1000 1 1";
        let reading = ProcessReading::parse(status, stat, "cpu 1\nbtime 1700000000\n", 9).unwrap();
        let expected = ProcessReading {
            resident_memory_bytes: 1024.0 * 1024.0,
            virtual_memory_bytes: 2048.0 * 1024.0,
            cpu_seconds: 2.0,
            threads: 3.0,
            open_fds: 9.0,
            start_time_seconds: 1_700_000_010.0,
        };
        assert_eq!(reading, expected);
    }

    #[test]
    fn this_process_can_be_read() {
        let reading = ProcessReading::now().unwrap();
        assert!(reading.resident_memory_bytes > 0.0 && reading.threads >= 1.0 && reading.open_fds >= 3.0);
    }
}
