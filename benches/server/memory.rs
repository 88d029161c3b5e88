//! Resident memory, on a server of its own: idle, with agents stored, with some awake, with subscribers.

use std::{path::Path, time::Duration};

use futures_util::future::try_join_all;
use serde_json::Value;

use crate::{
    Bench, Outcome, agents,
    client::{Connection, message},
    figures, machine, ms,
    process::Server,
};

/// Agents woken.
const AWAKE: usize = 1000;
/// Subscribers of one silent run.
const SUBSCRIBERS: usize = 5000;
/// Until what was asked for has settled.
const PAUSE: Duration = Duration::from_millis(1500);

/// Measures, then goes on with the server that was there before.
pub(crate) async fn measure(bench: &mut Bench, scratch: &Path) -> Outcome<()> {
    let dir = scratch.join("memory");
    let server = Server::start(&bench.options.binary, &dir, bench.upstream.address)?;
    let before = std::mem::replace(&mut bench.server, server);
    let measured = steps(bench).await;
    bench.server = before;
    measured
}

async fn steps(bench: &mut Bench) -> Outcome<()> {
    let idle = resident(bench).await?;
    figures::value("resident, idle, empty store", &mib(idle), "");
    let count = bench.options.agents.max(AWAKE + 100);
    let agents = agents::some(bench, "instant", count).await?;
    let mut connection = Connection::open(bench.server.address).await?;
    // What is loaded once is loaded now.
    for agent in &agents[..100] {
        wake(&mut connection, agent).await?;
        connection.turn(agent, 0).await?;
    }
    let stored = resident(bench).await?;
    figures::value(&format!("resident, {count} agents stored, 100 awake"), &mib(stored), "");
    let woken = &agents[100..100 + AWAKE];
    for agent in woken {
        wake(&mut connection, agent).await?;
    }
    let awake = resident(bench).await?;
    let each = (awake - stored) / AWAKE as f64;
    figures::value(&format!("resident, {AWAKE} more awake"), &mib(awake), &kib(each));
    for agent in woken {
        connection.turn(agent, 0).await?;
    }
    let used = resident(bench).await?;
    let each = (used - stored) / AWAKE as f64;
    figures::value("resident, after a turn of each", &mib(used), &kib(each));
    subscribe(bench, used).await?;
    restart(bench, count).await
}

/// Starts anew on the same store.
async fn restart(bench: &mut Bench, agents: usize) -> Outcome<()> {
    bench.server.stop()?;
    let stored = machine::bytes_below(&bench.server.dir)? as f64;
    bench.server = Server::start(&bench.options.binary, &bench.server.dir, bench.upstream.address)?;
    let what = format!("start to ready, {agents} agents stored");
    figures::value(&what, &ms(bench.server.took), &format!("{} on disk", mib(stored)));
    figures::value("resident after that", &mib(resident(bench).await?), "");
    Ok(())
}

/// Wakes an agent without writing anything.
async fn wake(connection: &mut Connection, agent: &str) -> Outcome<()> {
    connection.call("POST", &format!("/v1/agents/{agent}/recompile?dry_run=true"), "{}").await?;
    Ok(())
}

async fn subscribe(bench: &mut Bench, before: f64) -> Outcome<()> {
    let agent = agents::some(bench, "silent", 1).await?.remove(0);
    let mut connection = Connection::open(bench.server.address).await?;
    let path = format!("/v1/agents/{agent}/messages/async");
    let run: Value = serde_json::from_slice(&connection.call("POST", &path, &message(0)).await?)?;
    let run = run.get("id").and_then(Value::as_str).ok_or("a run has no id")?;
    let address = bench.server.address;
    let subscriber = |_| async move {
        let mut connection = Connection::open(address).await?;
        connection.begin("GET", &format!("/v1/runs/{run}/stream"), "").await?;
        Outcome::Ok(connection)
    };
    let subscribers = try_join_all((0..SUBSCRIBERS).map(subscriber)).await?;
    let after = resident(bench).await?;
    let each = (after - before) / SUBSCRIBERS as f64;
    let what = format!("resident, {SUBSCRIBERS} idle subscribers more");
    figures::value(&what, &mib(after), &kib(each));
    drop(subscribers);
    connection.call("POST", &format!("/v1/agents/{agent}/messages/cancel"), "{}").await?;
    Ok(())
}

async fn resident(bench: &Bench) -> Outcome<f64> {
    tokio::time::sleep(PAUSE).await;
    bench.server.resident_bytes()
}

fn mib(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

fn kib(bytes: f64) -> String {
    format!("{:.1} KiB each", bytes / 1024.0)
}
