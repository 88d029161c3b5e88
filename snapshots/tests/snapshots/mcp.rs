//! MCP servers that users made known: as acts of a [`World`], and as lists that are what a plain list would be.

use proptest::prelude::*;
use retold_events::{
    McpServerId, Position, Sealed, Secret, StreamId, Timestamp,
    codec::Event as _,
    mcp::{Created, Deleted, Event, Remote, Server, Transport, Updated},
};
use retold_snapshots::{
    load, mcp as fold,
    query::{self, Order, Page},
};
use uuid::Uuid;

use crate::{
    facts::{Choice, strings},
    folding::{acts, cases},
    world::{Act, Fact, Outcome, World},
};

/// Any server.
fn server(choice: &mut Choice) -> Server {
    let sealed = Sealed { owner: [5; 16], bytes: vec![1, choice.below(9) as u8] };
    let secrets: Vec<Secret> = strings(choice.some_of(&["TOKEN", "X-Team"]))
        .into_iter()
        .map(|name| Secret { name, value: sealed.clone() })
        .collect();
    let remote = Remote {
        url: format!("https://mcp{}.example/", choice.below(9)),
        auth_header: choice.maybe(&["X-Api-Key"]).map(str::to_owned),
        auth_token: choice.once_in(2).then_some(sealed),
        custom_headers: secrets.clone(),
    };
    let transport = match choice.below(3) {
        0 => Transport::StreamableHttp(remote),
        1 => Transport::Sse(remote),
        _ => Transport::Stdio {
            command: "npx".to_owned(),
            args: strings(choice.some_of(&["-y", "files"])),
            env: secrets,
        },
    };
    Server { name: choice.of(&["files", "notes"]).unwrap_or_default().to_owned(), transport }
}

impl World {
    /// Something happens to an MCP server, or a new one is made known.
    pub(crate) fn act_on_server(&mut self, kind: u8, choice: &mut Choice) -> Outcome {
        let there: Vec<usize> =
            (0..self.servers.len()).filter(|&index| !self.servers[index].deleted).collect();
        let at = self.tick(choice);
        match (kind, choice.of(&there)) {
            (46, Some(index)) => {
                let server = server(choice);
                self.happen_to_server(index, at, Event::Updated(Updated { server }))
            }
            (47, Some(index)) => self.happen_to_server(index, at, Event::Deleted(Deleted {})),
            _ => self.create_server(at, choice),
        }
    }

    fn create_server(&mut self, at: Timestamp, choice: &mut Choice) -> Outcome {
        let id = McpServerId::from_uuid(self.uuid(choice));
        let server = server(choice);
        self.servers.push(fold::State::created(id, at, server.clone()));
        let event = Event::Created(Created { server });
        let rows = fold::project(id, None, at, &event);
        self.facts.push(Fact::McpServer(id, at, Box::new(event.clone())));
        self.append(StreamId::McpServer(id), at, vec![event.encode()], rows)
    }

    fn happen_to_server(&mut self, index: usize, at: Timestamp, event: Event) -> Outcome {
        let state = &mut self.servers[index];
        let id = state.id;
        let rows = fold::project(id, Some(state.created_at), at, &event);
        fold::apply(state, at, &event);
        self.facts.push(Fact::McpServer(id, at, Box::new(event.clone())));
        self.append(StreamId::McpServer(id), at, vec![event.encode()], rows)
    }
}

/// Histories in which much happens to MCP servers.
fn busy() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec((45..48_u8, any::<u64>()), 1..60).prop_map(|mut acts| {
        acts.insert(0, (0, 1));
        acts
    })
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn an_mcp_server_is_the_newest_of_its_events_at_every_moment(
        acts in busy(),
        moment in any::<prop::sample::Index>(),
    ) {
        let world = World::after(&acts)?;
        let count = moment.index(world.facts.len() + 1);
        for live in &world.servers {
            let loaded = load::mcp_server(&world.store, live.id, None)?;
            prop_assert_eq!(loaded.map(|loaded| loaded.state), Some(live.clone()));
            let mut by_hand = None;
            for fact in &world.facts[..count] {
                match fact {
                    Fact::McpServer(id, at, event) if *id == live.id => match &mut by_hand {
                        None => by_hand = fold::State::begin(*id, *at, event),
                        Some(state) => fold::apply(state, *at, event),
                    },
                    Fact::McpServer(..) | Fact::Tool(..) | Fact::Agent(..) | Fact::Block(..) => {}
                }
            }
            let then = load::mcp_server(&world.store, live.id, Some(Position(count as u64)))?;
            prop_assert_eq!(then.map(|loaded| loaded.state), by_hand);
        }
    }

    #[test]
    fn a_list_of_mcp_servers_is_what_a_plain_list_would_be(acts in acts(60), more in busy(), newest_first in any::<bool>()) {
        let acts: Vec<Act> = acts.into_iter().chain(more).collect();
        let world = World::after(&acts)?;
        let order = if newest_first { Order::Desc } else { Order::Asc };
        let there = world.servers.iter().filter(|state| !state.deleted);
        let mut wanted: Vec<_> = there.map(|state| (state.id, state.clone().into_row())).collect();
        wanted.sort_by_key(|(id, _)| *id);
        prop_assert_eq!(&query::all_mcp_servers(&world.store)?, &wanted);
        if newest_first {
            wanted.reverse();
        }
        let whole = query::mcp_servers(&world.store, &Page::first(usize::MAX, order))?;
        prop_assert_eq!(&whole, &wanted);
        let mut walked = Vec::new();
        let mut page = Page::first(2, order);
        loop {
            let part = query::mcp_servers(&world.store, &page)?;
            let Some((last, _)) = part.last() else { break };
            page.after = Some(*last);
            walked.extend(part);
        }
        prop_assert_eq!(&walked, &wanted);
        for (id, row) in wanted {
            prop_assert_eq!(query::mcp_server(&world.store, id)?, Some(row));
        }
    }
}

#[test]
fn a_cursor_must_name_an_mcp_server_that_was_there_once() -> Outcome {
    let world = World::after(&[(0, 1), (45, 2), (47, 3), (45, 4)])?;
    let cursor = |id| Page { after: Some(id), ..Page::first(9, Order::Asc) };
    let gone = world.servers.iter().find(|state| state.deleted).map(|state| state.id);
    let gone = gone.ok_or_else(|| TestCaseError::fail("one was deleted"))?;
    assert_eq!(query::mcp_servers(&world.store, &cursor(gone))?.len(), 1);
    let never = McpServerId::from_uuid(Uuid::from_u128(1));
    assert!(query::mcp_servers(&world.store, &cursor(never)).is_err());
    Ok(())
}
