//! The real binary on a data directory: spawned, waited for, killed with SIGKILL.

use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, http};

/// A server that needs longer than this to come back has not come back.
const READY: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    child: Child,
    spawned: Instant,
    log: PathBuf,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn spawn(home: &Path, upstream: &str) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = home.join("server.log");
        let output: File = OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new(env!("CARGO_BIN_EXE_retold"))
            .args(["serve", "--port", &port.to_string(), "--data-dir"])
            .arg(home.join("data"))
            .env_clear()
            .env("HOME", home)
            // Tools need an interpreter.
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("OPENAI_API_KEY", "test-key")
            .env("OPENAI_BASE_URL", format!("{upstream}/v1"))
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let url = format!("http://127.0.0.1:{port}");
        Ok(Self { child, spawned: Instant::now(), log, url })
    }

    /// Waits until the server says that it is well, and answers how long that took from its spawn.
    pub(crate) async fn ready(&mut self) -> Result<Duration> {
        let client = http::client()?;
        loop {
            let asked = client.get(format!("{}/v1/health/", self.url)).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(self.spawned.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                panic!("the server did not start again ({status}):\n{}", self.last_words());
            }
            let waited = self.spawned.elapsed();
            assert!(waited < READY, "not ready after {waited:?}:\n{}", self.last_words());
            tokio::time::sleep(Duration::from_millis(2)).await;
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
