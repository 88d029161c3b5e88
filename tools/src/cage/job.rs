//! One call as it is asked for, and how it ended.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::frame::{self, Frame};

/// The language of a tool's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// Python 3.8 or newer.
    Python,
    /// TypeScript whose types can be stripped: Node 22 or newer, or Bun.
    TypeScript,
}

/// A package that a tool needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Requirement {
    /// As in the package index, with extras if there are any: `requests`, `uvicorn[standard]`.
    pub name: String,
    /// Exactly this version; without it the newest.
    pub version: Option<String>,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}=={version}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// One call of one function.
#[derive(Clone)]
pub struct Job {
    /// The language of the source.
    pub language: Language,
    /// The source as the user gave it.
    pub source: String,
    /// The function to call.
    pub function: String,
    /// Its arguments by name.
    pub arguments: Map<String, Value>,
    /// What the tool finds in its environment: sandbox variables, then the agent's secrets. Nothing else is there but what every
    /// call has.
    pub env: BTreeMap<String, String>,
    /// Packages beside the standard library.
    pub requirements: Vec<Requirement>,
    /// Whether it may reach the network.
    pub network: bool,
    /// By the wall clock, from the moment the call has its place.
    pub timeout: Duration,
    /// Whose call it is; a function that names `agent_id` is given it.
    pub agent_id: Option<String>,
    /// The project, for the environment.
    pub project_id: Option<String>,
    /// What a function that names `agent_state` may look at.
    pub agent_state: Option<Value>,
}

impl Job {
    /// How long a call may take when nobody says otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(180);

    /// A call of `function` in Python source, with nothing granted.
    #[must_use]
    pub fn python(source: impl Into<String>, function: impl Into<String>) -> Self {
        Self {
            language: Language::Python,
            source: source.into(),
            function: function.into(),
            arguments: Map::new(),
            env: BTreeMap::new(),
            requirements: Vec::new(),
            network: false,
            timeout: Self::TIMEOUT,
            agent_id: None,
            project_id: None,
            agent_state: None,
        }
    }

    /// What the runner reads.
    pub(super) fn payload(&self, text_chars: usize) -> Vec<u8> {
        // Only a name and value that an environment can hold: the others would end the runner before the tool.
        let mut env: BTreeMap<&str, &str> = self
            .env
            .iter()
            .filter(|(name, value)| {
                !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
            })
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let always = [
            ("LETTA_AGENT_ID", self.agent_id.as_deref()),
            ("LETTA_PROJECT_ID", self.project_id.as_deref()),
            ("NO_COLOR", Some("1")),
            ("TERM", Some("dumb")),
            ("PYTHONUNBUFFERED", Some("1")),
        ];
        env.extend(always.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
        let asked = Asked {
            source: &self.source,
            function: &self.function,
            arguments: &self.arguments,
            env,
            agent_id: self.agent_id.as_deref(),
            agent_state: self.agent_state.as_ref(),
            text_chars,
        };
        serde_json::to_vec(&asked).unwrap_or_default()
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the arguments nor the environment: they may hold secrets.
        f.debug_struct("Job")
            .field("language", &self.language)
            .field("function", &self.function)
            .field("requirements", &self.requirements)
            .field("network", &self.network)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Asked<'a> {
    source: &'a str,
    function: &'a str,
    arguments: &'a Map<String, Value>,
    env: BTreeMap<&'a str, &'a str>,
    agent_id: Option<&'a str>,
    agent_state: Option<&'a Value>,
    text_chars: usize,
}

/// How a call ended, with what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What came of it.
    pub status: Status,
    /// What it printed, at most [`Limits::output_bytes`](super::Limits::output_bytes) of it.
    pub stdout: String,
    /// What it printed as errors, and the traceback of an exception.
    pub stderr: String,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The function returned.
    Returned {
        /// Its result as text, at most [`Limits::text_chars`](super::Limits::text_chars) of it.
        text: String,
        /// How many characters the result had.
        chars: usize,
    },
    /// The function, or loading the source, raised: the text is for the model.
    Raised(String),
    /// It took longer than the call allows.
    TimedOut(Duration),
    /// It used more memory than the call allows.
    OutOfMemory,
    /// It used more processor time than the call allows.
    OutOfCpu,
    /// It started more processes than the call allows.
    TooManyProcesses,
    /// It wrote more than the call allows.
    OutOfDisk,
    /// It printed without end.
    OutputFlood,
    /// It ended without an answer; the text says how.
    Died(String),
}

impl Status {
    /// Whether the function returned.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Returned { .. })
    }

    /// What the model is told of a call of `function`.
    #[must_use]
    pub fn text(&self, function: &str) -> String {
        let failed = |why: String| format!("Error executing function {function}: {why}");
        match self {
            Self::Returned { text, .. } | Self::Raised(text) => text.clone(),
            Self::TimedOut(after) => {
                failed(format!("TimeoutError: it was ended after {} s", after.as_secs_f64()))
            }
            Self::OutOfMemory => failed("MemoryError: it used more memory than a tool may".into()),
            Self::OutOfCpu => {
                failed("TimeoutError: it used more processor time than a tool may".into())
            }
            Self::TooManyProcesses => {
                failed("OSError: it started more processes than a tool may".into())
            }
            Self::OutOfDisk => failed("OSError: it wrote more files than a tool may".into()),
            Self::OutputFlood => failed("OSError: it printed more than a tool may".into()),
            Self::Died(how) => failed(format!("RuntimeError: {how}")),
        }
    }
}

/// What the runner says.
#[derive(Debug, Deserialize)]
struct Said {
    status: Kind,
    text: String,
    chars: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Returned,
    Raised,
}

impl Status {
    /// The status that a runner's answer tells. The answer comes from where the tool ran, so anything may be in it.
    pub(super) fn from_answer(payload: &[u8]) -> Self {
        match serde_json::from_slice::<Said>(payload) {
            Ok(Said { status: Kind::Returned, text, chars }) => Self::Returned { text, chars },
            Ok(Said { status: Kind::Raised, text, .. }) => Self::Raised(text),
            Err(_) => Self::Died("its result could not be read".into()),
        }
    }
}

/// Why there is no answer, as a keeper tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    Exited(i32),
    Signalled(i32),
    Memory,
    Processes,
    Disk,
    Garbled(String),
}

impl Ending {
    pub(super) fn frame(&self) -> Frame {
        Frame { tag: frame::ENDED, payload: serde_json::to_vec(self).unwrap_or_default() }
    }
}

impl From<Ending> for Status {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Memory => Self::OutOfMemory,
            Ending::Processes => Self::TooManyProcesses,
            Ending::Disk => Self::OutOfDisk,
            Ending::Signalled(libc::SIGXCPU) => Self::OutOfCpu,
            Ending::Signalled(libc::SIGXFSZ) => Self::OutOfDisk,
            Ending::Signalled(signal) => {
                Self::Died(format!("it was ended by signal {signal} before it returned"))
            }
            Ending::Exited(code) => {
                Self::Died(format!("it ended itself with code {code} before it returned"))
            }
            Ending::Garbled(text) => Self::Died(text),
        }
    }
}
