//! Measures what an acknowledged commit costs here: `cargo run --release -p retold-events --example commit_rate [dir]`.
//!
//! Prints the latency of a lone commit, the rate of 64 concurrent writers, of lookups, and the time to open again. The
//! directory should be on the disk that will hold the data; by default it is a temporary one beside the current folder.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use retold_events::{
    AgentId, Encoded, EventType, NewEvent, Seq, StreamId, Timestamp,
    log::{AppendError, Log},
    store::{Append, Commit, EventStore, RowChange, SledOptions, SledStore, StoreError, Table},
};

const LONE_COMMITS: u64 = 3000;
const WRITERS: u128 = 64;
const COMMITS_PER_WRITER: u64 = 500;
const PAYLOAD_BYTES: usize = 300;

/// One event and the row that follows from it, as most commits of a run are.
fn commit(number: u128, expected: u64) -> Commit {
    let agent = AgentId::from_uuid(uuid::Uuid::from_u128(number));
    let event = NewEvent {
        id: ulid::Ulid::from_parts(expected, number),
        causation: ulid::Ulid::nil(),
        run: None,
        at: Timestamp::from_micros(0),
        encoded: Encoded {
            event_type: EventType(1),
            version: 1,
            payload: Bytes::from(vec![7; PAYLOAD_BYTES]),
        },
    };
    let stream = StreamId::Agent(agent);
    let row = RowChange {
        table: Table::Agents,
        key: agent.as_bytes().to_vec(),
        value: Some(Bytes::from(expected.to_be_bytes().to_vec())),
    };
    let appends = vec![Append { stream, expected: Seq(expected), events: vec![event] }];
    Commit { appends, rows: vec![row], ..Commit::default() }
}

fn report(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{name}: p50 {:?}, p99 {:?}, max {:?}", at(0.5), at(0.99), at(1.0));
}

async fn write(log: &Log, writer: u128, count: u64) -> Result<Vec<Duration>, AppendError> {
    let mut times = Vec::new();
    for number in 0..count {
        let start = Instant::now();
        log.append(commit(writer, number)).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

async fn measure(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let store = SledStore::open(dir, SledOptions::default())?;
    let log = Log::open(Arc::new(store));

    let mut times = write(&log, 1000, LONE_COMMITS).await?;
    report("lone commit", &mut times);

    let start = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let log = log.clone();
            tokio::spawn(async move { write(&log, writer, COMMITS_PER_WRITER).await })
        })
        .collect();
    let mut times = Vec::new();
    for writer in writers {
        times.extend(writer.await??);
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    println!("{WRITERS} writers: {rate:.0} commits/s of one event and one row");
    report("  each", &mut times);

    let mut times = Vec::new();
    let key = AgentId::from_uuid(uuid::Uuid::from_u128(5)).as_bytes().to_vec();
    for _ in 0..20_000 {
        let start = Instant::now();
        log.read_inline(|store| store.row(Table::Agents, &key)).await?;
        times.push(start.elapsed());
    }
    report("row lookup, inline", &mut times);

    let mut times = Vec::new();
    for _ in 0..2000 {
        let key = key.clone();
        let start = Instant::now();
        log.read(move |store| store.row(Table::Agents, &key)).await?;
        times.push(start.elapsed());
    }
    report("row lookup, blocking thread", &mut times);

    let mut times = Vec::new();
    let stream = StreamId::Agent(AgentId::from_uuid(uuid::Uuid::from_u128(1)));
    for _ in 0..200 {
        let start = Instant::now();
        let read = log.read(move |store| store.read_stream(stream, Seq(1), 500)).await?;
        times.push(start.elapsed());
        assert_eq!(read.len(), 500);
    }
    report("stream of 500 events", &mut times);
    log.close().await;
    drop(log);

    reopen(dir, "after a clean end")?;
    std::fs::remove_file(dir.join("CLEAN"))?;
    reopen(dir, "after a crash, with the trial copy")?;
    Ok(())
}

fn reopen(dir: &Path, name: &str) -> Result<(), StoreError> {
    let start = Instant::now();
    let store = SledStore::open(dir, SledOptions::default())?;
    println!("open {name}: {:?}, {} events", start.elapsed(), store.head().position.0);
    store.close()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1) {
        Some(dir) => measure(Path::new(&dir)).await,
        None => {
            let dir = tempfile::tempdir_in(".")?;
            measure(dir.path()).await
        }
    }
}
