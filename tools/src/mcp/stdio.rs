//! Servers that are programs, spoken to through their standard input and output, a message a line.
//!
//! A program runs under an attendant, this same executable started anew, which ends it with everything that it started when its
//! input is closed, also when this process is killed. Its environment is made here: what this process has in its own may be secret.
//! Each line that it prints is read within a bound, and so is what it complains of, of which the end is kept for whoever asks why it
//! has ended.

mod input;
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rmcp::service::{RoleClient, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;
use tokio::sync::Mutex;

use self::input::{Input, NotWritten};
use self::process::Process;
use super::error::McpError;
use super::failure::SendFailure;
use super::quiet::Reason;
use super::wire;
use crate::cage::Helper;

/// What of the server's environment programs get.
const KEPT: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];
/// How many bytes a program may print between two messages: it takes its output for a log.
const NOISE: usize = 4 << 20;

/// Picks from an environment what programs get of it: `PATH`, `HOME`, `LANG` and `TMPDIR`.
pub fn kept_environment(
    all: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    all.into_iter().filter(|(name, _)| KEPT.contains(&name.as_str())).collect()
}

/// What is started, and within which bounds.
#[derive(Debug)]
pub(super) struct Program<'a> {
    pub(super) helper: &'a Helper,
    pub(super) command: &'a str,
    pub(super) args: &'a [String],
    pub(super) kept: &'a BTreeMap<String, String>,
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) message_bytes: usize,
    /// For ending by itself once its input is closed.
    pub(super) grace: Duration,
    /// For taking one message.
    pub(super) patience: Duration,
}

/// A program that is spoken to.
#[derive(Debug)]
pub(super) struct Piped {
    input: Input,
    output: Output,
    noise: usize,
    process: Arc<Mutex<Process>>,
    reason: Reason,
}

/// What it prints, by lines.
#[derive(Debug)]
struct Output {
    pipe: BufReader<ChildStdout>,
    line: Vec<u8>,
    limit: usize,
}

/// Why there is no further line.
enum NoLine {
    Ended,
    TooLong,
}

impl Piped {
    /// Starts a program. Whether it is a server is found out by the handshake.
    pub(super) fn start(program: &Program<'_>, reason: Reason) -> Result<Self, McpError> {
        let started = process::start(program);
        let (process, input, output) =
            started.map_err(|error| McpError::Start { why: error.to_string() })?;
        let pipe = BufReader::new(output);
        Ok(Self {
            input: Input::new(input, program.patience),
            output: Output { pipe, line: Vec::new(), limit: program.message_bytes },
            noise: 0,
            process: Arc::new(Mutex::new(process)),
            reason,
        })
    }

    /// Closes what is left and says why, unless that was said before.
    async fn end(&mut self) {
        self.input.close();
        let ending = self.process.lock().await.ending().await;
        self.reason.tell(ending);
    }
}

impl Output {
    /// The next line, within its bound. May be dropped and called again.
    async fn line(&mut self) -> Result<Vec<u8>, NoLine> {
        loop {
            let bytes = match self.pipe.fill_buf().await {
                Ok([]) | Err(_) => return Err(NoLine::Ended),
                Ok(bytes) => bytes,
            };
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(bytes.len(), |end| end + 1);
            if self.line.len() + taken > self.limit {
                return Err(NoLine::TooLong);
            }
            self.line.extend_from_slice(&bytes[..taken]);
            self.pipe.consume(taken);
            if end.is_some() {
                return Ok(std::mem::take(&mut self.line));
            }
        }
    }
}

impl Transport<RoleClient> for Piped {
    type Error = SendFailure;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), SendFailure>> + Send + 'static {
        let (sent, process) = (self.input.send(item), Arc::clone(&self.process));
        async move {
            let unsent = |why: String| SendFailure::unsent(McpError::Closed { why });
            match sent.await {
                Ok(()) => Ok(()),
                Err(NotWritten::Full) => {
                    Err(unsent("too many messages already wait for it to read them".into()))
                }
                Err(NotWritten::Closed) => Err(unsent("its program is being ended".into())),
                Err(NotWritten::Ended) => Err(unsent(process.lock().await.ending().await)),
                Err(NotWritten::InPart) => {
                    Err(SendFailure::unknown("its program did not read all of the message", true))
                }
            }
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let line = tokio::select! {
                line = self.output.line() => line,
                () = self.input.broken() => {
                    self.reason.tell("its program does not read what is sent to it");
                    return None;
                }
            };
            let line = match line {
                Ok(line) => line,
                Err(NoLine::Ended) => {
                    self.end().await;
                    return None;
                }
                Err(NoLine::TooLong) => {
                    let limit = self.output.limit;
                    self.reason.tell(format!("it sent a message of more than {limit} bytes"));
                    return None;
                }
            };
            if let Some(message) = wire::message(&line) {
                self.noise = 0;
                return Some(message);
            }
            self.noise += line.len();
            if self.noise > NOISE {
                self.reason.tell("it prints other things than messages to its standard output");
                return None;
            }
        }
    }

    async fn close(&mut self) -> Result<(), SendFailure> {
        self.input.close();
        self.process.lock().await.gone().await;
        Ok(())
    }
}
