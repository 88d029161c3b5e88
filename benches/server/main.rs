//! The load driver: starts the server's release binary on a directory of its own, with an upstream of its own that
//! answers at once, and measures what the server adds.
//!
//! Driver, upstream and server share the machine, and everything is durable: figures are of the whole path, a socket
//! to a socket. A figure without the machine is worth nothing, so each comes with the load it was taken under, and
//! with the CPU time the server used for it, which a busy machine bends least. Nothing here is asserted: it measures.
//! It uses nothing of the server but its HTTP and its `ready` line.

mod agents;
mod client;
mod figures;
mod history;
mod machine;
mod memory;
mod options;
mod process;
mod streams;
mod turns;
mod upstream;
mod wire;

use std::{process::ExitCode, time::Duration};

use machine::Cpu;
use options::{Options, Section};
use process::Server;
use upstream::Upstream;

/// What can go wrong in a driver: all of it ends the section.
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Failure>;

/// A section that takes longer is given up: the whole run stays bounded whatever the server does.
const SECTION_LIMIT: Duration = Duration::from_secs(60);
/// Agents made per second, at the least: many of them take longer than that.
const SLOWEST_RATE: u64 = 200;

/// What every section works with.
struct Bench {
    options: Options,
    upstream: Upstream,
    server: Server,
}

impl Bench {
    /// CPU time that server and driver have used.
    fn cpu(&self) -> Outcome<Cpu> {
        Ok(Cpu { server: self.server.cpu()?, driver: machine::cpu(std::process::id())? })
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        // `cargo test --benches` runs this too: there is nothing to test.
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    // One thread for the driver and one for the upstream: they are to leave the machine to the server.
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(run(options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("the driver failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Outcome<()> {
    let scratch = tempfile::Builder::new().prefix("bench-").tempdir_in(&options.dir)?;
    println!("{}", machine::describe(scratch.path())?);
    let upstream = Upstream::start()?;
    let server = Server::start(&options.binary, &scratch.path().join("store"), upstream.address)?;
    figures::value("start to ready, empty store", &ms(server.took), "");
    let mut bench = Bench { options, upstream, server };
    let limit = SECTION_LIMIT
        + Duration::from_secs(bench.options.agents as u64 / SLOWEST_RATE + bench.options.seconds);
    for section in bench.options.sections.clone() {
        let measured = async {
            match section {
                Section::Turns => turns::one_by_one(&mut bench).await,
                Section::Load => turns::many(&mut bench).await,
                Section::First => streams::first_token(&mut bench).await,
                Section::Tokens => streams::tokens(&mut bench).await,
                Section::Cancel => streams::cancel(&mut bench).await,
                Section::Create => agents::create(&mut bench).await,
                Section::History => history::measure(&mut bench).await,
                Section::Memory => memory::measure(&mut bench, scratch.path()).await,
                Section::Start => start(&mut bench),
            }
        };
        match tokio::time::timeout(limit, measured).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => println!("{section:?} failed: {failure}"),
            Err(_) => println!("{section:?} was given up after {} s", limit.as_secs()),
        }
    }
    bench.server.stop()?;
    println!("{}", machine::fsync_line(scratch.path())?);
    Ok(())
}

/// Starts on what the sections before left behind: after a stop as it should be, and after a kill.
fn start(bench: &mut Bench) -> Outcome<()> {
    bench.server.stop()?;
    let stored = machine::bytes_below(&bench.server.dir)? as f64 / 1e6;
    bench.server = Server::start(&bench.options.binary, &bench.server.dir, bench.upstream.address)?;
    let note = format!("{stored:.0} MB on disk");
    figures::value("start to ready, store of this run", &ms(bench.server.took), &note);
    bench.server.kill()?;
    bench.server = Server::start(&bench.options.binary, &bench.server.dir, bench.upstream.address)?;
    figures::value("start to ready, the same after kill -9", &ms(bench.server.took), &note);
    Ok(())
}

/// A time as it is printed.
fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
