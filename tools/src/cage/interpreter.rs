//! The interpreters of this machine: where they are, what of the disk they need, and how a runner is started with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use super::pool::Kind;
use super::{CageError, job::Language};

const PYTHON_RUNNER: &str = include_str!("runner.py");
const TYPESCRIPT_RUNNER: &str = include_str!("runner.mjs");
/// How long an interpreter may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Python of this machine, or of a virtual environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// The program itself, no starter script.
    pub executable: PathBuf,
    /// Its version, such as `3.11`.
    pub version: String,
    /// What it reads from, beside the folders of the system.
    pub(super) folders: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Told {
    executable: PathBuf,
    version: (u32, u32),
    folders: Vec<PathBuf>,
}

const QUESTION: &str = "import sys, json; print(json.dumps({'executable': sys.executable, \
    'version': list(sys.version_info[:2]), 'folders': [sys.base_prefix, sys.prefix, \
    sys.base_exec_prefix, sys.exec_prefix] + sys.path}))";

impl Python {
    /// The Python that was configured, or the first that is found.
    pub(super) async fn find(given: Option<&Path>) -> Result<Self, CageError> {
        if let Some(given) = given {
            return Self::ask(given).await.map_err(CageError::NoPython);
        }
        let mut why = "there is none".to_owned();
        for name in ["python3", "python", "/usr/bin/python3", "/usr/local/bin/python3"] {
            match Self::ask(Path::new(name)).await {
                Ok(python) => return Ok(python),
                Err(error) => why = error,
            }
        }
        Err(CageError::NoPython(why))
    }

    /// What the program at `path` says of itself. It runs outside the cage: it is the machine's, or was made by the server.
    pub(super) async fn ask(path: &Path) -> Result<Self, String> {
        let told = answer(Command::new(path).args(["-I", "-c", QUESTION])).await?;
        let told: Told = serde_json::from_str(&told)
            .map_err(|_| format!("{} is no Python: it says {told:?}", path.display()))?;
        if told.version < (3, 8) {
            let (major, minor) = told.version;
            return Err(format!("{} is Python {major}.{minor}, too old", path.display()));
        }
        Ok(Self {
            executable: told.executable,
            version: format!("{}.{}", told.version.0, told.version.1),
            folders: outside_of_the_system(told.folders),
        })
    }

    pub(super) fn kind(&self, network: bool) -> Kind {
        let command =
            [&self.executable.display().to_string(), "-I", "-u", "-B", "-c", PYTHON_RUNNER];
        Kind {
            command: command.map(str::to_owned).to_vec(),
            readable: self.folders.clone(),
            network,
            reserves: false,
        }
    }
}

async fn answer(command: &mut Command) -> Result<String, String> {
    let program = command.as_std().get_program().display().to_string();
    let output = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(PATIENCE, output).await {
        Ok(Ok(output)) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(Ok(output)) => Err(format!("{program} ended with {}", output.status)),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => Err(format!("{program} says nothing")),
    }
}

/// The folders that the cage does not have anyway, without those that lie within others.
fn outside_of_the_system(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    const SYSTEM: &[&str] = &["/usr", "/lib", "/lib64", "/bin", "/sbin", "/nix/store"];
    folders.retain(|folder| {
        folder.is_absolute()
            && folder.parent().is_some()
            && folder.exists()
            && !SYSTEM.iter().any(|system| folder.starts_with(system))
    });
    folders.sort();
    folders.dedup_by(|later, earlier| later.starts_with(earlier));
    folders
}

/// What runs TypeScript here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypeScript {
    program: PathBuf,
    bun: bool,
}

impl TypeScript {
    /// The program that was configured, or Node, or Bun, whichever can strip types.
    pub(super) async fn find(given: Option<&Path>) -> Result<Self, CageError> {
        let mut seen = Vec::new();
        let candidates = given.map_or_else(
            || ["node", "bun"].map(PathBuf::from).to_vec(),
            |given| vec![given.to_path_buf()],
        );
        for candidate in candidates {
            match Self::ask(&candidate).await {
                Ok(found) => return Ok(found),
                Err(why) => seen.push(why),
            }
        }
        Err(CageError::NoTypeScript(seen.join("; ")))
    }

    async fn ask(path: &Path) -> Result<Self, String> {
        let version = answer(Command::new(path).arg("--version")).await?;
        // Node says `v22.1.0`, Bun says `1.2.3`.
        let bun = !version.starts_with('v');
        let major: u32 = version
            .trim_start_matches('v')
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .ok_or_else(|| format!("{} says {version:?}", path.display()))?;
        if !bun && major < 22 {
            return Err(format!("{} is {version}, older than 22", path.display()));
        }
        Ok(Self { program: which(path)?, bun })
    }

    pub(super) fn kind(&self, network: bool) -> Kind {
        let program = self.program.display().to_string();
        let words: &[&str] = if self.bun {
            &["-e", TYPESCRIPT_RUNNER]
        } else {
            &[
                "--experimental-strip-types",
                "--no-warnings",
                "--input-type=module",
                "-e",
                TYPESCRIPT_RUNNER,
            ]
        };
        let mut command = vec![program];
        command.extend(words.iter().map(|word| (*word).to_owned()));
        Kind {
            command,
            readable: outside_of_the_system(vec![self.program.clone()]),
            network,
            reserves: true,
        }
    }
}

/// The file behind a name, with every link followed.
fn which(name: &Path) -> Result<PathBuf, String> {
    let found = if name.is_absolute() {
        name.to_path_buf()
    } else {
        std::env::var_os("PATH")
            .iter()
            .flat_map(std::env::split_paths)
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
            .ok_or_else(|| format!("{} is nowhere", name.display()))?
    };
    found.canonicalize().map_err(|error| format!("{}: {error}", found.display()))
}

impl Language {
    /// As it is told to users.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::TypeScript => "TypeScript",
        }
    }
}
