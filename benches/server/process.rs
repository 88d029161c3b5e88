//! The server as a process.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{Outcome, machine};

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) dir: PathBuf,
    /// From its start to its `ready` line.
    pub(crate) took: Duration,
}

impl Server {
    /// Starts a server on `dir` whose models are those of `upstream`.
    pub(crate) fn start(binary: &Path, dir: &Path, upstream: SocketAddr) -> Outcome<Self> {
        let begun = Instant::now();
        let mut child = Command::new(binary)
            .args(["serve", "--port", "0", "--log", "warn", "--data-dir"])
            .arg(dir)
            .env_clear()
            .env("OPENAI_API_KEY", "bench")
            .env("OPENAI_BASE_URL", format!("http://{upstream}/v1"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let ready = said.next().ok_or("the server ended at once")??;
        let took = begun.elapsed();
        let url = ready.split_once(" is ready on http://").ok_or_else(|| ready.clone())?.1;
        let address = url.trim().parse()?;
        std::thread::spawn(move || {
            let problems = said.map_while(Result::ok).filter(|line| {
                line.contains("WARN") || line.contains("ERROR") || line.contains("panicked")
            });
            problems.for_each(|line| eprintln!("server: {line}"));
        });
        Ok(Self { child, address, dir: dir.to_owned(), took })
    }

    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        Ok(machine::cpu(self.child.id())?)
    }

    pub(crate) fn resident_bytes(&self) -> Outcome<f64> {
        Ok(machine::resident_bytes(self.child.id())?)
    }

    /// Stops it as it should be stopped.
    pub(crate) fn stop(&mut self) -> Outcome<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it as a power cut would.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already unless a section failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
