//! Folding is total: events in an order that no decision would allow change something or nothing, but nothing breaks.

use proptest::prelude::*;
use retold_events::{AgentId, Timestamp};
use retold_snapshots::{agent, block, mcp, tool};

use crate::{
    folding::{acts, cases},
    world::{Fact, World},
};

proptest! {
    #![proptest_config(cases(96))]

    /// Events of several agents, told to one of them, shuffled, some twice, some not at all.
    #[test]
    fn any_events_in_any_order_fold(
        acts in acts(150),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
    ) {
        let world = World::after(&acts)?;
        let first = world.agents[0].id;
        let mut state = world.agents[0].clone();
        let mut one = world.blocks.first().cloned();
        let mut other = world.tools.first().cloned();
        let mut server = world.servers.first().cloned();
        for index in order {
            match &world.facts[index.index(world.facts.len())] {
                Fact::Agent(_, at, event) => {
                    let rows = agent::project(&state, *at, event);
                    let both = agent::apply_and_project(&mut state, *at, event);
                    prop_assert_eq!(rows, both);
                }
                Fact::Tool(id, at, event) => {
                    let created_at = other.as_ref().map(|state| state.created_at);
                    prop_assert_eq!(tool::project(*id, created_at, *at, event).len(), 2);
                    if let Some(other) = &mut other {
                        tool::apply(other, *at, event);
                    }
                }
                Fact::McpServer(id, at, event) => {
                    let created_at = server.as_ref().map(|state| state.created_at);
                    prop_assert_eq!(mcp::project(*id, created_at, *at, event).len(), 1);
                    if let Some(server) = &mut server {
                        mcp::apply(server, *at, event);
                    }
                }
                Fact::Block(id, at, event) => {
                    let rows = block::project(*id, one.as_ref(), *at, event);
                    prop_assert!(!rows.is_empty());
                    if let Some(one) = &mut one {
                        block::apply(one, *at, event);
                    }
                }
            }
        }
        prop_assert_eq!(state.id, first);
        let bytes = postcard::to_stdvec(&state)?;
        prop_assert_eq!(&postcard::from_bytes::<agent::State>(&bytes)?, &state);
    }

    #[test]
    fn an_agent_without_messages_folds_all_the_same(seed in any::<u64>(), at in any::<i64>()) {
        let created = retold_events::agent::Created {
            config: crate::facts::config(&mut crate::facts::Choice::new(seed)),
            blocks: Vec::new(),
            tools: Vec::new(),
            messages: Vec::new(),
            compiled_from: Vec::new(),
        };
        let id = AgentId::from_uuid(uuid::Uuid::from_u128(1));
        let at = Timestamp::from_micros(at);
        let mut state = agent::State::created(id, at, &created);
        agent::apply_and_project(&mut state, at, &retold_events::agent::Event::Created(created));
        prop_assert_eq!(state.thread().total, 1);
    }
}
