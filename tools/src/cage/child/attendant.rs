//! The process between the server and a program of the operator's that serves tools: ends it, with everything it started.
//!
//! The program is no prisoner: it has the rights of the server's user, and its pipes are its own. The attendant only watches. When
//! the program's input is closed, because it is not needed any more or because the server is gone, it has a while to end by itself
//! and is asked to; then it is ended. When it has ended, so does whatever it left behind.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::{Deserialize, Serialize};

use super::kin;

/// What an attendant has to do. It is an argument, so it holds no secrets but those the program itself gets as arguments.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Attendance {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// How long it may take to end by itself, and again once it was asked to.
    pub(crate) grace_ms: u64,
}

impl Attendance {
    /// What follows the helper's own arguments.
    ///
    /// # Errors
    /// None that can happen: text becomes JSON.
    pub(crate) fn arguments(&self) -> io::Result<[String; 2]> {
        let plan = serde_json::to_string(self).map_err(io::Error::other)?;
        Ok([super::ATTENDANT.to_owned(), plan])
    }
}

/// Attends a program from its start to the end of the last process that it started. Gives the code to end with.
///
/// # Errors
/// Whatever kept it from being started.
pub(super) fn attend(plan: &Attendance) -> io::Result<u8> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let [program, arguments @ ..] = plan.command.as_slice() else {
        return Err(io::Error::other("no program is named"));
    };
    let started = Command::new(program).args(arguments).process_group(0).spawn();
    let mut child = started.map_err(|error| {
        io::Error::new(error.kind(), format!("`{program}` cannot be started: {error}"))
    })?;
    let group = Pid::from_child(&child);
    let done = watch(&mut child, group, Duration::from_millis(plan.grace_ms));
    let status = child.try_wait();
    kin::end_all(Some(group));
    done?;
    Ok(match status? {
        // As shells tell a signal.
        Some(status) => status.code().or_else(|| status.signal().map(|signal| 128 + signal)),
        None => None,
    }
    .and_then(|code| u8::try_from(code).ok())
    .unwrap_or(137))
}

/// Waits until the program has ended, or has had its time to.
fn watch(child: &mut Child, group: Pid, grace: Duration) -> io::Result<()> {
    let life = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    // The output is the program's alone: who reads it sees its end when the program closes it.
    let nothing = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nothing)?;
    if !sleep(&life, Some(&rustix::stdio::stdin()), None)? {
        return Ok(());
    }
    for signal in [None, Some(Signal::TERM)] {
        if let Some(signal) = signal {
            // It may have ended just now.
            let _ = kill_process_group(group, signal);
        }
        if !sleep(&life, None::<&std::fs::File>, Some(grace))? {
            return Ok(());
        }
    }
    Ok(())
}

/// Sleeps until the program has ended (`false`), or until its input is closed or the time is over (`true`).
fn sleep(life: &impl AsFd, input: Option<&impl AsFd>, time: Option<Duration>) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        let mut fds = vec![PollFd::new(life, PollFlags::IN)];
        // What comes through it is not for the attendant; that nobody is left to write is always told.
        fds.extend(input.map(|input| PollFd::new(input, PollFlags::empty())));
        let left = time.map(|time| time.saturating_sub(begun.elapsed()));
        let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        match poll(&mut fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        if !fds[0].revents().is_empty() {
            return Ok(false);
        }
        if fds.get(1).is_some_and(|input| !input.revents().is_empty()) {
            return Ok(true);
        }
        if time.is_some_and(|time| begun.elapsed() >= time) {
            return Ok(true);
        }
    }
}
