//! What a call of an empty tool costs: with an interpreter waiting, and without.
//!
//! `cargo bench --bench tools [-- CALLS [PYTHON]]`. A block of lines per layer that works here. Nothing is asserted: it measures.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use retold_tools::cage::{Cage, CageOptions, Helper, Job, Layer, Status, child_main};

const EMPTY: &str = "def empty():\n    return 'done'\n";

fn main() -> ExitCode {
    // This program keeps its own calls, as a server does.
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == "__cage").is_some() {
        return child_main(arguments);
    }
    let (flags, arguments): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    if !flags.iter().any(|flag| flag == "--bench") {
        // `cargo test --benches` runs this too: there is nothing to test.
        return ExitCode::SUCCESS;
    }
    match measure(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn measure(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let calls: usize = arguments.first().map_or(Ok(200), |calls| calls.parse())?;
    let data = std::env::temp_dir().join(format!("retold-round-trip-{}", std::process::id()));
    std::fs::create_dir_all(&data)?;
    for layer in [Layer::Namespaces, Layer::UserNamespaces, Layer::Landlock] {
        let helper = Helper { program: std::env::current_exe()?, arguments: vec!["__cage".into()] };
        let mut options = CageOptions::new(data.clone(), helper);
        options.layers = Some(vec![layer]);
        options.python = arguments.get(1).map(Into::into);
        let started = Instant::now();
        let cage = Cage::start(options).await;
        if cage.layer() != layer {
            println!("{layer}: not here ({})", cage.missing().join("; "));
            continue;
        }
        println!("{layer} (found in {:.1} ms)", milliseconds(started.elapsed()));
        let started = Instant::now();
        call(&cage).await?;
        println!("  the first call      {:8.2} ms", milliseconds(started.elapsed()));
        report("warm", &paced(&cage, calls).await?);
        report("one after another", &in_turns(&cage, calls / 2).await?);
    }
    std::fs::remove_dir_all(&data)?;
    Ok(())
}

async fn call(cage: &Cage) -> Result<Duration, Box<dyn std::error::Error>> {
    let started = Instant::now();
    let outcome = cage.run(Job::python(EMPTY, "empty")).await?;
    let took = started.elapsed();
    if matches!(&outcome.status, Status::Returned { text, .. } if text == "done") {
        return Ok(took);
    }
    Err(format!("{outcome:?}").into())
}

/// Calls that each find an interpreter waiting.
async fn paced(cage: &Cage, calls: usize) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let mut took = Vec::new();
    for _ in 0..calls {
        while cage.ready() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        took.push(call(cage).await?);
    }
    Ok(took)
}

/// Calls without a pause, faster than interpreters start.
async fn in_turns(cage: &Cage, calls: usize) -> Result<Vec<Duration>, Box<dyn std::error::Error>> {
    let mut took = Vec::new();
    for _ in 0..calls {
        took.push(call(cage).await?);
    }
    Ok(took)
}

fn report(name: &str, took: &[Duration]) {
    let mut took = took.to_vec();
    took.sort();
    let at = |share: f64| {
        let place = ((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1));
        took.get(place).copied().map_or(0.0, milliseconds)
    };
    println!(
        "  {name:<19} p50 {:6.2} ms  p99 {:6.2} ms  ({} calls)",
        at(0.5),
        at(0.99),
        took.len()
    );
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
