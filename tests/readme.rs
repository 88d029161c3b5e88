//! The README does what it says: its code blocks are run as they stand.
//!
//! - `sh`, `bash`, `console`: run in order by one shell, in an empty home. A block with
//!   `retold serve` is started beside it and ended last; the next block waits until it is healthy.
//! - `toml`: a server must start with it as its configuration file. `json`: must parse.
//! - `python` and `js`: run by `tests/clients/run.sh`, which has the SDKs they import.
//! - `text`: shown, not run. `no-run` after the language: not run, and the HTML comment above the
//!   block says why.
//!
//! What is replaced, and nothing else: `cargo run --release --` is the binary under test; the port
//! 8283 is a free one, named with `--port` to `serve` and `--url` to the commands that talk to a
//! server where a block leaves it to the default. A block that only says how to test is compared with `.ci/run` instead, which
//! runs it: this test is part of it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const READY: Duration = Duration::from_secs(20);
const LANGUAGES: &[&str] = &["sh", "bash", "console", "python", "js", "json", "toml", "text"];

/// One fenced block of code.
#[derive(Debug, Clone, PartialEq)]
struct Block {
    line: usize,
    language: String,
    no_run: bool,
    /// The last line of text above it, where a `no-run` gives its reason.
    above: String,
    code: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let (mut found, mut above, mut open) = (Vec::new(), String::new(), None::<Block>);
    for (at, line) in text.lines().enumerate() {
        match (&mut open, line.trim().strip_prefix("```")) {
            (Some(_), Some("")) => {
                found.extend(open.take());
                above.clear();
            }
            (Some(block), _) => block.code += &format!("{line}\n"),
            (None, Some(info)) => {
                let mut words = info.split_whitespace();
                let language = words.next().unwrap_or_default().to_owned();
                let no_run = words.next() == Some("no-run");
                let above = above.clone();
                open = Some(Block { line: at + 1, language, no_run, above, code: String::new() });
            }
            (None, None) if !line.trim().is_empty() => above = line.trim().to_owned(),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block that never ends: {open:?}");
    found
}

fn readme() -> Result<Vec<Block>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    Ok(blocks(&fs::read_to_string(path)?))
}

impl Block {
    fn is_shell(&self) -> bool {
        ["sh", "bash", "console"].contains(&self.language.as_str())
    }

    fn is_about_testing(&self) -> bool {
        let mut lines = self.commands().into_iter().peekable();
        self.is_shell() && lines.peek().is_some() && lines.all(|l| l.starts_with("cargo test"))
    }

    fn is_a_server(&self) -> bool {
        self.binary_named().contains("retold serve")
    }

    /// The lines to run: all but comments and blank ones; in a `console` those after a `$`.
    fn commands(&self) -> Vec<String> {
        let lines = self.code.lines().map(str::trim_end);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        match self.language.as_str() {
            "console" => lines.filter_map(|l| l.strip_prefix("$ ")).map(str::to_owned).collect(),
            _ => lines.map(str::to_owned).collect(),
        }
    }

    fn binary_named(&self) -> String {
        self.commands().join("\n").replace("cargo run --release -- ", "retold ")
    }

    /// What the shell is given.
    fn script(&self, port: u16) -> String {
        let mut script = self.binary_named().replace("8283", &port.to_string());
        if !script.contains("--port") {
            script = script.replace("retold serve", &format!("retold serve --port {port}"));
        }
        if !script.contains("--url") {
            for command in ["chat", "events tail", "runs ls", "backup"] {
                let plain = format!("retold {command}");
                let there = format!("{plain} --url http://127.0.0.1:{port}");
                script = script.replace(&plain, &there);
            }
        }
        // So that the id of the shell is the id of the server.
        script.replace("retold serve", "exec retold serve")
    }
}

/// A directory to live in, with the binary under test as `retold` on its path.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        fs::create_dir(home.path().join("bin"))?;
        symlink(env!("CARGO_BIN_EXE_retold"), home.path().join("bin/retold"))?;
        Ok(Self(home))
    }

    /// Nothing of the caller's configuration reaches what is run.
    fn shell(&self, script: &str) -> Command {
        let bin = self.0.path().join("bin");
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", script])
            .env_clear()
            .env("HOME", self.0.path())
            .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default()))
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }
}

struct Server(Child);

impl Server {
    fn start(home: &Home, script: &str, port: u16) -> Result<Self> {
        let log = fs::File::create(home.0.path().join("server.log"))?;
        let child = home.shell(script).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut server = Self(child);
        let begun = Instant::now();
        while !is_healthy(port) {
            let ended = server.0.try_wait()?;
            if ended.is_some() || begun.elapsed() > READY {
                let log = fs::read_to_string(home.0.path().join("server.log"))?;
                return Err(format!("not serving ({ended:?}):\n{script}\n{log}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.write_all(
            b"GET /v1/health/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

#[test]
fn every_block_says_what_it_is_and_why_it_is_not_run() -> Result<()> {
    for block in readme()? {
        let Block { line, language, no_run, above, .. } = &block;
        assert!(LANGUAGES.contains(&language.as_str()), "line {line}: a block of {language:?}");
        assert!(
            !no_run || above.ends_with("-->"),
            "line {line}: `no-run`, but no comment says why"
        );
    }
    Ok(())
}

#[test]
fn the_shell_blocks_run_in_order() -> Result<()> {
    let (home, port) = (Home::new()?, free_port()?);
    let (mut servers, mut script) = (Vec::new(), String::new());
    let blocks = readme()?;
    let shell = |b: &&Block| b.is_shell() && !b.no_run && !b.is_about_testing();
    let run = |script: &str| -> Result<()> {
        let output = home.shell(script).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}:\n{said}\n{complained}", output.status);
        // A refusal is an answer to curl, but not what a README promises.
        let refused = said.lines().find(|line| line.starts_with("{\"detail\""));
        assert_eq!(refused, None, "in:\n{said}");
        if script.contains("messages/stream") {
            assert!(said.contains("\ndata: [DONE]\n"), "a stream without its end:\n{said}");
        }
        Ok(())
    };
    for block in blocks.iter().filter(shell) {
        if !block.is_a_server() {
            // One shell for all of them, so that a variable set in one is there in the next.
            script += &format!("echo '--- line {}'\n{}\n", block.line, block.script(port));
            continue;
        }
        if servers.is_empty() {
            run(&std::mem::take(&mut script))?;
            servers.push(Server::start(&home, &block.script(port), port)?);
        } else {
            // A further way to start it: in a home of its own, on a port of its own.
            let (home, port) = (Home::new()?, free_port()?);
            drop(Server::start(&home, &block.script(port), port)?);
        }
    }
    assert!(!servers.is_empty(), "no block of the README starts a server");
    assert!(!script.is_empty(), "no block of the README talks to the server");
    run(&script)
}

#[test]
fn a_server_starts_with_each_configuration_shown() -> Result<()> {
    for block in readme()?.iter().filter(|block| block.language == "toml" && !block.no_run) {
        let (home, port) = (Home::new()?, free_port()?);
        fs::write(home.0.path().join("shown.toml"), &block.code)?;
        let flags = format!("--host 127.0.0.1 --port {port} --data-dir data --config shown.toml");
        let started = Server::start(&home, &format!("exec retold serve {flags}"), port);
        assert!(started.is_ok(), "line {}: {:?}", block.line, started.err());
    }
    Ok(())
}

#[test]
fn the_json_shown_is_json() -> Result<()> {
    for block in readme()?.iter().filter(|block| block.language == "json") {
        let parsed: std::result::Result<serde_json::Value, _> = serde_json::from_str(&block.code);
        assert!(parsed.is_ok(), "line {}: {:?}", block.line, parsed.err());
    }
    Ok(())
}

#[test]
fn the_test_command_shown_is_the_one_that_ci_runs() -> Result<()> {
    let gate = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run"))?;
    let run: Vec<&str> = gate.lines().map(str::trim).collect();
    let shown: Vec<String> =
        readme()?.iter().filter(|b| b.is_about_testing()).flat_map(Block::commands).collect();
    assert!(!shown.is_empty(), "the README does not say how to test");
    for command in shown {
        assert!(run.contains(&command.as_str()), ".ci/run does not run {command:?}");
    }
    Ok(())
}

#[test]
fn blocks_are_found_with_their_marks() {
    let text = "Text.\n```sh\n# why\nretold serve\n```\n<!-- it needs a key -->\n\n```sh no-run\nx\n\
                ```\n```console\n$ cargo run --release -- chat\nhello\n```\n";
    let found = blocks(text);
    assert_eq!(found.len(), 3);
    assert_eq!((found[0].line, found[0].commands()), (2, vec!["retold serve".to_owned()]));
    assert!(found[0].is_a_server() && !found[0].no_run);
    assert_eq!(found[0].script(1), "exec retold serve --port 1");
    assert!(found[1].no_run && found[1].above.ends_with("-->"));
    assert_eq!(found[2].script(1), "retold chat --url http://127.0.0.1:1");
}
