//! A swarm of readers that come late, leave, change from one transport to another and outlive the
//! server, over several runs at once; and one auditor.
//!
//! Every reader keeps a cursor and a hash of each thing it was shown. The server is killed with
//! SIGKILL or stopped with SIGTERM while they read, and started again. At the end each of them must
//! have seen exactly what the log holds: no gap, nothing twice, the same bytes over server-sent
//! events and over WebSockets. `RETOLD_SUBSCRIBERS` sets their number, `RETOLD_SEED` repeats the
//! choices of an earlier swarm (the scheduler's are its own). Must not know anything of the server
//! but its wire.

mod audit;
mod figures;
mod progress;
#[path = "../kill/random.rs"]
mod random;
mod runs;
mod server;
mod sse;
mod subscriber;
#[path = "../kill/upstream.rs"]
mod upstream;
mod ws;

use std::{
    io::Write as _,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use figures::Figures;
use random::Random;
use server::Server;
use subscriber::Subscriber;
use tokio::{sync::watch, time::timeout};

/// What a helper answers: a broken promise of the server panics, a broken rig is an error.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Enough to have every transport at every kind of moment; some twenty seconds.
const SUBSCRIBERS: u64 = 300;
/// Times the server goes away and comes back.
const RESTARTS: u64 = 4;
/// A reader that has not seen the ends of its runs this long after the last of them waits for something that does not
/// come.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reader_sees_what_the_log_holds() -> Result<()> {
    let subscribers = number("RETOLD_SUBSCRIBERS")?.unwrap_or(SUBSCRIBERS);
    let seed = number("RETOLD_SEED")?.unwrap_or_else(random::seed);
    say(&format!("swarm: {subscribers} subscribers, RETOLD_SEED={seed}"));
    let mut random = Random::new(seed);
    let upstream = upstream::start().await?;
    let home = tempfile::tempdir()?;
    let figures = Arc::new(Figures::default());
    let begun = Instant::now();

    let (address, current) = watch::channel(None);
    let mut server = Server::spawn(home.path(), &upstream).await?;
    address.send_replace(Some(server.address));
    let mut runs = Vec::new();
    let mut readers = Vec::new();
    for round in 0..=RESTARTS {
        runs.extend(runs::start(server.address, &mut random).await?);
        // Some of them take up runs of earlier rounds, long ended or cut by a crash.
        for _ in 0..share(subscribers, round) {
            let reader = Subscriber::new(&runs, &mut random, Arc::clone(&figures));
            readers.push(tokio::spawn(reader.read_all(current.clone())));
        }
        if round == RESTARTS {
            break;
        }
        tokio::time::sleep(Duration::from_millis(400 + random.below(1200))).await;
        let gently = random.one_in(2);
        figures.restarted(gently);
        if gently {
            // Its address holds until the end: streams are to hear theirs.
            server.terminate().await?;
        } else {
            server.kill()?;
        }
        address.send_replace(None);
        server = Server::spawn(home.path(), &upstream).await?;
        address.send_replace(Some(server.address));
    }
    let mut found = Vec::new();
    for reader in readers {
        found.extend(timeout(PATIENCE, reader).await.map_err(|_| "a reader waits for ever")???);
    }
    audit::audit(server.address, &found, &figures).await?;
    server.kill()?;
    say(&format!(
        "swarm: {} readings of {} runs in {:.0} s; {figures}",
        found.len(),
        runs.len(),
        begun.elapsed().as_secs_f64()
    ));
    figures.show_that_the_swarm_bites(subscribers);
    Ok(())
}

/// How many readers come in a round; together they are all.
fn share(subscribers: u64, round: u64) -> u64 {
    let rounds = RESTARTS + 1;
    subscribers * (round + 1) / rounds - subscribers * round / rounds
}

fn number(name: &str) -> Result<Option<u64>> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value.parse().map_err(|_| format!("{name} is not a number"))?)),
        Err(_) => Ok(None),
    }
}

/// The one client, since making one is slow; none of its connections serves twice.
fn client() -> reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        // An error means that one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
        client.build().expect("a plain client")
    });
    CLIENT.clone()
}

/// Prints past the test runner's capture, so that the figures are seen when all is well too.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
