//! The machine: what it is, how busy it is, how fast its disk syncs, and what a process uses of it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use crate::figures::Samples;

/// Appends of the fsync measurement: each is what a small commit comes to.
const APPENDS: usize = 200;
const APPEND_BYTES: usize = 4096;

/// The head of a report.
pub(crate) fn describe(dir: &Path) -> io::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let cpu = cpu.trim_start_matches(['\t', ' ', ':']);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let date = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %Z").to_string();
    let fsync = fsync_line(dir)?;
    Ok(format!("{date}; {cores} cores, {cpu}, Linux {}\n{fsync}", kernel.trim()))
}

/// How long a bare file takes for an append and its `fdatasync`, on the disk that the store is on.
pub(crate) fn fsync_line(dir: &Path) -> io::Result<String> {
    let path = dir.join("fsync");
    let mut file = File::create(&path)?;
    let mut samples = Samples::default();
    for _ in 0..APPENDS {
        let begun = Instant::now();
        file.write_all(&[7; APPEND_BYTES])?;
        file.sync_data()?;
        samples.add(begun.elapsed());
    }
    fs::remove_file(path)?;
    Ok(format!("bare append of 4 KiB and fdatasync: {} [load {}]", samples.spread(), load()))
}

/// The load of the last minute.
pub(crate) fn load() -> String {
    let all = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split(' ').next().unwrap_or("?").to_owned()
}

/// CPU time, by who used it. The upstream is part of the driver.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    pub(crate) server: Duration,
    pub(crate) driver: Duration,
}

impl Cpu {
    pub(crate) fn since(self, before: Self) -> Self {
        Self { server: self.server - before.server, driver: self.driver - before.driver }
    }

    /// In words, for one of `count` things done.
    pub(crate) fn note(self, count: usize, what: &str) -> String {
        let each = |time: Duration| time.as_secs_f64() * 1e3 / count.max(1) as f64;
        let (server, driver) = (each(self.server), each(self.driver));
        format!("CPU a {what}: server {server:.2} ms, driver {driver:.2} ms")
    }
}

/// CPU time that a process has used. Linux counts it in hundredths of a second.
pub(crate) fn cpu(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, which may hold spaces, ends with the last parenthesis; user and system time are fields 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// Resident memory of a process.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0).ok_or_else(|| io::Error::other("no VmRSS"))
}

/// Bytes of all files below a directory.
pub(crate) fn bytes_below(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { bytes_below(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}
