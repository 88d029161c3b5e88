//! Making agents: as a figure, and for the other sections.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;

use crate::{
    Bench, Outcome,
    client::Connection,
    figures::{self, Samples},
};

/// Agents made at a time.
const AT_ONCE: usize = 64;

/// Agents per second, each with two blocks of its own.
pub(crate) async fn create(bench: &mut Bench) -> Outcome<()> {
    let cpu = bench.cpu()?;
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(bench.options.seconds);
    let maker = |_| async {
        let mut connection = Connection::open(bench.server.address).await?;
        let mut taken = Vec::new();
        while Instant::now() < deadline {
            let begun = Instant::now();
            one(&mut connection, "instant").await?;
            taken.push(begun.elapsed());
        }
        Outcome::Ok(taken)
    };
    let all = try_join_all((0..AT_ONCE).map(maker)).await?;
    let took = begun.elapsed().as_secs_f64();
    let cpu = bench.cpu()?.since(cpu);
    let mut all: Samples = all.into_iter().flatten().collect();
    let rate = all.len() as f64 / took;
    let note = format!("{}; {}", all.spread(), cpu.note(all.len(), "agent"));
    figures::value("agents created per second", &format!("{rate:.0} /s"), &note);
    Ok(())
}

/// `count` new agents of a model.
pub(crate) async fn some(bench: &Bench, model: &str, count: usize) -> Outcome<Vec<String>> {
    let left = Cell::new(count);
    let maker = |_| async {
        let mut connection = Connection::open(bench.server.address).await?;
        let mut made = Vec::new();
        while left.get() > 0 {
            left.set(left.get() - 1);
            made.push(one(&mut connection, model).await?);
        }
        Outcome::Ok(made)
    };
    let made = try_join_all((0..AT_ONCE.min(count)).map(maker)).await?;
    Ok(made.into_iter().flatten().collect())
}

async fn one(connection: &mut Connection, model: &str) -> Outcome<String> {
    let body = format!(
        r#"{{"name":"bench","model":"openai/{model}","memory_blocks":[{{"label":"persona","value":"I am an agent that answers at once and says little."}},{{"label":"human","value":"The user measures how fast things are."}}]}}"#
    );
    connection.call_for_id("POST", "/v1/agents/", &body).await
}
