//! The past: at every moment of any history, its rows are those of a log that ends there.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
};

use proptest::prelude::*;
use retold_events::{
    AgentId, Encoded, EventType, Message, NewEvent, Position, Record, Role, Seq, StreamId,
    Timestamp, agent,
    codec::Event as _,
    store::{Append, Commit, EventStore, MemoryStore, RowChange, Scan, Table},
};
use retold_snapshots::{
    load::LoadError,
    past::{Bounds, Past, PastError, Tables},
    query::{self, MessageFilter, Order, Page},
    rebuild::{Rows, rebuild},
    row::{RunRow, StepRow, decode},
};

use crate::{
    facts::{self, Choice},
    folding::{acts, cases},
    rows::all_of,
    world::{Outcome, World},
};

static GOING: AtomicBool = AtomicBool::new(false);

const BOUNDS: Bounds<'static> = Bounds { max_bytes: usize::MAX, stop: &GOING };

/// Tables that are not of one agent's messages.
fn of_all() -> Vec<Table> {
    Table::ALL.into_iter().filter(|&table| table != Table::Messages).collect()
}

fn fail(error: impl std::fmt::Debug) -> TestCaseError {
    TestCaseError::fail(format!("{error:?}"))
}

/// A log that ends at a moment, with the rows that belong to it.
#[derive(Default)]
struct Prefix {
    store: MemoryStore,
    rows: Rows,
}

impl Prefix {
    /// Lets one more thing happen.
    fn take(&mut self, record: &Record) -> Outcome {
        let Record { stream, seq, id, causation, run, at, ref encoded, .. } = *record;
        let event = NewEvent { id, causation, run, at, encoded: encoded.clone() };
        let append = Append { stream, expected: Seq(seq.0 - 1), events: vec![event] };
        self.append(Commit { appends: vec![append], ..Commit::default() })?;
        let rows = rebuild(&self.store)?;
        let gone = self.rows.keys().filter(|key| !rows.contains_key(key)).cloned();
        let mut changes: Vec<RowChange> =
            gone.map(|(table, key)| RowChange { table, key, value: None }).collect();
        changes.extend(rows.iter().map(|((table, key), value)| RowChange {
            table: *table,
            key: key.clone(),
            value: Some(value.clone()),
        }));
        self.append(Commit { rows: changes, ..Commit::default() })?;
        self.rows = rows;
        Ok(())
    }

    fn append(&self, commit: Commit) -> Outcome {
        for answer in self.store.append(&[commit])? {
            answer?;
        }
        Ok(())
    }

    /// The rows that one agent's events left.
    fn of(&self, agent: AgentId) -> Outcome<Rows> {
        let mut rows = Rows::new();
        for ((table, key), value) in &self.rows {
            if self.is_of(agent, *table, key, value)? {
                rows.insert((*table, key.clone()), value.clone());
            }
        }
        Ok(rows)
    }

    fn is_of(&self, agent: AgentId, table: Table, key: &[u8], value: &[u8]) -> Outcome<bool> {
        let id = &agent.as_bytes()[..];
        Ok(match table {
            Table::Agents | Table::Ancestors => key == id,
            // A tag's key names the kind of its owner before the owner.
            Table::Tags => key.ends_with(&[&[1], id].concat()),
            Table::Blocks | Table::Tools | Table::ToolSources | Table::McpServers => false,
            Table::BlockAgents => key.ends_with(id),
            Table::Messages | Table::AgentRuns | Table::Waiting => key.starts_with(id),
            Table::Asked => key.ends_with(id),
            Table::Runs => decode::<RunRow>(value)?.agent == agent,
            Table::OpenRuns => value == id,
            Table::RunSteps => decode::<StepRow>(value)?.agent == agent,
            Table::Steps => value.ends_with(id),
            Table::Feedback => {
                let step = self.rows.get(&(Table::Steps, key.to_vec()));
                step.is_some_and(|owners| owners.ends_with(id))
            }
        })
    }
}

fn rows_of(past: &Past, tables: &[Table]) -> Outcome<Rows> {
    let mut rows = Rows::new();
    for &table in tables {
        for (key, value) in all_of(past, table)? {
            prop_assert_eq!(past.row(table, &key)?, Some(value.clone()));
            rows.insert((table, key.to_vec()), value);
        }
    }
    Ok(rows)
}

fn history(store: &dyn EventStore, agent: AgentId) -> Outcome<Vec<Message>> {
    let page = Page::first(usize::MAX, Order::Asc);
    Ok(query::messages(store, agent, &MessageFilter::default(), &page)?)
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn at_every_position_the_past_has_the_rows_of_a_log_that_ends_there(acts in acts(90)) {
        let World { store, .. } = World::after(&acts)?;
        let live: Arc<dyn EventStore> = Arc::new(store);
        let records = live.read_all(Position(1), usize::MAX)?;
        let streams: BTreeSet<StreamId> = records.iter().map(|record| record.stream).collect();
        let agents: Vec<AgentId> = streams
            .iter()
            .filter_map(|stream| match stream {
                StreamId::Agent(id) => Some(*id),
                StreamId::Block(_) | StreamId::Tool(_) | StreamId::McpServer(_) => None,
            })
            .collect();
        let mut prefix = Prefix::default();
        for record in &records {
            prefix.take(record)?;
            let position = record.position;
            let tables = Tables::of(&of_all());
            let past =
                Past::of_server(Arc::clone(&live), position, tables, BOUNDS).map_err(fail)?;
            let mut wanted = prefix.rows.clone();
            wanted.retain(|(table, _), _| *table != Table::Messages);
            prop_assert_eq!(rows_of(&past, &of_all())?, wanted, "{:?}", position);
            for &stream in &streams {
                prop_assert_eq!(past.stream_head(stream)?, prefix.store.stream_head(stream)?);
            }
            prop_assert_eq!(past.head().at, prefix.store.head().at);
            for &agent in &agents {
                let past =
                    Past::of_agent(Arc::clone(&live), agent, position, BOUNDS).map_err(fail)?;
                let mut rows = rows_of(&past, &of_all())?;
                let prefixed = Scan {
                    prefix: agent.as_bytes().to_vec(),
                    limit: usize::MAX,
                    ..Scan::default()
                };
                for (key, value) in past.rows(Table::Messages, &prefixed)? {
                    rows.insert((Table::Messages, key.to_vec()), value);
                }
                prop_assert_eq!(rows, prefix.of(agent)?, "{} at {:?}", agent, position);
                prop_assert_eq!(history(&past, agent)?, history(&prefix.store, agent)?);
            }
        }
    }
}

/// Appends one event to a stream.
fn append(store: &MemoryStore, stream: StreamId, expected: u64, encoded: Encoded) -> Outcome {
    let nil = ulid::Ulid::nil();
    let at = Timestamp::from_micros(1);
    let event = NewEvent { id: nil, causation: nil, run: None, at, encoded };
    let append = Append { stream, expected: Seq(expected), events: vec![event] };
    for answer in store.append(&[Commit { appends: vec![append], ..Commit::default() }])? {
        answer?;
    }
    Ok(())
}

/// A small world, its store, and its last position.
fn small() -> Outcome<(World, u64)> {
    let world = World::after(&[(0, 1), (2, 2), (0, 3), (7, 4), (17, 5), (20, 6), (24, 7)])?;
    let head = world.store.head().position.0;
    Ok((world, head))
}

#[test]
fn a_history_that_cannot_be_read_hides_no_other() -> Outcome {
    let (World { store, agents, .. }, head) = small()?;
    let (broken, whole) = (agents[0].id, agents[1].id);
    let stream = StreamId::Agent(broken);
    let unknown =
        Encoded { event_type: EventType(60_000), version: 1, payload: bytes::Bytes::new() };
    append(&store, stream, store.stream_head(stream)?.0, unknown)?;
    let renamed = agent::Configured {
        config: agent::Config {
            name: "after".to_owned(),
            ..agent::Config::clone(&agents[1].config)
        },
    };
    let renamed = agent::Event::Configured(renamed).encode();
    let other = StreamId::Agent(whole);
    append(&store, other, store.stream_head(other)?.0, renamed)?;
    let live: Arc<dyn EventStore> = Arc::new(store);
    let position = Position(head + 2);
    let past = Past::of_server(Arc::clone(&live), position, Tables::AGENTS, BOUNDS);
    let past = past.map_err(fail)?;
    assert_eq!(past.unreadable().len(), 1);
    assert!(query::agent(&past, broken)?.is_some(), "its row is as it was");
    let name = query::agent(&past, whole)?.map(|row| row.name);
    assert_eq!(name.as_deref(), Some("after"));
    let alone = Past::of_agent(Arc::clone(&live), broken, position, BOUNDS);
    assert!(matches!(alone, Err(PastError::Load(LoadError::Event { .. }))), "{alone:?}");
    let before = Past::of_agent(live, broken, Position(head), BOUNDS).map_err(fail)?;
    assert!(query::agent(&before, broken)?.is_some(), "before that it can be read");
    Ok(())
}

#[test]
fn a_past_has_bounds_and_can_be_given_up() -> Outcome {
    let (World { store, agents, .. }, head) = small()?;
    let live: Arc<dyn EventStore> = Arc::new(store);
    let tiny = Bounds { max_bytes: 100, stop: &GOING };
    let of_server =
        |bounds| Past::of_server(Arc::clone(&live), Position(head), Tables::AGENTS, bounds);
    let of_agent = |bounds| Past::of_agent(Arc::clone(&live), agents[0].id, Position(head), bounds);
    assert!(matches!(of_server(tiny), Err(PastError::TooLarge { max_bytes: 100 })));
    assert!(matches!(of_agent(tiny), Err(PastError::TooLarge { max_bytes: 100 })));
    let stopped = AtomicBool::new(true);
    let stopped = Bounds { max_bytes: usize::MAX, stop: &stopped };
    assert!(matches!(of_server(stopped), Err(PastError::Stopped)));
    assert!(matches!(of_agent(stopped), Err(PastError::Stopped)));
    Ok(())
}

#[test]
fn the_past_of_a_long_history_is_small() -> Outcome {
    let (mut world, _) = small()?;
    let choice = &mut Choice::new(1);
    let long = "It was the best of times, it was the worst of times. ".repeat(500);
    for _ in 0..40 {
        let at = world.tick(choice);
        let mut messages = vec![Message::clone(&world.agents[0].thread().system)];
        messages.push(facts::message(world.message_id(choice), Role::User, &long, at));
        let replaced = agent::ContextReplaced { conversation: None, messages };
        world.happen(0, at, vec![agent::Event::ContextReplaced(replaced)])?;
    }
    let World { store, agents, .. } = world;
    let (agent, position) = (agents[0].id, store.head().position);
    let live: Arc<dyn EventStore> = Arc::new(store);
    let past = Past::of_agent(live, agent, position, BOUNDS).map_err(fail)?;
    let said: usize = history(&past, agent)?.iter().map(|message| message.text().len()).sum();
    assert!(said > 1 << 20, "{said} bytes were said");
    assert!(past.bytes() < 20 << 10, "{} bytes are held", past.bytes());
    Ok(())
}

#[test]
fn a_past_is_not_written_and_says_what_it_does_not_hold() -> Outcome {
    let (World { store, .. }, head) = small()?;
    let live: Arc<dyn EventStore> = Arc::new(store);
    let past = Past::of_server(live, Position(head), Tables::AGENTS, BOUNDS).map_err(fail)?;
    assert!(past.append(&[Commit::default()]).is_err());
    assert!(past.row(Table::Runs, &[0; 16]).is_err(), "an empty answer would be a lie");
    assert!(past.row(Table::Agents, &[0; 16])?.is_none());
    Ok(())
}
