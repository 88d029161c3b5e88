//! The process that users' tools report to: neither a kill of the server nor the end of a tool makes
//! it forget.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};

use crate::Result;

pub(crate) struct Counter {
    process: Child,
    /// Calls that a kill ended, as far as is known.
    cut: AtomicI64,
    /// It ends when this does.
    _until: ChildStdin,
    pub(crate) port: u16,
}

/// What tools did about one thing.
#[derive(Debug, Default, Clone)]
pub(crate) struct Done {
    /// The key of each call that began.
    pub(crate) begun: Vec<String>,
    /// How many of them came to their end.
    pub(crate) ended: usize,
}

impl Counter {
    pub(crate) fn start() -> Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/counter.py");
        let mut process = Command::new("python3")
            .args(["-I", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let until = process.stdin.take().ok_or("its input is piped")?;
        let said = process.stdout.take().ok_or("its output is piped")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let port = line.trim().parse()?;
        Ok(Self { process, cut: AtomicI64::new(0), _until: until, port })
    }

    /// The source of a tool that reports when it begins and when it ends.
    pub(crate) fn source(&self, name: &str) -> String {
        format!(
            r#"def {name}(what: str) -> str:
    """Do something that is counted.

    Args:
        what: What to do.
    """
    import os, socket, time

    def tell(when):
        with socket.create_connection(("127.0.0.1", {port}), 10) as peer:
            peer.sendall(f"{{when}} {name} {{what}} {{os.environ['RETOLD_CALL_KEY']}}\n".encode())
            while peer.recv(16):
                pass

    tell("begun")
    time.sleep(0.1)
    tell("ended")
    return f"did {{what}}"
"#,
            port = self.port
        )
    }

    /// What was done so far, by tool and by what it was to do.
    pub(crate) fn done(&self) -> Result<BTreeMap<(String, String), Done>> {
        let answer = self.told()?;
        let mut done: BTreeMap<(String, String), Done> = BTreeMap::new();
        for line in answer.lines() {
            let [when, tool, what, key] = line.split(' ').collect::<Vec<_>>()[..] else {
                return Err(format!("no tool says this: {line}").into());
            };
            let entry = done.entry((tool.to_owned(), what.to_owned())).or_default();
            if when == "begun" {
                entry.begun.push(key.to_owned());
            } else {
                entry.ended += 1;
            }
        }
        Ok(done)
    }

    /// How many reports there are so far.
    pub(crate) fn reports(&self) -> Result<u64> {
        Ok(self.told()?.lines().count() as u64)
    }

    /// How many calls have begun since the last kill and not ended.
    pub(crate) fn under_way(&self) -> Result<i64> {
        Ok(self.open()? - self.cut.load(Ordering::Relaxed))
    }

    /// The server was killed, and the calls under way with it.
    pub(crate) fn forget_what_is_under_way(&self) -> Result<()> {
        self.cut.store(self.open()?, Ordering::Relaxed);
        Ok(())
    }

    /// Calls that have begun and not ended.
    fn open(&self) -> Result<i64> {
        let told = self.told()?;
        let signs = told.lines().map(|line| if line.starts_with("begun") { 1 } else { -1 });
        Ok(signs.sum())
    }

    fn told(&self) -> Result<String> {
        let mut peer = TcpStream::connect(("127.0.0.1", self.port))?;
        peer.write_all(b"?\n")?;
        let mut answer = String::new();
        peer.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // One that has ended already answers with an error.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
