//! A client to test, the servers it is tested with, and what they have noted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use retold_tools::cage::Helper;
use retold_tools::egress::{Egress, Policy};
use retold_tools::mcp::{
    McpClient, McpError, McpOptions, Returned, Server, ToolCall, Transport, kept_environment,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A value that no error may show.
pub(crate) const SECRET: &str = "hidden-from-everybody";

/// What the pieces of this test are kept in.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp/python")
}

pub(crate) fn options() -> McpOptions {
    let policy = Policy::opening(["127.0.0.1"]);
    let mut options = McpOptions::new(Egress::new(policy.unwrap_or_default()));
    options.stdio =
        Some(Helper { program: env!("CARGO_BIN_EXE_retold-cage").into(), arguments: Vec::new() });
    options.environment = kept_environment(std::env::vars());
    // A machine that runs many tests at once is slow, and no test waits for these.
    options.connect_timeout = Duration::from_secs(60);
    options.list_timeout = Duration::from_secs(60);
    options.call_timeout = Duration::from_secs(60);
    options
}

pub(crate) fn client(change: impl FnOnce(&mut McpOptions)) -> McpClient {
    let mut options = options();
    change(&mut options);
    McpClient::new(options)
}

pub(crate) fn call(tool: &str, arguments: Value) -> ToolCall {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    ToolCall { tool: tool.into(), arguments, ..ToolCall::default() }
}

/// What servers note, in a folder of the test's own.
pub(crate) struct Ledger {
    path: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl Ledger {
    pub(crate) fn new() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        Ok(Self { path: folder.path().join("ledger"), _folder: Some(folder) })
    }

    /// The ledger of another process.
    pub(crate) fn at(path: &str) -> Self {
        Self { path: path.into(), _folder: None }
    }

    pub(crate) fn path(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|other| *other == line).count()
    }

    /// The numbers of the line that begins so.
    pub(crate) fn pids(&self, beginning: &str) -> Vec<i32> {
        let lines = self.lines();
        let line = lines.iter().find_map(|line| line.strip_prefix(beginning));
        line.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    fn environment(&self) -> BTreeMap<String, String> {
        [("LEDGER", self.path()), ("SECRET", SECRET.to_owned())]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

/// A server that misbehaves in this way.
pub(crate) fn hostile(way: &str, ledger: &Ledger) -> Server {
    let script = folder().join("hostile.py").display().to_string();
    let transport = Transport::Stdio {
        command: "python3".into(),
        args: vec![script, way.into()],
        env: ledger.environment(),
    };
    Server { key: way.into(), transport }
}

/// A generation of the official SDK.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sdk {
    Newest,
    Before,
}

impl Sdk {
    pub(crate) const ALL: [Self; 2] = [Self::Newest, Self::Before];

    /// Its Python, installed by the first who asks.
    fn python(self) -> Result<String, Failure> {
        let version = match self {
            Self::Newest => "2.3.0",
            Self::Before => "1.30.0",
        };
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mcp");
        let made = std::process::Command::new(folder().join("setup.sh"))
            .arg(place)
            .arg(version)
            .stderr(Stdio::inherit())
            .output()?;
        if !made.status.success() {
            return Err(format!("the SDK {version} could not be installed, see above").into());
        }
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }
}

/// How a server of the SDK is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Stdio,
    StreamableHttp,
    Sse,
}

/// A server with the official SDK.
pub(crate) struct Real {
    pub(crate) server: Server,
    pub(crate) ledger: Ledger,
    sdk: Sdk,
    way: Way,
    port: u16,
    process: Option<Child>,
}

impl Real {
    pub(crate) async fn start(sdk: Sdk, way: Way) -> Result<Self, Failure> {
        let ledger = Ledger::new()?;
        let python = sdk.python()?;
        let script = folder().join("server.py").display().to_string();
        let transport = Transport::Stdio {
            command: python,
            args: vec![script, "stdio".into()],
            env: ledger.environment(),
        };
        let server = Server { key: format!("{sdk:?} {way:?}"), transport };
        let mut real = Self { server, ledger, sdk, way, port: 0, process: None };
        if way != Way::Stdio {
            real.listen().await?;
            real.server.transport = real.transport(SECRET);
        }
        Ok(real)
    }

    /// How it is reached with this token.
    pub(crate) fn transport(&self, token: &str) -> Transport {
        let headers = vec![("Authorization".to_owned(), format!("Bearer {token}"))];
        let base = format!("http://127.0.0.1:{}", self.port);
        match self.way {
            Way::Sse => Transport::Sse { url: format!("{base}/sse"), headers },
            Way::StreamableHttp | Way::Stdio => {
                Transport::StreamableHttp { url: format!("{base}/mcp"), headers }
            }
        }
    }

    /// Ends it and starts it anew where it was.
    pub(crate) async fn restart(&mut self) -> Result<(), Failure> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        self.listen().await
    }

    async fn listen(&mut self) -> Result<(), Failure> {
        let way = if self.way == Way::Sse { "sse" } else { "streamable-http" };
        let mut process = Command::new(self.sdk.python()?)
            .arg(folder().join("server.py"))
            .arg(way)
            .envs(self.ledger.environment())
            .env("PORT", self.port.to_string())
            .env("TOKEN", SECRET)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().ok_or("no output")?;
        let port = BufReader::new(output).lines().next_line().await?.ok_or("it did not start")?;
        self.port = port.parse()?;
        self.process = Some(process);
        Ok(())
    }

    pub(crate) async fn call(
        &self,
        client: &McpClient,
        tool: &str,
        arguments: Value,
    ) -> Result<Returned, McpError> {
        client.call(&self.server, call(tool, arguments)).await
    }
}

/// Asks until it is so, for at most half a minute.
pub(crate) async fn until(mut so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if so() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    so()
}

/// Whether a process is there, and not only its number.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    state.is_some_and(|state| state != "Z" && state != "X")
}

/// The children of this process that attend programs with this ledger.
pub(crate) fn attendants(ledger: &Ledger) -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().filter_map(Result::ok);
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<i32> = lists
        .flat_map(|list| {
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect();
    let has = |pid: &i32, file: &str, text: &str| {
        let held = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&held).contains(text)
    };
    let ours = format!("LEDGER={}\0", ledger.path());
    let attends = |pid: &i32| {
        lives(*pid) && has(pid, "cmdline", "\0attendant\0") && has(pid, "environ", &ours)
    };
    pids.into_iter().filter(attends).collect()
}

/// Whether nothing of what may be secret is in a text.
pub(crate) fn keeps_secrets(error: &McpError) -> bool {
    !error.to_string().contains(SECRET) && !format!("{error:?}").contains(SECRET)
}
