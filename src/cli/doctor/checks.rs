//! The checks of `retold doctor`, each a line.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use retold_tools::cage::{Cage, CageOptions, Helper, Job, Language, Layer};
use tokio::net::TcpListener;

use super::Process;
use crate::{caged::HIDDEN_ARGUMENT, config::Config, vault};

/// How long a tool of one line may take, its interpreter's start included.
const TRIAL: Duration = Duration::from_secs(20);

/// What was found of one thing.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) of: &'static str,
    pub(super) found: Found,
    pub(super) says: String,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It works.
    Well,
    /// Something is off, and serving goes on without it.
    Missing,
    /// The server cannot start.
    Broken,
}

impl Found {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Missing => "missing",
            Self::Broken => "broken",
        }
    }
}

impl Check {
    fn new(of: &'static str, found: Found, says: impl Into<String>) -> Self {
        Self { of, found, says: says.into() }
    }

    pub(super) fn stands_in_the_way(&self) -> bool {
        self.found == Found::Broken
    }
}

/// Everything, in the order in which it is told.
pub(super) async fn all(config: &Config, process: &Process) -> Vec<Check> {
    let mut checks = vec![configuration(config), exposure(config), address(config).await];
    checks.push(data_dir(config));
    checks.push(secrets(config).await);
    checks.push(models(config));
    checks.extend(tools(config, process).await);
    checks.push(outgoing(config));
    checks.push(mcp_programs(config));
    checks
}

fn configuration(config: &Config) -> Check {
    let file = match &config.file {
        Some(file) => format!("{}", file.value.display()),
        None => "no file; flags, variables and defaults".to_owned(),
    };
    match &config.notes[..] {
        [] => Check::new("configuration", Found::Well, file),
        notes => {
            Check::new("configuration", Found::Missing, format!("{file}; {}", notes.join("; ")))
        }
    }
}

fn exposure(config: &Config) -> Check {
    match (config.check_exposure(), &config.password) {
        (Err(error), _) => Check::new("access", Found::Broken, error.to_string()),
        (Ok(()), Some(_)) => Check::new("access", Found::Well, "a password is demanded"),
        (Ok(()), None) if config.host.value.is_loopback() => {
            Check::new("access", Found::Well, "open, to this machine only")
        }
        (Ok(()), None) => Check::new(
            "access",
            Found::Missing,
            format!("open to whoever reaches {}; set RETOLD_PASSWORD", config.host.value),
        ),
    }
}

/// Whether the server could listen. Where somebody else does it may be a server of ours.
async fn address(config: &Config) -> Check {
    const OF: &str = "address";
    let at = config.address();
    match TcpListener::bind(at).await {
        Ok(_) if at.port() == 0 => {
            Check::new(OF, Found::Well, format!("any free port of {}", at.ip()))
        }
        Ok(_) => Check::new(OF, Found::Well, format!("{at} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Check::new(
            OF,
            Found::Missing,
            format!("{at} is taken: somebody listens there, maybe a server that runs already"),
        ),
        Err(error) => Check::new(OF, Found::Broken, format!("{at} cannot be listened on: {error}")),
    }
}

fn data_dir(config: &Config) -> Check {
    const OF: &str = "data directory";
    let dir = &config.data_dir.value;
    let (there, says) = match nearest(dir) {
        Some(there) if there == *dir => (there, dir.display().to_string()),
        Some(there) => (there, format!("{}, made at the first start", dir.display())),
        None => {
            return Check::new(
                OF,
                Found::Broken,
                format!("{} is below nothing that is there", dir.display()),
            );
        }
    };
    if !there.is_dir() {
        return Check::new(OF, Found::Broken, format!("{} is no directory", there.display()));
    }
    if let Err(error) = rustix::fs::access(&there, rustix::fs::Access::WRITE_OK) {
        return Check::new(OF, Found::Broken, format!("{}: {error}", there.display()));
    }
    match rustix::fs::statvfs(&there) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize) >> 20;
            let found = if free < 1024 { Found::Missing } else { Found::Well };
            Check::new(OF, found, format!("{says}; {free} MiB free"))
        }
        Err(error) => {
            Check::new(OF, Found::Missing, format!("{says}; its room is unknown: {error}"))
        }
    }
}

/// The directory, or the nearest above it that is there.
fn nearest(dir: &Path) -> Option<PathBuf> {
    let dir = std::path::absolute(dir).ok()?;
    dir.ancestors().find(|it| it.exists()).map(Path::to_owned)
}

async fn secrets(config: &Config) -> Check {
    const OF: &str = "secrets";
    if config.encryption_key.is_some() {
        return Check::new(OF, Found::Well, "sealed with a key made of the text that was given");
    }
    let file = vault::key_file(&config.data_dir.value);
    if !file.exists() {
        let says = format!("the key is made with the first secret, at {}", file.display());
        return Check::new(OF, Found::Well, says);
    }
    let vault = vault::Vault::new(config);
    let read = tokio::task::spawn_blocking(move || vault.read()).await;
    match read {
        Ok(Ok(())) => Check::new(
            OF,
            Found::Well,
            format!("sealed with the key in {}; no backup holds it", file.display()),
        ),
        Ok(Err(error)) => Check::new(OF, Found::Broken, error.to_string()),
        Err(error) => Check::new(OF, Found::Broken, error.to_string()),
    }
}

fn models(config: &Config) -> Check {
    let names: Vec<&str> = config.providers.iter().map(|it| it.name.as_str()).collect();
    if names.is_empty() {
        return Check::new(
            "models",
            Found::Missing,
            "no provider is configured, so agents rehearse (retold/rehearsal); set OPENAI_API_KEY, ANTHROPIC_API_KEY or OLLAMA_BASE_URL",
        );
    }
    Check::new("models", Found::Well, format!("of {}; none was called", names.join(", ")))
}

/// What keeps users' tools in, and a tool of each language.
async fn tools(config: &Config, process: &Process) -> Vec<Check> {
    let dir = std::env::temp_dir().join(format!("retold-doctor-{}", std::process::id()));
    let program = process.program.clone();
    let helper = Helper { program, arguments: vec![HIDDEN_ARGUMENT.to_owned()] };
    let options = CageOptions {
        network: config.tool_network.value,
        uncaged: config.tool_uncaged.value,
        ..CageOptions::new(dir.clone(), helper)
    };
    let cage = Cage::start(options).await;
    let mut checks = vec![layer(&cage)];
    if cage.is_open() {
        let python = cage.python().await.map(|python| format!("{} ", python.version));
        let version = python.unwrap_or_default();
        let ping =
            Job::python("def ping():\n    \"\"\"Answers.\"\"\"\n    return 'pong'\n", "ping");
        checks.push(trial(&cage, "Python tools", &version, ping).await);
        let ping = Job {
            language: Language::TypeScript,
            ..Job::python("export function ping(): string { return 'pong'; }\n", "ping")
        };
        checks.push(trial(&cage, "TypeScript tools", "", ping).await);
    }
    drop(cage);
    // What is left of the trial, if anything; it lies in a directory for such things.
    let _ = fs::remove_dir_all(dir);
    checks
}

fn layer(cage: &Cage) -> Check {
    const OF: &str = "tool cage";
    let missing = cage.missing().join("; ");
    match (cage.is_open(), cage.layer()) {
        (false, _) => Check::new(
            OF,
            Found::Missing,
            format!("users' tools are refused: nothing here keeps them in ({missing})"),
        ),
        (true, Layer::None) => Check::new(
            OF,
            Found::Missing,
            format!(
                "users' tools run UNCAGED, as configured: they can do all that the server can ({missing})"
            ),
        ),
        (true, layer) if missing.is_empty() => Check::new(OF, Found::Well, layer.to_string()),
        (true, layer) => Check::new(OF, Found::Well, format!("{layer} (tried before: {missing})")),
    }
}

/// A tool of one line, run twice: the second time its interpreter waits already.
async fn trial(cage: &Cage, of: &'static str, version: &str, job: Job) -> Check {
    let job = Job { timeout: TRIAL, ..job };
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let began = Instant::now();
        match cage.run(job.clone()).await {
            Ok(outcome) if outcome.status.is_success() => took = began.elapsed(),
            Ok(outcome) => return Check::new(of, Found::Missing, outcome.status.text("ping")),
            Err(error) => return Check::new(of, Found::Missing, error.to_string()),
        }
    }
    Check::new(of, Found::Well, format!("{version}a call takes {:.1} ms", took.as_secs_f64() * 1e3))
}

/// Whether MCP servers that are programs are started.
fn mcp_programs(config: &Config) -> Check {
    let says = if config.mcp_stdio.value {
        "started for whoever may call the API, with the server's own rights"
    } else {
        "off; mcp_stdio turns them on, with the server's own rights"
    };
    Check::new("MCP programs", Found::Well, says)
}

/// Where clients of the API may have the server call.
fn outgoing(config: &Config) -> Check {
    let opened: Vec<String> = config.egress_allow.value.entries().collect();
    let says = match &opened[..] {
        [] => "public addresses only; egress_allow opens others".to_owned(),
        opened => format!("public addresses, and {}", opened.join(", ")),
    };
    Check::new("outgoing calls", Found::Well, says)
}
