//! Stores in a process of their own, which may break without breaking the test.
//!
//! The process is this test binary again, told by a variable to be a child: it takes orders from standard input and
//! answers on standard output, a line each. Its memory has a limit, and who waits for it has a patience.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use retold_events::log::Log;
use retold_events::store::EventStore as _;

use crate::Result;
use crate::compare::{Model, Verdict, open};
use crate::random::Random;
use crate::script::{Script, Size};

const VARIABLE: &str = "RETOLD_STORAGE_CHILD";
const NAME: &str = "child::what_one_process_writes_another_reads";
/// Answers begin with it: the test harness prints too.
const MARK: &str = "@ ";
/// A store of some megabytes is opened and read within a second or two, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// Address space in KiB: many times what the stores need, and far less than a machine has.
const MEMORY_KIB: u64 = 3 << 20;

/// How a child answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The store holds exactly so many commits.
    Holds(u64),
    /// The store said that something is wrong: the kind of error, and its words.
    Refused(String, String),
    /// The store said nothing, and something is wrong.
    Broken(String),
    /// It panicked where it should have given an error.
    Panicked(String),
    /// The process is gone; how.
    Died(String),
    /// It did not answer in time.
    Hung,
}

/// What a store is asked to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) seed: u64,
    pub(crate) size: Size,
}

pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
    stderr: File,
}

impl Worker {
    /// Starts a child; `prepare` may change how.
    pub(crate) fn start(prepare: impl FnOnce(&mut Command) -> Result<()>) -> Result<Self> {
        let stderr = tempfile::tempfile()?;
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe()?)
            .args([NAME, "--exact", "--nocapture"])
            .env(VARIABLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone()?);
        prepare(&mut command)?;
        let mut child = command.spawn()?;
        let (orders, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(orders), Some(stdout)) = (orders, stdout) else { return Err("no pipes".into()) };
        let (sender, answers) = channel();
        // It ends with the child, whose end of the pipe it reads.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                if let Some(answer) = line.strip_prefix(MARK)
                    && sender.send(answer.to_owned()).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self { child, orders, answers, stderr })
    }

    /// Opens a store, reads all of it, compares it with its script, and, when it is well, writes one commit more.
    pub(crate) fn check(&mut self, told: Told<'_>, least: u64) -> Result<Answer> {
        let Told { dir, seed, size } = told;
        let (dir, size) = (dir.display(), size.name());
        self.ask(&format!("check\t{dir}\t{seed}\t{size}\t{least}"))
    }

    /// Opens a store and writes commits up to number `last`, noting each in `ledger` once it is acknowledged; then closes
    /// it, or leaves it as it is.
    pub(crate) fn write(
        &mut self,
        told: Told<'_>,
        ledger: &Path,
        last: u64,
        closes: bool,
    ) -> Result<Answer> {
        let Told { dir, seed, size } = told;
        let (dir, size, ledger) = (dir.display(), size.name(), ledger.display());
        self.ask(&format!("write\t{dir}\t{seed}\t{size}\t{last}\t{ledger}\t{closes}"))
    }

    fn ask(&mut self, order: &str) -> Result<Answer> {
        if writeln!(self.orders, "{order}").is_err() {
            return self.end();
        }
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => Answer::of(&answer).ok_or_else(|| format!("{answer:?}?").into()),
            Err(RecvTimeoutError::Timeout) => {
                self.child.kill()?;
                self.child.wait()?;
                Ok(Answer::Hung)
            }
            Err(RecvTimeoutError::Disconnected) => self.end(),
        }
    }

    fn end(&mut self) -> Result<Answer> {
        let status = self.child.wait()?;
        let how = match status.signal() {
            Some(signal) => format!("signal {signal}"),
            None => status.to_string(),
        };
        let (mut said, mut stderr) = (String::new(), &self.stderr);
        stderr.rewind()?;
        stderr.read_to_string(&mut said)?;
        let last: Vec<&str> = said.lines().rev().take(12).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Ok(Answer::Died(format!("{how}: {}", last.join(" | "))))
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that has ended already answers with an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    fn line(&self) -> String {
        let line = match self {
            Self::Holds(number) => format!("holds\t{number}"),
            Self::Refused(kind, words) => format!("refused\t{kind}\t{words}"),
            Self::Broken(what) => format!("broken\t{what}"),
            Self::Panicked(what) => format!("panicked\t{what}"),
            Self::Died(_) | Self::Hung => unreachable!("no process says so of itself"),
        };
        line.replace('\n', " ")
    }

    fn of(line: &str) -> Option<Self> {
        let mut fields = line.splitn(3, '\t');
        let mut field = || fields.next().map(str::to_owned);
        match field()?.as_str() {
            "holds" => Some(Self::Holds(field()?.parse().ok()?)),
            "refused" => Some(Self::Refused(field()?, field()?)),
            "broken" => Some(Self::Broken(field()?)),
            "panicked" => Some(Self::Panicked(field()?)),
            _ => None,
        }
    }
}

/// The other side: answers orders until there are none.
fn obey() -> Result<()> {
    let mut model: Option<(u64, Size, Model)> = None;
    // The harness has begun a line of its own.
    println!();
    for order in std::io::stdin().lines() {
        let order = order?;
        let fields: Vec<&str> = order.split('\t').collect();
        let [verb, dir, seed, size, number, rest @ ..] = &fields[..] else {
            return Err(format!("{order:?}?").into());
        };
        let size = Size::of(size).ok_or("no such size")?;
        let (seed, number): (u64, u64) = (seed.parse()?, number.parse()?);
        let told = Told { dir: Path::new(dir), seed, size };
        let known = model.take().filter(|(of, kind, _)| (*of, *kind) == (seed, size));
        let (_, _, model) =
            model.insert(known.unwrap_or_else(|| (seed, size, Model::new(seed, size))));
        let answer = catch_unwind(AssertUnwindSafe(|| match (*verb, rest) {
            ("check", []) => Ok(check(told, number, model)),
            ("write", [ledger, closes]) => {
                write(told, Path::new(ledger), number, *closes == "true")
            }
            _ => Err(format!("{order:?}?").into()),
        }));
        let answer = match answer {
            Ok(answer) => answer?,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                Answer::Panicked(text.unwrap_or("?").to_owned())
            }
        };
        println!("{MARK}{}", answer.line());
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn check(told: Told<'_>, least: u64, model: &mut Model) -> Answer {
    let refused = |error: retold_events::store::StoreError| {
        let kind = format!("{error:?}");
        let kind = kind.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
        Answer::Refused(kind, error.to_string())
    };
    let store = match open(told.dir) {
        Ok(store) => store,
        Err(error) => return refused(error),
    };
    let number = match model.judge(&store, least) {
        Verdict::Holds(number) => number,
        Verdict::Refused(error) => return refused(error),
        Verdict::Broken(what) => return Answer::Broken(what),
    };
    match store.append(&[model.next_after(number)]) {
        Ok(answers) if matches!(answers[..], [Ok(_)]) => {}
        Ok(answers) => return Answer::Broken(format!("the next commit: {answers:?}")),
        Err(error) => return refused(error),
    }
    match store.close() {
        Ok(()) => Answer::Holds(number),
        Err(error) => refused(error),
    }
}

fn write(told: Told<'_>, ledger: &Path, last: u64, closes: bool) -> Result<Answer> {
    let store = Arc::new(open(told.dir)?);
    let (table, key) = crate::script::LAST;
    let held =
        store.row(table, key)?.map_or(Ok(0), |row| row[..].try_into().map(u64::from_be_bytes))?;
    let mut script = Script::after(told.seed, told.size, held);
    let mut random = Random::new(told.seed ^ held);
    let frozen = ledger.with_file_name("FREEZE");
    let ledger = Arc::new(File::options().append(true).open(ledger)?);
    let log = Log::open(store);
    let (noted, answered) = channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        while script.number < last {
            // Commits that come together become a group.
            let count = if random.one_in(2) { 1 } else { 1 + random.below(9) };
            let mut tickets = Vec::new();
            for _ in 0..count.min(last - script.number) {
                let commit = script.next();
                let (number, ledger) = (script.number, Arc::clone(&ledger));
                let noted = noted.clone();
                let permit = log.reserve().await;
                tickets.push(log.submit(permit, commit, move |answer| {
                    if answer.is_ok() {
                        // A ledger that cannot be written shows as commits that nobody was told of.
                        let _ = (&*ledger).write_all(format!("{number}\n").as_bytes());
                    }
                    // Durable is a moment before noted.
                    let _ = noted.send(());
                }));
            }
            for ticket in tickets {
                log.durable(ticket).await?;
                answered.recv()?;
            }
        }
        if closes {
            log.close().await;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    if !closes {
        // Until the process is killed; a shim stops what goes on in the background, so that it is all written down.
        std::mem::forget(log);
        let _ = File::open(frozen);
    }
    Ok(Answer::Holds(last))
}

/// The rig itself; and, where the variable says so, a child.
#[test]
fn what_one_process_writes_another_reads() -> Result<()> {
    if std::env::var_os(VARIABLE).is_some() {
        return obey();
    }
    let home = tempfile::tempdir()?;
    let (dir, ledger) = (home.path().join("data"), home.path().join("ledger"));
    File::create(&ledger)?;
    let told = Told { dir: &dir, seed: 7, size: Size::Mixed };
    let mut writer = Worker::start(|_| Ok(()))?;
    assert_eq!(writer.write(told, &ledger, 40, false)?, Answer::Holds(40));
    let noted: Vec<u64> = std::fs::read_to_string(&ledger)?
        .lines()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    assert_eq!(noted, Vec::from_iter(1..=40));
    writer.kill()?;
    let mut reader = Worker::start(|_| Ok(()))?;
    assert_eq!(reader.check(told, 40)?, Answer::Holds(40));
    // The reader has written one more.
    assert_eq!(reader.check(told, 41)?, Answer::Holds(41));
    let answer = reader.check(told, 50)?;
    assert!(matches!(answer, Answer::Broken(_)), "{answer:?}");
    let other = Told { seed: 8, ..told };
    let answer = reader.check(other, 42)?;
    assert!(matches!(answer, Answer::Broken(_)), "{answer:?}");
    std::fs::write(dir.join("FORMAT"), "no number")?;
    let answer = reader.check(told, 40)?;
    assert!(matches!(&answer, Answer::Refused(kind, _) if kind == "Damaged"), "{answer:?}");
    Ok(())
}
