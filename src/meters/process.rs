//! What the operating system says of this process. What it does not say is left out.

use std::fs;

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// The process at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Process {
    /// Seconds of processor time.
    pub(super) cpu_seconds: f64,
    /// Bytes in memory.
    pub(super) resident_bytes: Option<u64>,
    /// Files and sockets that are open.
    pub(super) open_fds: Option<u64>,
    /// Files and sockets that may be open.
    pub(super) max_fds: Option<u64>,
}

impl Process {
    /// This process, now.
    pub(super) fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            resident_bytes: resident_bytes(),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as u64),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_says_all_of_it() {
        let now = Process::now();
        assert!(now.cpu_seconds > 0.0);
        assert!(now.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{now:?}");
        assert!(now.open_fds.is_some_and(|open| open > 2), "{now:?}");
    }
}
