//! The process of a program, from its start until the last thing that it started is gone.

use std::collections::VecDeque;
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::Program;
use crate::cage::{Attendance, said};

/// How much of what a program complains of is kept.
const LAST_WORDS: usize = 4 << 10;
/// How long what is dead may take to be gone, beside its own grace.
const GRACE: Duration = Duration::from_secs(10);

/// A program and its attendant.
#[derive(Debug)]
pub(super) struct Process {
    attendant: Option<Child>,
    words: LastWords,
    patience: Duration,
}

/// Starts a program. Gives also the two pipes through which it is spoken to.
pub(super) fn start(program: &Program<'_>) -> io::Result<(Process, ChildStdin, ChildStdout)> {
    let attendance = Attendance {
        command: std::iter::once(program.command)
            .chain(program.args.iter().map(String::as_str))
            .map(str::to_owned)
            .collect(),
        grace_ms: u64::try_from(program.grace.as_millis()).unwrap_or(u64::MAX),
    };
    let mut command = Command::new(&program.helper.program);
    command
        .args(&program.helper.arguments)
        .args(attendance.arguments()?)
        .env_clear()
        .envs(program.kept)
        .envs(program.env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A signal from the terminal is for the server, which ends its programs in its own order.
        .process_group(0);
    let mut attendant = command.spawn()?;
    let gone = || io::Error::other("it was started without pipes");
    let input = attendant.stdin.take().ok_or_else(gone)?;
    let output = attendant.stdout.take().ok_or_else(gone)?;
    let errors = attendant.stderr.take().ok_or_else(gone)?;
    let process = Process {
        attendant: Some(attendant),
        words: LastWords::of(errors),
        patience: program.grace + GRACE,
    };
    Ok((process, input, output))
}

impl Process {
    /// How it ended, for whoever asks: called once its output has ended.
    pub(super) async fn ending(&mut self) -> String {
        let status = match self.attendant.as_mut() {
            Some(attendant) => tokio::time::timeout(self.patience, attendant.wait()).await,
            None => return "its program has ended".into(),
        };
        self.words.heard().await;
        let words = self.words.text();
        let words = words.trim();
        match status {
            Ok(Ok(status)) if words.is_empty() => format!("its program ended ({status})"),
            Ok(Ok(_)) if said(words).is_some() => said(words).unwrap_or_default().to_owned(),
            Ok(Ok(status)) => format!("its program ended ({status}); its last words: {words}"),
            Ok(Err(_)) | Err(_) => "its program closed its output".into(),
        }
    }

    /// Waits until nothing of it is left. Its input must be closed.
    pub(super) async fn gone(&mut self) {
        if let Some(attendant) = self.attendant.take() {
            wait(attendant, self.patience).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(attendant) = self.attendant.take() else { return };
        // Without a runtime the server itself is ending, and the attendant sees that.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(wait(attendant, self.patience));
    }
}

async fn wait(mut attendant: Child, patience: Duration) {
    if tokio::time::timeout(patience, attendant.wait()).await.is_err() {
        tracing::error!(pid = attendant.id(), "the processes of an MCP server do not end");
    }
}

/// The end of what a program complains of.
#[derive(Debug)]
struct LastWords {
    text: Arc<Mutex<VecDeque<u8>>>,
    reader: JoinHandle<()>,
}

impl LastWords {
    fn of(errors: ChildStderr) -> Self {
        let text = Arc::default();
        let reader = tokio::spawn(read(errors, Arc::clone(&text)));
        Self { text, reader }
    }

    /// Waits a little for the rest: what is read here comes by another pipe than the end of the output.
    async fn heard(&mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.reader).await;
    }

    fn text(&self) -> String {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(text.make_contiguous()).into_owned()
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut errors: ChildStderr, text: Arc<Mutex<VecDeque<u8>>>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = errors.read(&mut bytes).await {
        let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend(&bytes[..count]);
        let over = text.len().saturating_sub(LAST_WORDS);
        text.drain(..over);
    }
}
