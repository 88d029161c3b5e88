//! The processes that a keeper answers for: how many, how large, and their end.

use std::io;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, wait};

/// What all processes below the keeper use together.
#[derive(Debug, Default)]
pub(super) struct Use {
    pub(super) processes: u64,
    pub(super) memory_bytes: u64,
    /// The youngest branch's end: a process inside the cage.
    pub(super) innermost: Option<i32>,
}

/// Adds up everything that descends from this process, as far as it takes to see that there are more than `most` processes. What
/// ends while it is looked at is left out.
pub(super) fn usage(most: u64) -> Use {
    let mut sum = Use::default();
    let mut waiting = children("self");
    while let Some(pid) = waiting.pop() {
        if sum.processes + waiting.len() as u64 > most {
            sum.processes += waiting.len() as u64;
            break;
        }
        sum.processes += threads(pid);
        sum.memory_bytes += memory(pid);
        sum.innermost = Some(pid);
        waiting.extend(children(&pid.to_string()));
    }
    sum
}

/// Whoever runs out of memory, it is the tool that goes, not the server: everything below this process is the kernel's first choice.
pub(super) fn offer_to_the_kernel() {
    let mut waiting = children("self");
    while let Some(pid) = waiting.pop() {
        // Raising it is always allowed; a kernel that does not lets the others be chosen by their size.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "1000");
        waiting.extend(children(&pid.to_string()));
    }
}

fn children(of: &str) -> Vec<i32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{of}/task")) else { return Vec::new() };
    tasks
        .filter_map(Result::ok)
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

fn threads(pid: i32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, |tasks| tasks.count() as u64)
}

/// What is in memory for this process alone, and what it shares by name.
fn memory(pid: i32) -> u64 {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return 0 };
    status
        .lines()
        .filter_map(|line| line.strip_prefix("RssAnon:").or_else(|| line.strip_prefix("RssShmem:")))
        .filter_map(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .sum()
}

/// Ends every process below this one and waits until the last is gone.
///
/// Those that left their group come to this process when their parents end, because it is the reaper of all that descends from
/// it; so going on until there is no child left ends them, too.
pub(super) fn end_all(group: Option<Pid>) {
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    loop {
        for child in children("self").into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(child, Signal::KILL);
        }
        // One is waited for, and all that have ended in the meantime are taken with it: the list is long when a tool forked
        // without end.
        let mut options = WaitOptions::empty();
        loop {
            match wait(options) {
                Ok(Some(_)) => options = WaitOptions::NOHANG,
                Ok(None) | Err(rustix::io::Errno::INTR) => break,
                Err(_) => return,
            }
        }
    }
}

/// The bytes and the entries below a folder, counted no further than the bounds.
pub(super) fn disk(folder: PathBuf, bytes: u64, files: u64) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let (mut size, mut count) = (0, 0);
    let mut waiting = vec![folder];
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            let Ok(data) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))) else {
                continue;
            };
            count += 1;
            size += data.1.blocks() * 512;
            if data.1.is_dir() {
                waiting.push(data.0);
            }
            if count > files || size > bytes {
                return Ok((size, count));
            }
        }
    }
    Ok((size, count))
}

/// The entries of the file systems in memory that a process inside sees as its own.
pub(super) fn entries_in_memory(pid: i32, folders: &[&str]) -> u64 {
    folders
        .iter()
        .filter_map(|folder| rustix::fs::statvfs(format!("/proc/{pid}/root{folder}")).ok())
        .map(|data| data.f_files.saturating_sub(data.f_ffree))
        .sum()
}
