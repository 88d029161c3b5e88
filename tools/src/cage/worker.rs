//! One interpreter in its cage, started before there is a call and used for one only.
//!
//! Dropping it, at any time, ends the call: the keeper sees its channel close, ends every process of the call and then itself.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::child::{self, Plan};
use super::frame::{self, Decoder, Frame, Tag};
use super::job::{Ending, Outcome, Status};
use super::limits::Limits;

/// How long what is dead may take to be gone: a process in the middle of a write to a slow disk.
const GRACE: Duration = Duration::from_secs(10);
/// What a start that failed may say.
const START_WORDS: usize = 4 << 10;

/// A caged interpreter that waits for its job.
#[derive(Debug)]
pub(super) struct Worker {
    channel: UnixStream,
    answers: Decoder,
    stdout: pipe::Receiver,
    stderr: pipe::Receiver,
    keeper: Keeper,
    /// The group of the call's processes, for the case that the keeper is killed.
    group: Option<Pid>,
    limits: Limits,
}

/// The keeper's process, taken care of until it is gone.
#[derive(Debug)]
struct Keeper(Option<Child>);

impl Drop for Keeper {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                tracing::error!(pid = child.id(), "the processes of a tool do not end");
            }
        });
    }
}

/// Where calls have their folders, in layers that give them none in memory.
pub(super) fn scratch(data_dir: &Path) -> PathBuf {
    data_dir.join("tools").join("calls")
}

/// Removes what calls of a server that was killed have left.
pub(super) fn clear(data_dir: &Path) {
    let _ = std::fs::remove_dir_all(scratch(data_dir));
}

impl Worker {
    /// Starts an interpreter as `plan` has it and waits until it is ready.
    ///
    /// # Errors
    /// What it said, when it did not come up.
    pub(super) async fn start(plan: &Plan, patience: Duration) -> Result<Self, String> {
        let mut worker = Self::spawn(plan).map_err(|error| error.to_string())?;
        let ready = tokio::time::timeout(patience, worker.receive()).await;
        match ready {
            Ok(Ok(Some(frame))) if frame.tag == frame::READY => {
                let group = std::str::from_utf8(&frame.payload).ok();
                // 1 would mean everybody.
                let group = group.and_then(|group| group.parse().ok()).filter(|&group| group > 1);
                worker.group = group.and_then(Pid::from_raw);
                Ok(worker)
            }
            Ok(_) => Err(worker.last_words().await),
            Err(_) => Err(format!("it was not ready after {} s", patience.as_secs())),
        }
    }

    fn spawn(plan: &Plan) -> std::io::Result<Self> {
        let [program, words @ ..] = plan.helper.as_slice() else {
            return Err(std::io::Error::other("no helper is given"));
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (stdout, out) = std::io::pipe()?;
        let (stderr, err) = std::io::pipe()?;
        let plan_text = serde_json::to_string(plan).map_err(std::io::Error::other)?;
        let child = Command::new(program)
            .args(words)
            .arg(child::KEEPER)
            .arg(plan_text)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(out)))
            .stderr(Stdio::from(OwnedFd::from(err)))
            // A signal from the terminal is for the server, which ends its calls in its own order.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            channel: UnixStream::from_std(ours)?,
            answers: Decoder::new(plan.limits.answer_bytes()),
            stdout: pipe::Receiver::from_owned_fd(stdout.into())?,
            stderr: pipe::Receiver::from_owned_fd(stderr.into())?,
            keeper: Keeper(Some(child)),
            group: None,
            limits: plan.limits.clone(),
        })
    }

    /// Whether it is still there.
    pub(super) fn is_alive(&mut self) -> bool {
        self.keeper.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Why it did not come up, from what it printed.
    async fn last_words(mut self) -> String {
        let mut said = Captured::new(START_WORDS);
        let _ =
            tokio::time::timeout(GRACE, said.fill(&mut self.stderr, &Budget::new(1 << 20))).await;
        let said = said.text();
        match said.trim() {
            "" => "it ended without a word".into(),
            words => child::said(words).unwrap_or(words).to_owned(),
        }
    }

    /// Runs one job. Dropping the future ends the call and everything it started.
    pub(super) async fn run(mut self, tag: Tag, job: &[u8], timeout: Duration) -> Outcome {
        let mut stdout = Captured::new(self.limits.output_bytes);
        let mut stderr = Captured::new(self.limits.output_bytes);
        let budget = Budget::new(self.limits.flood_bytes);
        let status = {
            let printed = async {
                tokio::join!(
                    stdout.fill(&mut self.stdout, &budget),
                    stderr.fill(&mut self.stderr, &budget)
                );
            };
            tokio::pin!(printed);
            let mut silent = false;
            let status = tokio::select! {
                status = exchange(&mut self.channel, &mut self.answers, tag, job) => status,
                () = budget.spent() => Status::OutputFlood,
                () = tokio::time::sleep(timeout) => Status::TimedOut(timeout),
                // It ends only when the keeper has: the answer, if there is one, is there already.
                () = &mut printed => {
                    silent = true;
                    Status::Died(UNTOLD.into())
                }
            };
            if matches!(&status, Status::Died(text) if text == UNTOLD) && !silent {
                end(self.group);
            }
            // For a keeper that still has a call, this is the order to end it.
            let _ = self.channel.shutdown().await;
            if !silent {
                let _ = tokio::time::timeout(GRACE, printed).await;
            }
            status
        };
        let mut status = status;
        if matches!(&status, Status::Died(text) if text == UNTOLD)
            && let Ok(Some(frame)) = self.receive().await
        {
            status = told(&frame, tag);
        }
        Outcome { status, stdout: stdout.text(), stderr: stderr.text() }
    }

    async fn receive(&mut self) -> Result<Option<Frame>, String> {
        receive(&mut self.channel, &mut self.answers).await
    }
}

/// A keeper that ended without a word was killed, and could not end what it kept.
fn end(group: Option<Pid>) {
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

const UNTOLD: &str = "it ended before it returned";

async fn exchange(channel: &mut UnixStream, answers: &mut Decoder, tag: Tag, job: &[u8]) -> Status {
    // A keeper that is gone says why, or its silence does.
    let _ = channel.write_all(&frame::encode(tag, job)).await;
    match receive(channel, answers).await {
        Ok(Some(frame)) => told(&frame, tag),
        Ok(None) => Status::Died(UNTOLD.into()),
        Err(error) => Status::Died(error),
    }
}

/// What a frame means to who waits for the answer with this tag.
pub(super) fn told(frame: &Frame, tag: Tag) -> Status {
    if frame.tag == tag {
        return Status::from_answer(&frame.payload);
    }
    match serde_json::from_slice::<Ending>(&frame.payload) {
        Ok(ending) if frame.tag == frame::ENDED => ending.into(),
        Ok(_) | Err(_) => Status::Died(UNTOLD.into()),
    }
}

async fn receive(channel: &mut UnixStream, answers: &mut Decoder) -> Result<Option<Frame>, String> {
    let mut bytes = vec![0; 1 << 16];
    loop {
        if let Some(frame) = answers.next_frame().map_err(|error| error.to_string())? {
            return Ok(Some(frame));
        }
        let count = channel.read(&mut bytes).await.map_err(|error| error.to_string())?;
        if count == 0 {
            return answers.finish().map(|()| None).map_err(|error| error.to_string());
        }
        answers.push(&bytes[..count]);
    }
}

/// What both streams together may print.
struct Budget {
    left: AtomicU64,
    spent: tokio::sync::Notify,
}

impl Budget {
    fn new(bytes: u64) -> Self {
        Self { left: AtomicU64::new(bytes), spent: tokio::sync::Notify::new() }
    }

    fn take(&self, bytes: u64) {
        // One task polls both streams, so nobody else counts in between.
        let left = self.left.load(Ordering::Relaxed);
        if left < bytes {
            self.spent.notify_one();
        }
        self.left.store(left.saturating_sub(bytes), Ordering::Relaxed);
    }

    async fn spent(&self) {
        self.spent.notified().await;
    }
}

/// The beginning of a stream, and how much was thrown away after it.
struct Captured {
    kept: Vec<u8>,
    limit: usize,
    more: u64,
}

impl Captured {
    fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), limit, more: 0 }
    }

    async fn fill(&mut self, from: &mut (impl AsyncRead + Unpin), budget: &Budget) {
        let mut bytes = vec![0; 1 << 14];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let keep = count.min(self.limit - self.kept.len());
            self.kept.extend_from_slice(&bytes[..keep]);
            self.more += (count - keep) as u64;
            budget.take(count as u64);
        }
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.kept).into_owned();
        if self.more > 0 {
            text.push_str(&format!("\n[{} more bytes were not kept]", self.more));
        }
        text
    }
}
