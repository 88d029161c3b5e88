//! Blocking turns: what one costs, and how many there can be.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::{Bench, Outcome, agents, client::Connection, figures::Samples};

/// Turns before the measured ones: connections are open, the tokenizer is loaded, caches are warm.
const WARM_UP: u64 = 30;
/// Connections, and turns under way at a time.
pub(crate) const CONCURRENCY: usize = 64;
/// Agents that a connection talks to in turn, so that prompts stay short: `history` measures what long ones cost.
const AGENTS_EACH: usize = 10;

/// One turn after the other, on one agent whose history is emptied now and then.
pub(crate) async fn one_by_one(bench: &mut Bench) -> Outcome<()> {
    let agent = agents::some(bench, "instant", 1).await?.remove(0);
    let mut connection = Connection::open(bench.server.address).await?;
    let mut added = Samples::default();
    let mut cpu = Duration::ZERO;
    let deadline = Instant::now() + Duration::from_secs(bench.options.seconds);
    let mut call = 0;
    while Instant::now() < deadline || added.len() < 100 {
        call += 1;
        let (begun, cpu_before) = (Instant::now(), bench.server.cpu()?);
        connection.turn(&agent, call).await?;
        let total = begun.elapsed();
        if call > WARM_UP {
            cpu += bench.server.cpu()?.saturating_sub(cpu_before);
            added.add(total.saturating_sub(upstream_time(bench, call)));
        }
        if call % 20 == 0 {
            let path = format!("/v1/agents/{agent}/reset-messages");
            connection.call("PATCH", &path, "{}").await?;
        }
    }
    let note = cpu_note(cpu, added.len(), "turn");
    bench.report.spread("blocking turn, one at a time: added", &mut added, &note);
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
    let cpu = bench.server.cpu()?;
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(bench.options.seconds);
    let all = try_join_all(agents.iter().map(|agents| turns(bench, agents, deadline))).await?;
    let took = begun.elapsed().as_secs_f64();
    let cpu = bench.server.cpu()? - cpu;
    let mut all: Samples = all.into_iter().flatten().collect();
    let rate = all.len() as f64 / took;
    let note = format!("{}; {}", all.spread(), cpu_note(cpu, all.len(), "turn"));
    bench.report.value("blocking turns per second, concurrency 64", format!("{rate:.0} /s"), &note);
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

/// CPU time of the server, by what was done with it.
pub(crate) fn cpu_note(cpu: Duration, count: usize, what: &str) -> String {
    format!("server {:.3} ms CPU a {what}", cpu.as_secs_f64() * 1e3 / count.max(1) as f64)
}
