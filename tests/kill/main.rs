//! `kill -9` on the real binary, again and again, with the ledger of what was acknowledged kept
//! outside its process.
//!
//! Each round starts the server on the same data directory, lets clients create, edit, talk,
//! stream and cancel for a moment, and kills it at a random instant, sometimes while it is still
//! recovering. What comes back must hold everything that was acknowledged: a status of success, or
//! a frame of a stream. `RETOLD_KILLS` sets the number of kills, `RETOLD_SEED` repeats the choices
//! of an earlier run (the scheduler's are its own). Must not know anything of the server but HTTP.

mod check;
mod clients;
mod counter;
mod http;
mod ledger;
mod random;
mod server;
mod tools;
mod upstream;

use std::io::Write as _;
use std::time::{Duration, Instant};

use ledger::Ledger;
use random::Random;
use server::Server;

/// What a helper answers: a broken promise of the server panics, a broken rig is an error.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Enough rounds to see every kind of crash many times in about a minute and a half.
const KILLS: u64 = 60;
/// How long the first answer after a start may take before the round is killed without one.
const WARM: Duration = Duration::from_secs(5);

/// One loop at a time: each says how soon a server is back, which another's load would belie.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9() -> Result<()> {
    let _alone = ALONE.lock().await;
    let kills = number("RETOLD_KILLS")?.unwrap_or(KILLS);
    let seed = number("RETOLD_SEED")?.unwrap_or_else(random::seed);
    say(&format!("kill loop: {kills} kills, RETOLD_SEED={seed}"));
    let mut random = Random::new(seed);
    let upstream = upstream::start().await?;
    let home = tempfile::tempdir()?;
    let ledger = Ledger::new();
    let mut restarts = Vec::new();
    let begun = Instant::now();

    for round in 0..kills {
        if random.one_in(6) {
            // A crash of the recovery itself: the server may not even have opened its store.
            let mut starting = Server::spawn(home.path(), &upstream)?;
            tokio::time::sleep(Duration::from_millis(random.below(60))).await;
            starting.kill()?;
        }
        let mut server = Server::spawn(home.path(), &upstream)?;
        restarts.push(server.ready().await?);
        check::after_restart(&server.url, &ledger, &mut random).await?;
        let before = ledger.figures().acknowledged();
        let load = clients::start(&server.url, &ledger, &mut random, round);
        let loaded = Instant::now();
        // Most kills wait for the load to get going; some hit the first requests.
        let patience = if random.one_in(5) { Duration::ZERO } else { WARM };
        while ledger.figures().acknowledged() == before && loaded.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.below(600))).await;
        server.kill()?;
        clients::finish(load).await?;
    }
    let mut server = Server::spawn(home.path(), &upstream)?;
    restarts.push(server.ready().await?);
    check::after_restart(&server.url, &ledger, &mut random).await?;
    check::everything(&server.url, &ledger).await?;
    server.kill()?;

    restarts.sort();
    let figures = ledger.figures();
    say(&format!(
        "kill loop: {kills} kills in {:.0} s; acknowledged: {figures}; \
         spawn to ready: median {} ms, worst {} ms",
        begun.elapsed().as_secs_f64(),
        restarts[restarts.len() / 2].as_millis(),
        restarts[restarts.len() - 1].as_millis(),
    ));
    figures.show_that_the_loop_bites(kills);
    Ok(())
}

fn number(name: &str) -> Result<Option<u64>> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value.parse().map_err(|_| format!("{name} is not a number"))?)),
        Err(_) => Ok(None),
    }
}

/// Prints past the test runner's capture, so that the figures are seen when all is well too.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
