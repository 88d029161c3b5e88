//! Streamed turns: the first token, the flow of tokens, and how soon a cancel reaches the provider.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::{
    Bench, Outcome, agents,
    client::{Connection, streamed_message},
    figures::{self, Samples},
    turns::{CONCURRENCY, upstream_time},
    upstream::{TOKEN, TOKENS},
    wire::find,
};

/// How long a cancelled call may stay open before the driver gives up on it.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
/// How often the driver looks whether it is closed; the instant itself is the upstream's.
const LOOK: Duration = Duration::from_micros(200);

/// Begins a streamed turn and reads up to the first token. Gives how long that took.
async fn begin(connection: &mut Connection, agent: &str, call: u64) -> Outcome<Duration> {
    let begun = Instant::now();
    let path = format!("/v1/agents/{agent}/messages/stream");
    connection.begin("POST", &path, &streamed_message(call)).await?;
    while let Some(piece) = connection.piece().await? {
        if find(&piece, TOKEN.as_bytes()).is_some() {
            return Ok(begun.elapsed());
        }
    }
    Err("a stream ended without a token".into())
}

/// Streams that trickle as a fast model does, 64 of them open at any time and begun one after the other; then 64 begun
/// at the same instant.
pub(crate) async fn first_token(bench: &mut Bench) -> Outcome<()> {
    let agents = agents::some(bench, "trickle", CONCURRENCY).await?;
    let deadline = Instant::now() + Duration::from_secs(bench.options.seconds + 1);
    let each = Duration::from_secs(1) / CONCURRENCY as u32;
    let bench_ref = &*bench;
    let reader = |(index, agent): (usize, &String)| {
        let agent = agent.clone();
        async move {
            let mut connection = Connection::open(bench_ref.server.address).await?;
            tokio::time::sleep(each * index as u32).await;
            let mut added = Vec::new();
            let mut turn = 0;
            while Instant::now() < deadline {
                let call = 1_000_000 + (index * 1000 + turn) as u64;
                let took = begin(&mut connection, &agent, call).await?;
                // The first turns open connections and load what is loaded once.
                if turn > 0 {
                    added.push(took.saturating_sub(upstream_time(bench_ref, call)));
                }
                connection.rest().await?;
                turn += 1;
            }
            Outcome::Ok(added)
        }
    };
    let all = try_join_all(agents.iter().enumerate().map(reader)).await?;
    let mut all: Samples = all.into_iter().flatten().collect();
    figures::spread("first token, 64 streams open: added", &mut all, "40 tokens/s each");

    let mut connections = Vec::new();
    for _ in &agents {
        connections.push(Connection::open(bench.server.address).await?);
    }
    let mut all = Samples::default();
    for round in 0..5 {
        let begun = connections.iter_mut().zip(&agents).enumerate().map(
            |(index, (connection, agent))| async move {
                begin(connection, agent, 2_000_000 + round * 1000 + index as u64).await
            },
        );
        let took = try_join_all(begun).await?;
        for (index, took) in took.into_iter().enumerate() {
            let call = 2_000_000 + round * 1000 + index as u64;
            all.add(took.saturating_sub(upstream_time(bench, call)));
        }
        try_join_all(connections.iter_mut().map(Connection::rest)).await?;
    }
    figures::spread("first token, 64 begun at one instant: added", &mut all, "");
    Ok(())
}

/// Answers of 2,000 tokens as fast as they can be sent, over 64 streams.
pub(crate) async fn tokens(bench: &mut Bench) -> Outcome<()> {
    let agents = agents::some(bench, "tokens", CONCURRENCY).await?;
    let cpu = bench.cpu()?;
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(bench.options.seconds);
    let bench_ref = &*bench;
    let reader = |agent: &String| {
        let agent = agent.clone();
        async move {
            let mut connection = Connection::open(bench_ref.server.address).await?;
            let (mut tokens, mut frames) = (0, 0);
            while Instant::now() < deadline {
                let path = format!("/v1/agents/{agent}/messages/stream");
                connection.begin("POST", &path, &streamed_message(0)).await?;
                let mut of_turn = 0;
                while let Some(piece) = connection.piece().await? {
                    of_turn += count(&piece, TOKEN.as_bytes());
                    frames += count(&piece, b"data: ");
                }
                if of_turn != TOKENS {
                    return Err(format!("{of_turn} of {TOKENS} tokens came").into());
                }
                tokens += of_turn;
            }
            Outcome::Ok((tokens, frames))
        }
    };
    let all = try_join_all(agents.iter().map(reader)).await?;
    let took = begun.elapsed().as_secs_f64();
    let cpu = bench.cpu()?.since(cpu);
    let (tokens, frames) =
        all.into_iter().fold((0, 0), |(tokens, frames), of| (tokens + of.0, frames + of.1));
    let rate = format!("{:.0} /s", tokens as f64 / took);
    let note = format!("in {frames} frames; {}", cpu.note(tokens / 1000, "1,000 tokens"));
    figures::value("streamed tokens per second, 64 streams", &rate, &note);
    Ok(())
}

/// How often `needle` is in `bytes`.
fn count(bytes: &[u8], needle: &[u8]) -> usize {
    let Some((&first, rest)) = needle.split_first() else { return 0 };
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
    starts.filter(|(index, _)| bytes[index + 1..].starts_with(rest)).count()
}

/// One silent stream after the other is cancelled, all of them open at first.
pub(crate) async fn cancel(bench: &mut Bench) -> Outcome<()> {
    let count = bench.options.silent;
    let agents = agents::some(bench, "silent", count).await?;
    let mut streams = Vec::with_capacity(count);
    for batch in agents.chunks(CONCURRENCY) {
        let opened = batch.iter().enumerate().map(|(index, agent)| {
            let (address, call) =
                (bench.server.address, 3_000_000 + (streams.len() + index) as u64);
            async move {
                let mut connection = Connection::open(address).await?;
                begin(&mut connection, agent, call).await?;
                Outcome::Ok(connection)
            }
        });
        let opened = try_join_all(opened).await?;
        streams.extend(opened);
    }
    let mut connection = Connection::open(bench.server.address).await?;
    let (mut to_closed, mut to_answer) = (Samples::default(), Samples::default());
    for (index, agent) in agents.iter().enumerate() {
        let call = 3_000_000 + index as u64;
        let begun = Instant::now();
        connection.call("POST", &format!("/v1/agents/{agent}/messages/cancel"), "{}").await?;
        to_answer.add(begun.elapsed());
        let closed = loop {
            match bench.upstream.closed(call) {
                Some(closed) => break closed,
                None if begun.elapsed() > CANCEL_LIMIT => {
                    return Err("a cancelled call stayed open".into());
                }
                None => tokio::time::sleep(LOOK).await,
            }
        };
        to_closed.add(closed.saturating_duration_since(begun));
    }
    let note = format!("{count} silent streams open at first");
    figures::spread("cancel to closed upstream socket", &mut to_closed, &note);
    figures::spread("cancel to its answer", &mut to_answer, &note);
    try_join_all(streams.iter_mut().map(Connection::rest)).await?;
    Ok(())
}
