//! `retold serve`: start, say so, wait, drain.

use std::{fmt::Display, time::Duration};

use super::{Exit, Process, block_on, complain, signals::Signals, start_log};
use crate::{
    banner::{Answer, Discovery, banner, discoveries},
    config::Config,
    server::Server,
};

/// How often the catalog is looked at for providers that have answered since. A person reads the result.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the server until a signal or a failure of the storage.
pub(super) fn run(config: &Config, process: &Process) -> Exit {
    if let Err(error) = config.check_exposure() {
        return complain(&error, Exit::Usage);
    }
    start_log(&config.log.value, process);
    block_on(serve(config, process))
}

async fn serve(config: &Config, process: &Process) -> Exit {
    // Taken first, so that a signal that comes while the log is read is not lost.
    let mut signals = match Signals::take() {
        Ok(signals) => signals,
        Err(error) => return complain(&error, Exit::Failed),
    };
    let server = match Server::start(config).await {
        Ok(server) => server,
        Err(error) if error.is_data_dir() => return complain(&error, Exit::DataDir),
        Err(error) => return complain(&error, Exit::Failed),
    };
    let known = discoveries(server.catalog());
    eprint!("{}", banner(config, server.address(), &known, process.started.elapsed()));
    tokio::select! {
        _ = signals.next() => drain(server, config.drain_deadline.value, &mut signals).await,
        why = server.failed() => storage_failed(&why),
        never = report_late(&server, known) => match never {},
    }
}

fn storage_failed(why: &impl Display) -> Exit {
    eprintln!("retold: the storage failed, so nothing more is acknowledged: {why}");
    Exit::Failed
}

/// Lets running answers end; a second signal gives up on them.
async fn drain(server: Server, deadline: Duration, signals: &mut Signals) -> Exit {
    eprintln!(
        "retold: stopping; no new runs, running ones have {} s to end (a second signal stops at once)",
        deadline.as_secs_f64()
    );
    let ended = async {
        tokio::select! {
            () = server.drain(deadline) => {}
            why = server.failed() => return storage_failed(&why),
        }
        server.stop().await;
        eprintln!("retold: stopped");
        Exit::Done
    };
    tokio::select! {
        exit = ended => exit,
        number = signals.next() => Exit::Signal(number),
    }
}

/// Says what providers answered that had not when the banner was printed. Readiness does not wait for them.
async fn report_late(server: &Server, mut known: Vec<Discovery>) -> std::convert::Infallible {
    while known.iter().any(|discovery| discovery.answer == Answer::Pending) {
        tokio::time::sleep(LOOK).await;
        let now = discoveries(server.catalog());
        for (before, after) in known.iter().zip(&now) {
            if before.answer == Answer::Pending && after.answer != Answer::Pending {
                eprintln!("retold: {}", after.line());
            }
        }
        known = now;
    }
    std::future::pending().await
}
