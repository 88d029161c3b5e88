//! The program started, listened to, signalled, and ended in any case.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempDir};

use crate::{Result, http};

/// Longest time a test waits for anything that has no bound of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const LOOK: Duration = Duration::from_millis(2);

/// The beginning of the line that says where a server is.
pub(crate) const READY: &str = concat!("retold ", env!("CARGO_PKG_VERSION"), " is ready on ");

/// A directory to live in, with nothing in it.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where [`Home::serve`] keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The program in this home, with no variable set but `HOME` and `PATH`.
    pub(crate) fn retold(&self, arguments: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_retold"), arguments)
    }

    /// Another program in the same conditions.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.path());
        command
    }

    /// A server on any free port and on [`Home::data`].
    pub(crate) fn serve(&self) -> Command {
        self.serve_on(&self.data())
    }

    /// A server on any free port and on a directory.
    pub(crate) fn serve_on(&self, data: &Path) -> Command {
        let mut command = self.retold(&["serve", "--port", "0", "--data-dir"]);
        command.arg(data);
        command
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

/// A process that does not outlive the test, whichever way that ends.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        Ok(Self(command.spawn().map_err(|error| format!("{command:?}: {error}"))?))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status()?;
        if sent.success() { Ok(()) } else { Err(format!("no signal {name} sent").into()) }
    }

    /// How it ended, if it does so in time.
    pub(crate) async fn end(&mut self, within: Duration) -> Result<Option<ExitStatus>> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if begun.elapsed() > within {
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already answers with an error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program that has ended left.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` when a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program to its end with nothing to read.
pub(crate) async fn run(command: &mut Command) -> Result<Ended> {
    run_with_input(command, "").await
}

/// Runs a program to its end on `input`.
pub(crate) async fn run_with_input(command: &mut Command, input: &str) -> Result<Ended> {
    let (mut given, stdout, stderr) =
        (tempfile::tempfile()?, tempfile::tempfile()?, tempfile::tempfile()?);
    given.write_all(input.as_bytes())?;
    given.rewind()?;
    command.stdin(given).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut running = Running::spawn(command)?;
    let status = running.end(PATIENCE).await?;
    let (stdout, stderr) = (text(stdout)?, text(stderr)?);
    let Some(status) = status else {
        panic!("{command:?} did not end\nstdout: {stdout}\nstderr: {stderr}");
    };
    Ok(Ended { code: status.code(), stdout, stderr })
}

fn text(mut file: File) -> Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// A server that has said that it is ready.
pub(crate) struct Server {
    running: Running,
    stderr: NamedTempFile,
    pub(crate) url: String,
    /// From its spawn to its ready line.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// Starts a server and waits for its ready line.
    pub(crate) async fn start(command: &mut Command) -> Result<Self> {
        let stderr = NamedTempFile::new()?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr.reopen()?);
        let begun = Instant::now();
        let running = Running::spawn(command)?;
        let mut server =
            Self { running, stderr, url: String::new(), ready_after: Duration::default() };
        loop {
            let said = server.said();
            let ready = said.lines().find_map(|line| line.strip_prefix(READY));
            if let Some(url) = ready.filter(|_| said.contains("\n  started")) {
                server.ready_after = begun.elapsed();
                url.clone_into(&mut server.url);
                return Ok(server);
            }
            if let Some(status) = server.running.child().try_wait()? {
                panic!("{command:?} is no server ({status}):\n{said}");
            }
            assert!(begun.elapsed() < PATIENCE, "{command:?} is not ready:\n{said}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// All it has written to standard error.
    pub(crate) fn said(&self) -> String {
        let bytes = std::fs::read(self.stderr.path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has written `text` to standard error.
    pub(crate) async fn says(&self, text: &str) {
        let begun = Instant::now();
        while !self.said().contains(text) {
            assert!(begun.elapsed() < PATIENCE, "it never said {text:?}:\n{}", self.said());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.running.0.id()
    }

    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        self.running.signal(name)
    }

    /// The exit code, which has to come in time.
    pub(crate) async fn end(&mut self, within: Duration) -> Result<Option<i32>> {
        match self.running.end(within).await? {
            Some(status) => Ok(status.code()),
            None => panic!("still running after {within:?}:\n{}", self.said()),
        }
    }

    /// SIGTERM, and the end it should lead to.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.signal("TERM")?;
        let code = self.end(PATIENCE).await?;
        assert_eq!(code, Some(0), "{}", self.said());
        Ok(())
    }

    /// Whether it answers as healthy.
    pub(crate) async fn is_healthy(&self) -> Result<bool> {
        let health = http::client()?.get(format!("{}/v1/health/", self.url)).send().await;
        Ok(health.is_ok_and(|answer| answer.status() == 200))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::say(&format!("what the server said:\n{}", self.said()));
        }
    }
}
