//! Blocking turns: what one costs, and how many there can be.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::{
    Bench, Outcome, agents,
    client::Connection,
    figures::{self, Samples},
};

/// Turns before the measured ones: connections are open, the tokenizer is loaded, caches are warm.
const WARM_UP: usize = 30;
/// Turns after which the one agent's prompt is emptied.
const RESET_EVERY: u64 = 20;
/// Connections, and turns under way at a time.
pub(crate) const CONCURRENCY: usize = 64;
/// Agents that a connection talks to in turn, so that prompts stay short: `history` measures what long ones cost.
const AGENTS_EACH: usize = 10;

/// One turn after the other, on one agent whose history is emptied now and then.
pub(crate) async fn one_by_one(bench: &mut Bench) -> Outcome<()> {
    let agent = agents::some(bench, "instant", 1).await?.remove(0);
    let mut connection = Connection::open(bench.server.address).await?;
    for _ in 0..WARM_UP {
        connection.turn(&agent, 0).await?;
    }
    let mut added = Samples::default();
    let cpu = bench.cpu()?;
    let deadline = Instant::now() + Duration::from_secs(bench.options.seconds);
    for call in 1.. {
        if call % RESET_EVERY == 1 {
            let path = format!("/v1/agents/{agent}/reset-messages");
            connection.call("PATCH", &path, "{}").await?;
        }
        let begun = Instant::now();
        if begun > deadline {
            break;
        }
        connection.turn(&agent, call).await?;
        added.add(begun.elapsed().saturating_sub(upstream_time(bench, call)));
    }
    let note = bench.cpu()?.since(cpu).note(added.len(), "turn");
    figures::spread("blocking turn, one at a time: added", &mut added, &note);
    Ok(())
}

/// How long the upstream had a call.
pub(crate) fn upstream_time(bench: &Bench, call: u64) -> Duration {
    bench.upstream.take(call).map_or(Duration::ZERO, |call| call.answered - call.asked)
}

/// Turns in 64 conversations at once.
pub(crate) async fn many(bench: &mut Bench) -> Outcome<()> {
    let agents = agents::some(bench, "instant", CONCURRENCY * AGENTS_EACH).await?;
    let agents: Vec<&[String]> = agents.chunks(AGENTS_EACH).collect();
    let warm_up = Instant::now() + Duration::from_secs(1);
    try_join_all(agents.iter().map(|agents| turns(bench, agents, warm_up))).await?;
    let cpu = bench.cpu()?;
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(bench.options.seconds);
    let all = try_join_all(agents.iter().map(|agents| turns(bench, agents, deadline))).await?;
    let took = begun.elapsed().as_secs_f64();
    let cpu = bench.cpu()?.since(cpu);
    let mut all: Samples = all.into_iter().flatten().collect();
    let rate = all.len() as f64 / took;
    let note = format!("{}; {}", all.spread(), cpu.note(all.len(), "turn"));
    figures::value("blocking turns per second, concurrency 64", &format!("{rate:.0} /s"), &note);
    Ok(())
}

/// One turn after the other, with one agent after the other.
async fn turns(bench: &Bench, agents: &[String], until: Instant) -> Outcome<Vec<Duration>> {
    let mut connection = Connection::open(bench.server.address).await?;
    let mut taken = Vec::new();
    for agent in agents.iter().cycle() {
        let begun = Instant::now();
        if begun >= until {
            break;
        }
        connection.turn(agent, 0).await?;
        taken.push(begun.elapsed());
    }
    Ok(taken)
}
