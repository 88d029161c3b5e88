//! `retold serve`: start, say so, wait, drain.

use std::{
    fmt::Display,
    io::{Write, stderr},
    time::Duration,
};

use super::{Exit, Process, block_on, complain, say, signals::Signals, start_log};
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
    let tools = process.tools(config);
    let started = tokio::select! {
        started = Server::start(config, Some(tools.clone())) => started,
        number = signals.next() => return Exit::Signal(number),
    };
    let server = match started {
        Ok(server) => server,
        Err(error) if error.is_data_dir() => return complain(&error, Exit::DataDir),
        Err(error) => return complain(&error, Exit::Failed),
    };
    let known = discoveries(server.catalog());
    let banner = banner(config, server.address(), &known, process.started.elapsed());
    // Nobody may be reading, which is no reason not to serve.
    let _ = stderr().lock().write_all(banner.as_bytes());
    // Finding out what keeps tools in takes a moment, so it is said after the server is ready.
    tokio::spawn(async move {
        tools.found().await;
    });
    tokio::select! {
        _ = signals.next() => drain(server, config.drain_deadline.value, &mut signals).await,
        why = server.failed() => storage_failed(server, &why, &mut signals).await,
        never = report_late(&server, known) => match never {},
    }
}

/// Ends the process, after those who are waiting have been told that nothing of theirs was kept.
async fn storage_failed(server: Server, why: &impl Display, signals: &mut Signals) -> Exit {
    say(format_args!("the storage failed, so nothing more is acknowledged: {why}"));
    tokio::select! {
        () = server.stop() => Exit::Failed,
        number = signals.next() => Exit::Signal(number),
    }
}

/// Lets running answers end; a second signal gives up on them.
async fn drain(server: Server, deadline: Duration, signals: &mut Signals) -> Exit {
    say(format_args!(
        "stopping; no new runs, running ones have {} s to end (a second signal stops at once)",
        deadline.as_secs_f64()
    ));
    let failure = tokio::select! {
        () = server.drain(deadline) => None,
        why = server.failed() => Some(why),
        number = signals.next() => return Exit::Signal(number),
    };
    if let Some(why) = failure {
        return storage_failed(server, &why, signals).await;
    }
    tokio::select! {
        () = server.stop() => {
            say("stopped");
            Exit::Done
        }
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
                say(after.line());
            }
        }
        known = now;
    }
    std::future::pending().await
}
