//! The real binary on a data directory: spawned, waited for, killed or asked to stop.

use std::{
    fs::OpenOptions,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Result, client};

/// A server that needs longer than this to come or to go has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// What runs have to end in when it is asked to stop: some do and some do not.
const DRAIN: &str = "300ms";

pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts it, and waits until it says that it is well.
    pub(crate) async fn spawn(home: &Path, upstream: &str) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = home.join("server.log");
        let output = OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new(env!("CARGO_BIN_EXE_retold"))
            .args(["serve", "--port", &port.to_string(), "--drain-deadline", DRAIN, "--data-dir"])
            .arg(home.join("data"))
            .env_clear()
            .env("HOME", home)
            .env("OPENAI_API_KEY", "test-key")
            .env("OPENAI_BASE_URL", format!("{upstream}/v1"))
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut server = Self { child, log, address: SocketAddr::from(([127, 0, 0, 1], port)) };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&mut self) -> Result<()> {
        let (client, spawned) = (client(), Instant::now());
        loop {
            let asked = client.get(format!("http://{}/v1/health/", self.address)).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                panic!("the server did not start ({status}):\n{}", self.last_words());
            }
            assert!(spawned.elapsed() < PATIENCE, "not ready:\n{}", self.last_words());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            panic!("the server ended by itself ({status}):\n{}", self.last_words());
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits until it has ended well.
    pub(crate) async fn terminate(&mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or("the server has no process id")?, Signal::TERM)?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                assert!(status.success(), "it stopped with {status}:\n{}", self.last_words());
                return Ok(());
            }
            assert!(begun.elapsed() < PATIENCE, "it does not stop:\n{}", self.last_words());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(4000)..]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Also when an assertion failed; a child that has ended already answers with an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            crate::say(&format!("the end of the server's log:\n{}", self.last_words()));
        }
    }
}
