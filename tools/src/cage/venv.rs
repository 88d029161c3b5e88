//! Virtual environments, one for each set of requirements, made when the first call asks for it.
//!
//! Only wheels are installed: the build script of a source package would run outside the cage. An environment counts as made
//! when its mark is there, so one that was cut in the middle is thrown away and made again.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;

use super::CageError;
use super::interpreter::Python;
use super::job::Requirement;

/// The file that says an environment is whole.
const MARK: &str = "retold-made";

type Made = Option<Result<Python, CageError>>;

/// The environments below one folder.
#[derive(Debug)]
pub(super) struct Venvs {
    folder: PathBuf,
    /// What pip finds in its environment: proxies and indexes.
    env: BTreeMap<String, String>,
    deadline: Duration,
    known: Arc<Mutex<HashMap<String, watch::Receiver<Made>>>>,
}

impl Venvs {
    pub(super) fn new(data_dir: &Path, env: BTreeMap<String, String>, deadline: Duration) -> Self {
        let folder = data_dir.join("tools").join("environments");
        Self { folder, env, deadline, known: Arc::default() }
    }

    /// The Python of an environment with these requirements, made now if there is none. Whoever asks while it is being made
    /// waits for the same one; whoever stops waiting leaves it to the others.
    ///
    /// # Errors
    /// [`CageError::Requirement`] with the requirement that could not be installed.
    pub(super) async fn get(
        &self,
        base: &Python,
        requirements: &[Requirement],
    ) -> Result<Python, CageError> {
        let mut requirements = requirements.to_vec();
        requirements.sort();
        requirements.dedup();
        for requirement in &requirements {
            check(requirement)?;
        }
        let name = name_of(base, &requirements);
        let mut made = self.made(name, base, requirements);
        let made = made.wait_for(Option::is_some).await.map(|made| made.clone());
        match made {
            Ok(Some(made)) => made,
            Ok(None) | Err(_) => Err(CageError::Environment("its making was given up".into())),
        }
    }

    fn made(
        &self,
        name: String,
        base: &Python,
        requirements: Vec<Requirement>,
    ) -> watch::Receiver<Made> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = known.get(&name) {
            return made.clone();
        }
        let (tell, made) = watch::channel(None);
        known.insert(name.clone(), made.clone());
        let making = Making {
            folder: self.folder.join(&name),
            base: base.executable.clone(),
            requirements,
            env: self.env.clone(),
        };
        let (deadline, known) = (self.deadline, Arc::clone(&self.known));
        tokio::spawn(async move {
            let result = making.within(deadline).await;
            if result.is_err() {
                // The next call tries again.
                known.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            }
            tell.send_replace(Some(result));
        });
        made
    }
}

/// The same requirements on the same Python are the same environment.
fn name_of(base: &Python, requirements: &[Requirement]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(base.executable.as_os_str().as_encoded_bytes());
    hasher.update(base.version.as_bytes());
    for requirement in requirements {
        hasher.update(b"\0");
        hasher.update(requirement.to_string().as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Pip takes options, paths and addresses where it takes names.
fn check(requirement: &Requirement) -> Result<(), CageError> {
    let refuse = |why: &str| {
        Err(CageError::Requirement { requirement: requirement.to_string(), why: why.into() })
    };
    let (name, extras) = match requirement.name.split_once('[') {
        Some((name, extras)) => (name, extras.strip_suffix(']').unwrap_or("[")),
        None => (requirement.name.as_str(), ""),
    };
    let plain = |text: &str, more: &str| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c) || more.contains(c))
    };
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !plain(name, "")
        || !plain(extras, ",")
    {
        return refuse("this is not the name of a package");
    }
    match &requirement.version {
        Some(version)
            if version.is_empty() || version.starts_with('-') || !plain(version, "!+*") =>
        {
            refuse("this is not a version; it is one exact version, such as 2.31.0")
        }
        _ => Ok(()),
    }
}

struct Making {
    folder: PathBuf,
    base: PathBuf,
    requirements: Vec<Requirement>,
    env: BTreeMap<String, String>,
}

/// Removes what is half made, unless it is told that it is whole.
struct HalfMade<'a>(Option<&'a Path>);

impl Drop for HalfMade<'_> {
    fn drop(&mut self) {
        if let Some(folder) = self.0 {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

impl Making {
    async fn within(self, deadline: Duration) -> Result<Python, CageError> {
        let python = self.folder.join("bin").join("python");
        if self.folder.join(MARK).exists()
            && let Ok(python) = Python::ask(&python).await
        {
            return Ok(python);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
        let mut half = HalfMade(Some(&self.folder));
        match tokio::time::timeout(deadline, self.make(&python)).await {
            Ok(made) => made?,
            Err(_) => {
                return Err(
                    self.refused(format!("it was not installed within {} s", deadline.as_secs()))
                );
            }
        }
        let python = Python::ask(&python).await.map_err(CageError::Environment)?;
        std::fs::write(self.folder.join(MARK), self.names())
            .map_err(|error| CageError::Environment(error.to_string()))?;
        half.0 = None;
        Ok(python)
    }

    async fn make(&self, python: &Path) -> Result<(), CageError> {
        std::fs::create_dir_all(&self.folder)
            .map_err(|error| CageError::Environment(error.to_string()))?;
        // With the packages of the machine's Python: a tool with requirements finds what one without them finds.
        let mut venv = Command::new(&self.base);
        venv.args(["-I", "-m", "venv", "--system-site-packages"]).arg(&self.folder);
        self.run(venv).await.map_err(CageError::Environment)?;
        let mut pip = Command::new(python);
        pip.args(["-I", "-m", "pip", "install", "--only-binary", ":all:", "--no-input"]);
        pip.args(["--disable-pip-version-check", "--no-color", "--quiet"]);
        pip.args(["--retries", "1", "--timeout", "20"]);
        pip.args(self.requirements.iter().map(Requirement::to_string));
        self.run(pip).await.map_err(|said| self.refused(said))
    }

    /// Runs a command of the making, as a group that ends when this is given up.
    async fn run(&self, mut command: Command) -> Result<(), String> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", &self.folder)
            .env("LANG", "C.UTF-8")
            .env("PIP_NO_CACHE_DIR", "1")
            .envs(&self.env)
            .current_dir(&self.folder)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()));
        let output = child.wait_with_output().await.map_err(|error| error.to_string())?;
        group.0 = None;
        if output.status.success() {
            return Ok(());
        }
        Err(complaint(&String::from_utf8_lossy(&output.stderr)))
    }

    /// The failure, with the requirement that it speaks of; with all of them where it names none.
    fn refused(&self, why: String) -> CageError {
        let lower = why.to_lowercase();
        let named = self
            .requirements
            .iter()
            .find(|requirement| lower.contains(&requirement.name.to_lowercase()))
            .map_or_else(|| self.names(), Requirement::to_string);
        CageError::Requirement { requirement: named, why }
    }

    fn names(&self) -> String {
        self.requirements.iter().map(Requirement::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// Ends a group of processes unless it has ended.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// The last thing that was called an error, else the last line: the rest is the way there.
fn complaint(said: &str) -> String {
    said.lines()
        .rfind(|line| line.starts_with("ERROR:"))
        .or_else(|| said.lines().rfind(|line| !line.trim().is_empty()))
        .unwrap_or("it failed without a word")
        .trim_start_matches("ERROR:")
        .trim()
        .chars()
        .take(500)
        .collect()
}
