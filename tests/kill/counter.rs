//! The process that users' tools report to: neither a kill of the server nor the end of a tool makes
//! it forget.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::Result;

pub(crate) struct Counter {
    process: Child,
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
        Ok(Self { process, _until: until, port: line.trim().parse()? })
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
    time.sleep(0.02)
    tell("ended")
    return f"did {{what}}"
"#,
            port = self.port
        )
    }

    /// What was done so far, by tool and by what it was to do.
    pub(crate) fn done(&self) -> Result<BTreeMap<(String, String), Done>> {
        let mut peer = TcpStream::connect(("127.0.0.1", self.port))?;
        peer.write_all(b"?\n")?;
        let mut answer = String::new();
        peer.read_to_string(&mut answer)?;
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
}

impl Drop for Counter {
    fn drop(&mut self) {
        // One that has ended already answers with an error.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
