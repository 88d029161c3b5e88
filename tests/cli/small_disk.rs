//! A small file system of its own for a data directory, which can really be full.
//!
//! It is a tmpfs in a mount namespace that a sleeping process holds, so nothing of it is seen from
//! outside, and nothing stays when the test ends, whichever way. It takes the right to mount.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::program::{Home, Running};

pub(crate) struct SmallDisk {
    holder: Running,
    /// Where it is inside the namespace.
    dir: PathBuf,
}

impl SmallDisk {
    /// `None` where mounting is not permitted, which is said.
    pub(crate) fn mount(home: &Home, mebibytes: u32) -> Result<Option<Self>> {
        Self::mount_with(home, &format!("size={mebibytes}m"))
    }

    /// The same, with more to say of it than its size.
    pub(crate) fn mount_with(home: &Home, options: &str) -> Result<Option<Self>> {
        let dir = home.path().join("disk");
        fs::create_dir(&dir)?;
        let script = format!(
            "mount -t tmpfs -o {options},mode=700 tmpfs \"$0\" && echo mounted && exec sleep 600"
        );
        let mut command = home.program("unshare", &["--mount", "sh", "-c", &script]);
        command.arg(&dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut holder) = Running::spawn(&mut command) else { return Ok(not_here()) };
        let mut line = String::new();
        if let Some(stdout) = holder.child().stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        Ok(if line == "mounted\n" { Some(Self { holder, dir }) } else { not_here() })
    }

    /// A program that sees it.
    fn inside(&mut self, home: &Home, program: &str, arguments: &[&str]) -> Command {
        let holder = self.holder.child().id().to_string();
        let mut command = home.program("nsenter", &["--mount", "--target", &holder, program]);
        command.args(arguments);
        command
    }

    /// Where a server that sees it keeps its data.
    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A server with its data on it.
    pub(crate) fn serve(&mut self, home: &Home) -> Command {
        let data = self.data();
        let arguments = ["serve", "--port", "0", "--data-dir", data.to_str().unwrap_or_default()];
        self.inside(home, env!("CARGO_BIN_EXE_retold"), &arguments)
    }

    /// From now on nothing on it can be changed.
    pub(crate) fn make_read_only(&mut self, home: &Home) -> Result<()> {
        let dir = self.dir.clone();
        let arguments = ["-o", "remount,ro", dir.to_str().unwrap_or_default()];
        let done = self.inside(home, "mount", &arguments).status()?;
        if done.success() { Ok(()) } else { Err(format!("remount: {done}").into()) }
    }

    /// Fills it until there is only about so much left.
    pub(crate) fn fill_up_to(&mut self, left: u64) -> Result<()> {
        let seen = self.seen();
        let mut filler = fs::File::options().create(true).append(true).open(seen.join("filler"))?;
        let bytes = free(&seen)?.saturating_sub(left);
        Ok(filler.write_all(&vec![0; usize::try_from(bytes)?])?)
    }

    /// Gives back what [`SmallDisk::fill_up_to`] took.
    pub(crate) fn clear(&mut self) -> Result<()> {
        Ok(fs::remove_file(self.seen().join("filler"))?)
    }

    /// Where it is seen from outside the namespace.
    pub(crate) fn seen(&mut self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.child().id()));
        root.join(self.dir.strip_prefix("/").unwrap_or(&self.dir))
    }
}

fn not_here<T>() -> Option<T> {
    crate::say("no small disk: mounting is not permitted here, so this test shows nothing");
    None
}

fn free(dir: &Path) -> Result<u64> {
    let answer =
        Command::new("stat").args(["--file-system", "--format=%a %S"]).arg(dir).output()?;
    let answer = String::from_utf8(answer.stdout)?;
    let mut numbers = answer.split_whitespace().map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(blocks), Some(size)) => Ok(blocks? * size?),
        _ => Err(format!("stat says {answer:?}").into()),
    }
}
