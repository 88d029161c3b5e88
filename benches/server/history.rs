//! What history costs: the same turn with little of it, with much of it behind, and with much of it in the prompt.

use std::time::Instant;

use crate::{
    Bench, Outcome, agents,
    client::Connection,
    figures::{self, Samples},
    turns::upstream_time,
};

/// Messages sent at once while history is made.
const AT_ONCE: usize = 99;
/// Measured turns of each agent.
const ROUNDS: u64 = 150;
/// Turns after which the prompt is emptied, so that it stays small where it is to be small.
const RESET_EVERY: u64 = 10;

/// Turns of four agents in turn, so that what else the machine does meets all alike.
pub(crate) async fn measure(bench: &mut Bench) -> Outcome<()> {
    let agents = agents::some(bench, "instant", 4).await?;
    let mut connection = Connection::open(bench.server.address).await?;
    // Messages behind the agent, and whether they stay in its prompt.
    let cases = [(10, false), (2_000, false), (10_000, false), (2_000, true)];
    for (agent, (messages, stays)) in agents.iter().zip(cases) {
        grow(&mut connection, agent, messages, stays).await?;
    }
    let mut added = cases.map(|_| Samples::default());
    for round in 0..ROUNDS {
        for (index, (agent, (_, stays))) in agents.iter().zip(cases).enumerate() {
            if round % RESET_EVERY == 0 && !stays {
                reset(&mut connection, agent).await?;
            }
            let call = 4_000_000 + round * 10 + index as u64;
            let begun = Instant::now();
            connection.turn(agent, call).await?;
            let total = begun.elapsed();
            added[index].add(total.saturating_sub(upstream_time(bench, call)));
        }
    }
    let base = added[0].quantile(0.5).as_secs_f64();
    for ((messages, stays), samples) in cases.iter().zip(&mut added) {
        let place = if *stays { "in the prompt" } else { "behind it" };
        let what = format!("turn with {messages} messages {place}: added");
        let note = format!("{:.2} x", samples.quantile(0.5).as_secs_f64() / base);
        figures::spread(&what, samples, &note);
    }
    Ok(())
}

async fn grow(
    connection: &mut Connection,
    agent: &str,
    messages: usize,
    stays: bool,
) -> Outcome<()> {
    let path = format!("/v1/agents/{agent}/messages");
    let mut left = messages;
    while left > 1 {
        // Those and the answer.
        let now = AT_ONCE.min(left - 1);
        left -= now + 1;
        let all = vec![r#"{"role":"user","content":"This was said a while ago."}"#; now].join(",");
        connection.call("POST", &path, &format!(r#"{{"messages":[{all}]}}"#)).await?;
        if !stays {
            reset(connection, agent).await?;
        }
    }
    Ok(())
}

async fn reset(connection: &mut Connection, agent: &str) -> Outcome<()> {
    connection.call("PATCH", &format!("/v1/agents/{agent}/reset-messages"), "{}").await?;
    Ok(())
}
