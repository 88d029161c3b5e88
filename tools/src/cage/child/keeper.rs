//! The process between the server and a call: starts the cage, hands the job in and the answer out, and ends everything.
//!
//! It stays outside the cage and does no work of the tool's. When the server goes, its end of the channel closes and the keeper
//! ends the call; when the keeper has gone, nothing of the call is left: it is the reaper of all its descendants and waits for
//! the last of them. An answer leaves it only when that has happened, so what a tool does after its return is never seen.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::bubblewrap;
use super::inner;
use super::kin;
use super::plan::{Inner, Paths, Plan, Walls};
use crate::cage::frame::{self, Decoder, Frame, Tag};
use crate::cage::job::Ending;

/// How often a running call is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Keeps one call, from the start of its interpreter to the end of its last process.
///
/// # Errors
/// Whatever kept it from being started.
pub(super) fn keep(plan: &Plan) -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // A keeper has to be faster than what it keeps. An administrator may ask for that, and only an administrator's tools have no
    // bound of the kernel's on their processes.
    let _ = rustix::process::setpriority_process(None, -10);
    let server = UnixStream::from(rustix::stdio::stdin().try_clone_to_owned()?);
    let scratch = Scratch::make(plan)?;
    let (inside, for_the_tool) = UnixStream::pair()?;
    let child = start(plan, &scratch, for_the_tool)?;
    let group = Pid::from_child(&child);
    let call = Call { plan, server, inside, child, scratch: &scratch };
    let ending = call.attend();
    kin::end_all(Some(group));
    drop(scratch);
    match ending {
        Ok(Some((mut server, frame))) => {
            server.write_all(&frame::encode(frame.tag, &frame.payload))
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The folder of a call on the disk, where its walls give it none in memory. Gone when dropped.
struct Scratch(Option<PathBuf>);

impl Scratch {
    fn make(plan: &Plan) -> io::Result<Self> {
        if matches!(plan.walls, Walls::Namespaces { .. }) {
            return Ok(Self(None));
        }
        let folder = plan.scratch.join(std::process::id().to_string());
        // One of a process that had this number before and was killed.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("work"))?;
        let scratch = Self(Some(folder.clone()));
        std::fs::create_dir(folder.join("tmp"))?;
        Ok(scratch)
    }

    fn home(&self) -> PathBuf {
        self.0.as_ref().map_or_else(|| PathBuf::from(bubblewrap::HOME), |path| path.join("work"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            remove(folder);
        }
    }
}

/// Removes a folder whose modes its tool may have changed.
fn remove(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if std::fs::remove_dir_all(folder).is_ok() {
        return;
    }
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        let _ = std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700));
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        waiting.extend(
            entries
                .filter_map(Result::ok)
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    let _ = std::fs::remove_dir_all(folder);
}

fn start(plan: &Plan, scratch: &Scratch, channel: UnixStream) -> io::Result<Child> {
    let [helper, words @ ..] = plan.helper.as_slice() else {
        return Err(io::Error::other("the plan names no helper"));
    };
    let mut lock = Inner {
        limits: plan.limits.clone(),
        network: plan.network,
        user: None,
        landlock: None,
        open: plan.walls == Walls::Open,
        home: scratch.home(),
        command: plan.command.clone(),
    };
    let mut command = match &plan.walls {
        Walls::Namespaces { bwrap, user } => {
            lock.user = *user;
            let mut command = Command::new(bwrap);
            command.args(bubblewrap::arguments(plan, *user, helper));
            command
        }
        Walls::Landlock { scoped } => {
            lock.landlock = Some(paths(plan, scratch, *scoped)?);
            Command::new(helper)
        }
        Walls::Open => Command::new(helper),
    };
    lock.limits.memory_bytes = lock.limits.memory_bytes.max(plan.reserve_bytes);
    let lock = serde_json::to_string(&lock).map_err(io::Error::other)?;
    command.args(words).arg(super::INNER).arg(lock).env_clear();
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(channel))).process_group(0);
    command.spawn().map_err(|error| {
        let program = command.get_program().display();
        io::Error::new(error.kind(), format!("{program} cannot be started: {error}"))
    })
}

fn paths(plan: &Plan, scratch: &Scratch, scoped: bool) -> io::Result<Paths> {
    if let Some(around) = plan.readable.iter().find(|path| plan.hidden.starts_with(path)) {
        return Err(io::Error::other(format!(
            "the interpreter lies in {}, and so does the data directory: in this layer one cannot be read without the other",
            around.display()
        )));
    }
    let mut readable = inner::system(plan.network);
    readable.extend(plan.readable.iter().cloned());
    readable.extend(["/proc/cpuinfo", "/proc/meminfo"].map(PathBuf::from));
    Ok(Paths { readable, writable: scratch.0.iter().cloned().collect(), scoped })
}

struct Call<'a> {
    plan: &'a Plan,
    server: UnixStream,
    inside: UnixStream,
    child: Child,
    scratch: &'a Scratch,
}

/// What woke the keeper.
struct Woken {
    server: PollFlags,
    inside: PollFlags,
    ended: bool,
}

impl Call<'_> {
    /// Sees the call to its end. Gives what the server has to be told and the way to it; nothing when the server is gone.
    fn attend(mut self) -> io::Result<Option<(UnixStream, Frame)>> {
        let life = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let mut answers = Decoder::new(self.plan.limits.answer_bytes());
        let mut jobs = Decoder::new(self.plan.limits.job_bytes);
        let mut job: Option<Tag> = None;
        let mut looked = Instant::now();
        loop {
            let woken = self.sleep(&life, job.is_some())?;
            if !(woken.server & (PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)).is_empty() {
                return Ok(None);
            }
            if !woken.inside.is_empty() || woken.ended {
                match self.hear(&mut answers, job) {
                    Heard::Nothing => {}
                    Heard::Ready => {
                        kin::offer_to_the_kernel();
                        let group = self.child.id().to_string();
                        self.server.write_all(&frame::encode(frame::READY, group.as_bytes()))?;
                    }
                    Heard::Answer(answer) => return Ok(Some((self.server, answer))),
                    // A child of the interpreter may hold the channel open; it has nothing to say.
                    Heard::Closed | Heard::Silence | Heard::Wrong(_) if woken.ended => {
                        let ending = self.how_it_ended();
                        return Ok(Some((self.server, ending.frame())));
                    }
                    Heard::Silence => {}
                    // Its last process may be about to end, which says more.
                    Heard::Closed => self.wait_a_little(&life)?,
                    Heard::Wrong(text) => {
                        return Ok(Some((self.server, Ending::Garbled(text).frame())));
                    }
                }
            }
            if woken.server.contains(PollFlags::IN)
                && let Some(frame) = self.read_job(&mut jobs)?
            {
                job = Some(frame.tag);
                looked = Instant::now();
                let sent = self.inside.write_all(&frame::encode(frame.tag, &frame.payload));
                drop(sent); // Whoever does not read it has ended, which is seen next.
            }
            if job.is_some() && looked.elapsed() >= LOOK {
                looked = Instant::now();
                if let Some(ending) = self.look() {
                    return Ok(Some((self.server, ending.frame())));
                }
            }
        }
    }

    fn sleep(&self, life: &impl AsFd, busy: bool) -> io::Result<Woken> {
        let of_server = if busy { PollFlags::RDHUP } else { PollFlags::RDHUP | PollFlags::IN };
        let mut fds = [
            PollFd::new(&self.server, of_server),
            PollFd::new(&self.inside, PollFlags::IN),
            PollFd::new(life, PollFlags::IN),
        ];
        let look = Timespec::try_from(LOOK).map_err(io::Error::other)?;
        match poll(&mut fds, busy.then_some(&look)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [server, inside, ended] = fds.map(|fd| fd.revents());
        Ok(Woken { server, inside, ended: !ended.is_empty() })
    }

    fn hear(&mut self, answers: &mut Decoder, job: Option<Tag>) -> Heard {
        let mut bytes = [0; 1 << 16];
        if let Err(error) = self.inside.set_nonblocking(true) {
            return Heard::Wrong(error.to_string());
        }
        let read = self.inside.read(&mut bytes);
        let _ = self.inside.set_nonblocking(false);
        match read {
            Ok(0) => return Heard::Closed,
            Ok(count) => answers.push(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Silence,
            Err(_) => return Heard::Closed,
        }
        match (answers.next_frame(), job) {
            (Ok(None), _) => Heard::Nothing,
            (Ok(Some(frame)), Some(tag)) if frame.tag == tag => Heard::Answer(frame),
            (Ok(Some(frame)), None) if frame.tag == frame::READY => Heard::Ready,
            (Ok(Some(_)), _) => Heard::Wrong("a result came that no job asked for".into()),
            (Err(error), _) => Heard::Wrong(error.to_string()),
        }
    }

    fn read_job(&mut self, jobs: &mut Decoder) -> io::Result<Option<Frame>> {
        let mut bytes = [0; 1 << 16];
        let count = self.server.read(&mut bytes)?;
        jobs.push(&bytes[..count]);
        jobs.next_frame().map_err(io::Error::other)
    }

    /// The channel is closed while the interpreter lives: it ends now, or it closed what it must not.
    fn wait_a_little(&self, life: &impl AsFd) -> io::Result<()> {
        let second = Timespec::try_from(Duration::from_secs(1)).map_err(io::Error::other)?;
        let mut fds =
            [PollFd::new(life, PollFlags::IN), PollFd::new(&self.server, PollFlags::RDHUP)];
        if poll(&mut fds, Some(&second))? == 0 {
            let _ = rustix::process::kill_process_group(
                Pid::from_child(&self.child),
                rustix::process::Signal::KILL,
            );
        }
        Ok(())
    }

    fn how_it_ended(&mut self) -> Ending {
        match self.child.wait() {
            Ok(status) => match (status.code(), status.signal()) {
                // Bubblewrap tells a signal as shells do.
                (Some(code), _) if code > 128 => Ending::Signalled(code - 128),
                (Some(code), _) => Ending::Exited(code),
                (None, signal) => Ending::Signalled(signal.unwrap_or(0)),
            },
            Err(error) => Ending::Garbled(error.to_string()),
        }
    }

    fn look(&self) -> Option<Ending> {
        let limits = &self.plan.limits;
        // Bubblewrap's own two processes are not the tool's.
        let most = limits.processes + 4;
        let used = kin::usage(most);
        if used.processes > most {
            return Some(Ending::Processes);
        }
        if used.memory_bytes > limits.memory_bytes {
            return Some(Ending::Memory);
        }
        let full = match &self.scratch.0 {
            Some(folder) => {
                let (bytes, files) =
                    kin::disk(folder.clone(), limits.disk_bytes, limits.files).unwrap_or_default();
                bytes > limits.disk_bytes || files > limits.files
            }
            None => used.innermost.is_some_and(|pid| {
                let folders = [bubblewrap::HOME, "/cage/tmp", "/tmp", "/dev/shm"];
                kin::entries_in_memory(pid, &folders) > limits.files
            }),
        };
        full.then_some(Ending::Disk)
    }
}

/// What came from inside.
enum Heard {
    /// A part of a frame.
    Nothing,
    /// There is nothing to read.
    Silence,
    Ready,
    Answer(Frame),
    Closed,
    Wrong(String),
}
