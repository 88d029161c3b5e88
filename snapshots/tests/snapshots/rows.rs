//! Rows: those written with the events are those that a rebuild gives, and each of them reads back as it was written.

use bytes::Bytes;
use proptest::prelude::*;
use retold_events::{
    AgentId, BlockId, Message, Timestamp,
    store::{EventStore, Scan, Table},
};
use retold_snapshots::{
    agent::Ancestor,
    query,
    rebuild::{Rows, rebuild},
    row::{
        AgentRow, BlockRow, FeedbackRow, McpServerRow, RunRow, StepRow, TagOwner, ToolRow, decode,
        encode, tag_key, tag_of_key,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    folding::{acts, cases},
    world::{Outcome, World},
};

pub(crate) fn all_of(store: &dyn EventStore, table: Table) -> Outcome<Vec<(Bytes, Bytes)>> {
    Ok(store.rows(table, &Scan { limit: usize::MAX, ..Scan::default() })?)
}

pub(crate) fn stored(store: &dyn EventStore) -> Outcome<Rows> {
    let mut rows = Rows::new();
    for table in Table::ALL {
        for (key, value) in all_of(store, table)? {
            rows.insert((table, key.to_vec()), value);
        }
    }
    Ok(rows)
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
) -> Outcome {
    let row: T = decode(bytes)?;
    prop_assert_eq!(&encode(&row)[..], bytes);
    prop_assert_eq!(decode::<T>(&encode(&row))?, row);
    let long = [bytes, &[0]].concat();
    prop_assert!(decode::<T>(&long).is_err());
    prop_assert!(decode::<T>(&bytes[..bytes.len() - 1]).is_err());
    let other = [&[bytes[0] + 1], &bytes[1..]].concat();
    prop_assert!(decode::<T>(&other).is_err());
    Ok(())
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn rows_written_with_events_are_those_a_rebuild_gives(acts in acts(200)) {
        let world = World::after(&acts)?;
        prop_assert_eq!(stored(&world.store)?, rebuild(&world.store)?);
    }

    #[test]
    fn every_row_reads_back_as_it_was_written(acts in acts(120)) {
        let world = World::after(&acts)?;
        for ((table, _), value) in stored(&world.store)? {
            match table {
                Table::Agents => round_trip::<AgentRow>(&value)?,
                Table::Blocks => round_trip::<BlockRow>(&value)?,
                Table::Messages => round_trip::<Vec<Message>>(&value)?,
                Table::Runs => round_trip::<RunRow>(&value)?,
                Table::RunSteps => round_trip::<StepRow>(&value)?,
                Table::Feedback => round_trip::<FeedbackRow>(&value)?,
                Table::Ancestors => round_trip::<Vec<Ancestor>>(&value)?,
                Table::Tools => round_trip::<ToolRow>(&value)?,
                Table::ToolSources => round_trip::<String>(&value)?,
                Table::McpServers => round_trip::<McpServerRow>(&value)?,
                Table::Tags | Table::BlockAgents | Table::AgentRuns => {
                    prop_assert!(value.is_empty());
                }
                Table::OpenRuns | Table::Asked => prop_assert_eq!(value.len(), 16),
                Table::Waiting => round_trip::<Timestamp>(&value)?,
                Table::Steps => prop_assert_eq!(value.len(), 32),
            }
        }
    }

    #[test]
    fn every_thread_that_waits_for_a_decision_is_found(acts in acts(300)) {
        let world = World::after(&acts)?;
        let late = Timestamp::from_micros(i64::MAX);
        let found = query::waiting(&world.store, late, usize::MAX)?;
        for agent in world.agents.iter().filter(|agent| !agent.deleted) {
            let waits = agent.threads.values().any(|thread| thread.pending().is_some());
            prop_assert!(!waits || found.contains(&agent.id));
        }
    }

    #[test]
    fn rows_of_messages_never_reach_over_one_another(acts in acts(300)) {
        let world = World::after(&acts)?;
        let mut last = None;
        for (key, value) in all_of(&world.store, Table::Messages)? {
            for message in decode::<Vec<Message>>(&value)? {
                let place = (key[..16].to_vec(), message.id);
                prop_assert!(last.as_ref().is_none_or(|last| *last < place));
                last = Some(place);
            }
        }
    }

    #[test]
    fn the_row_of_an_agent_says_what_its_state_says(acts in acts(150)) {
        let world = World::after(&acts)?;
        for state in &world.agents {
            let row = query::agent(&world.store, state.id)?;
            prop_assert_eq!(row.is_none(), state.deleted);
            let Some(row) = row else { continue };
            prop_assert_eq!(&row.name, &state.config.name);
            prop_assert_eq!(&row.tags, &state.config.tags);
            prop_assert_eq!(row.created_at, state.created_at);
            prop_assert_eq!(row.updated_at, state.updated_at);
            prop_assert_eq!(row.last_run, state.last_run);
        }
    }

    #[test]
    fn a_tag_is_read_from_its_key(tag in "[^\0]{0,12}", id in any::<u128>()) {
        let uuid = Uuid::from_u128(id);
        let owners =
            [TagOwner::Agent(AgentId::from_uuid(uuid)), TagOwner::Block(BlockId::from_uuid(uuid))];
        for owner in owners {
            let key = tag_key(&tag, owner);
            prop_assert_eq!(tag_of_key(&key), Some(&tag[..]));
        }
    }
}
