//! Tools that users made: as acts of a [`World`], and as lists that are what a plain list would be.

use proptest::prelude::*;
use retold_events::{
    JsonText, Position, StreamId, Timestamp, ToolId,
    codec::Event as _,
    tool::{Created, Deleted, Event, Kind, Language, Requirement, Tool, Updated},
};
use retold_snapshots::{
    load,
    query::{self, Order, Page, ToolFilter, kind_word},
    tool as fold,
};
use uuid::Uuid;

use crate::{
    facts::{Choice, TAGS, strings},
    folding::{acts, cases},
    world::{Act, Fact, Outcome, World},
};

const NAMES: [&str; 4] = ["roll", "Roll_again", "weather", "x"];

/// Any tool.
fn tool(choice: &mut Choice) -> Tool {
    let kinds = [
        Kind::Custom { language: Language::Python },
        Kind::Custom { language: Language::TypeScript },
        Kind::ExternalMcp { server_name: "s".to_owned(), remote_name: "r".to_owned() },
    ];
    let kind = choice.of(&kinds).unwrap_or(Kind::Custom { language: Language::Python });
    let requests = Requirement { name: "requests".to_owned(), version: None };
    Tool {
        name: choice.of(&NAMES).unwrap_or_default().to_owned(),
        description: choice.maybe(&["Rolls."]).map(str::to_owned),
        source: matches!(kind, Kind::Custom { .. })
            .then(|| format!("def f(): return {}", choice.below(9))),
        kind,
        schema: JsonText::new(r#"{"name":"f"}"#),
        args_schema: choice.maybe(&["{}"]).map(JsonText::new),
        tags: strings(choice.some_of(&TAGS)),
        return_char_limit: 1 + choice.below(9) as u32,
        pip: choice.once_in(2).then(|| choice.some_of(std::slice::from_ref(&requests))),
        npm: None,
        default_requires_approval: choice.maybe(&[false, true]),
        parallel: choice.once_in(2),
        metadata: choice.maybe(&["{}"]).map(JsonText::new),
        project_id: None,
    }
}

impl World {
    /// Something happens to a tool, or a new one comes to be.
    pub(crate) fn act_on_tool(&mut self, kind: u8, choice: &mut Choice) -> Outcome {
        let there: Vec<usize> =
            (0..self.tools.len()).filter(|&index| !self.tools[index].deleted).collect();
        let at = self.tick(choice);
        match (kind, choice.of(&there)) {
            (43, Some(index)) => {
                let tool = tool(choice);
                self.happen_to_tool(index, at, Event::Updated(Updated { tool }))
            }
            (44, Some(index)) => self.happen_to_tool(index, at, Event::Deleted(Deleted {})),
            _ => self.create_tool(at, choice),
        }
    }

    fn create_tool(&mut self, at: Timestamp, choice: &mut Choice) -> Outcome {
        let id = ToolId::from_uuid(self.uuid(choice));
        let tool = tool(choice);
        self.tools.push(fold::State::created(id, at, tool.clone()));
        let event = Event::Created(Created { tool });
        let rows = fold::project(id, None, at, &event);
        self.facts.push(Fact::Tool(id, at, Box::new(event.clone())));
        self.append(StreamId::Tool(id), at, vec![event.encode()], rows)
    }

    fn happen_to_tool(&mut self, index: usize, at: Timestamp, event: Event) -> Outcome {
        let state = &mut self.tools[index];
        let id = state.id;
        let rows = fold::project(id, Some(state.created_at), at, &event);
        fold::apply(state, at, &event);
        self.facts.push(Fact::Tool(id, at, Box::new(event.clone())));
        self.append(StreamId::Tool(id), at, vec![event.encode()], rows)
    }
}

/// Histories in which much happens to tools.
fn busy() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec((42..45_u8, any::<u64>()), 1..60).prop_map(|mut acts| {
        acts.insert(0, (0, 1));
        acts
    })
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn a_tool_is_the_newest_of_its_events_at_every_moment(
        acts in busy(),
        moment in any::<prop::sample::Index>(),
    ) {
        let world = World::after(&acts)?;
        let count = moment.index(world.facts.len() + 1);
        for live in &world.tools {
            let loaded = load::tool(&world.store, live.id, None)?;
            prop_assert_eq!(loaded.map(|loaded| loaded.state), Some(live.clone()));
            let mut by_hand = None;
            for fact in &world.facts[..count] {
                match fact {
                    Fact::Tool(id, at, event) if *id == live.id => match &mut by_hand {
                        None => by_hand = fold::State::begin(*id, *at, event),
                        Some(state) => fold::apply(state, *at, event),
                    },
                    Fact::Tool(..) | Fact::Agent(..) | Fact::Block(..) | Fact::McpServer(..) => {}
                }
            }
            let then = load::tool(&world.store, live.id, Some(Position(count as u64)))?;
            prop_assert_eq!(then.map(|loaded| loaded.state), by_hand);
        }
    }

    #[test]
    fn a_list_of_tools_is_what_a_plain_list_would_be(acts in acts(60), more in busy(), seed in any::<u64>()) {
        let acts: Vec<Act> = acts.into_iter().chain(more).collect();
        let world = World::after(&acts)?;
        let choice = &mut Choice::new(seed);
        let ids: Vec<ToolId> = world.tools.iter().map(|state| state.id).collect();
        let filter = ToolFilter {
            names: strings(choice.some_of(&NAMES)),
            ids: choice.once_in(3).then(|| choice.some_of(&ids)),
            search: choice.maybe(&["roll", "AGAIN", ""]).map(str::to_owned),
            kinds: strings(choice.some_of(&[query::CUSTOM, query::EXTERNAL_MCP])),
            other_kinds_than: strings(choice.some_of(&[query::CUSTOM])),
        };
        let order = choice.of(&[Order::Asc, Order::Desc]).unwrap_or_default();
        let mut wanted: Vec<_> = world
            .tools
            .iter()
            .filter(|state| !state.deleted)
            .filter(|state| filter.matches(state.id, &state.tool.name, kind_word(&state.tool.kind)))
            .map(|state| (state.id, state.clone().into_row()))
            .collect();
        wanted.sort_by_key(|(id, _)| *id);
        if order == Order::Desc {
            wanted.reverse();
        }
        let nobody = |_| false;
        let whole = query::tools(&world.store, &filter, &Page::first(usize::MAX, order), nobody)?;
        prop_assert_eq!(&whole, &wanted);
        prop_assert_eq!(query::count_tools(&world.store, &filter)?, wanted.len());
        let mut walked = Vec::new();
        let mut page = Page::first(2, order);
        loop {
            let part = query::tools(&world.store, &filter, &page, nobody)?;
            let Some((last, _)) = part.last() else { break };
            page.after = Some(*last);
            walked.extend(part);
        }
        prop_assert_eq!(&walked, &wanted);
        for (id, row) in wanted {
            prop_assert_eq!(query::tool(&world.store, id)?, Some(row));
        }
    }
}

#[test]
fn a_cursor_must_name_a_tool_that_was_there_once_or_that_is_known_otherwise() -> Outcome {
    let world = World::after(&[(0, 1), (42, 2), (44, 3), (42, 4)])?;
    let cursor = |id| Page { after: Some(id), ..Page::first(9, Order::Asc) };
    let filter = ToolFilter::default();
    let gone = world.tools.iter().find(|state| state.deleted).map(|state| state.id);
    let gone = gone.ok_or_else(|| TestCaseError::fail("one was deleted"))?;
    assert_eq!(query::tools(&world.store, &filter, &cursor(gone), |_| false)?.len(), 1);
    let never = ToolId::from_uuid(Uuid::from_u128(1));
    assert!(query::tools(&world.store, &filter, &cursor(never), |_| false).is_err());
    assert_eq!(query::tools(&world.store, &filter, &cursor(never), |id| id == never)?.len(), 1);
    Ok(())
}
