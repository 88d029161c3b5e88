//! Forks: they begin as their parents stood, whatever these did since, and a list does not show the seam.

use proptest::prelude::*;
use retold_events::{
    AgentId, BlockId, MessageId, Position, Seq, StreamId, Timestamp, agent, block,
    codec::Event as _, store::EventStore,
};
use retold_snapshots::{
    agent as agent_state, block as block_state, load,
    query::{self, BlockVersion, MessageFilter, Order, Page, VersionKind},
};

use crate::{
    facts::Choice,
    folding::{acts, cases},
    reference::{answer, ordered, page_of, some_page},
    world::{Fact, History, Outcome, World, enter},
};

impl World {
    /// An agent and its history as they stood at a moment, found in the plainest way: from the first event on.
    pub(crate) fn at(
        &self,
        id: AgentId,
        moment: Position,
    ) -> Option<(agent_state::State, History)> {
        let mut found: Option<(agent_state::State, History)> = None;
        for fact in &self.facts[..moment.0 as usize] {
            let Fact::Agent(of, at, event) = fact else { continue };
            if *of != id {
                continue;
            }
            if found.is_none() {
                if let agent::Event::Created(created) = &**event {
                    let state = agent_state::State::created(id, *at, created);
                    found = Some((state, History::new()));
                } else if let agent::Event::Forked(forked) = &**event {
                    let (parent, history) = self.at(forked.parent, forked.position)?;
                    let state = agent_state::State::forked(id, *at, forked, &parent);
                    found = Some((state, history));
                }
            }
            let (state, history) = found.as_mut()?;
            enter(history, state, event);
            agent_state::apply(state, *at, event);
        }
        found
    }

    /// A block as it stood at a moment, and the place of its last event.
    fn block_at(&self, id: BlockId, moment: Position) -> Option<(block_state::State, Seq)> {
        let mut found: Option<(block_state::State, Seq)> = None;
        for fact in &self.facts[..moment.0 as usize] {
            let Fact::Block(of, at, event) = fact else { continue };
            match &mut found {
                _ if *of != id => {}
                Some((state, seq)) => {
                    block_state::apply(state, *at, event);
                    *seq = seq.next();
                }
                None => {
                    found = block_state::State::begin(id, *at, event).map(|state| (state, Seq(1)));
                }
            }
        }
        found
    }

    /// Events of an agent up to a moment.
    fn count_events(&self, id: AgentId, moment: Position) -> Seq {
        let facts = &self.facts[..moment.0 as usize];
        let own = facts.iter().filter(|fact| matches!(fact, Fact::Agent(of, ..) if *of == id));
        Seq(own.count() as u64)
    }

    /// Forks an agent, as of now or of any moment when it was there.
    pub(crate) fn fork_agent(&mut self, choice: &mut Choice) -> Outcome {
        let all = self.facts.len();
        let moment = if choice.once_in(2) { all } else { choice.below(all) + 1 };
        let moment = Position(moment as u64);
        let Some(parent) = choice.of(&self.agents).map(|agent| agent.id) else { return Ok(()) };
        let Some((state, _)) = self.at(parent, moment).filter(|(state, _)| !state.deleted) else {
            return Ok(());
        };
        let at = self.tick(choice);
        let id = AgentId::from_uuid(self.uuid(choice));
        let mut blocks = Vec::new();
        for &from in &state.blocks {
            let Some((original, version)) = self.block_at(from, moment) else { continue };
            if !original.deleted {
                let block = self.fork_block(&original, version, at, choice)?;
                blocks.push(agent::BlockFork { from, version, block });
            }
        }
        let forked = agent::Forked {
            parent,
            seq: self.count_events(parent, moment),
            position: moment,
            name: format!("{} (fork)", state.config.name),
            blocks,
        };
        self.agents.push(agent_state::State::forked(id, at, &forked, &state));
        let compiled = agent::SystemCompiled {
            conversation: None,
            text: format!("compiled for {id}"),
            tokens: 9,
            compiled_at: at,
            compiled_from: Vec::new(),
        };
        let events = vec![agent::Event::Forked(forked), agent::Event::SystemCompiled(compiled)];
        let index = self.agents.len() - 1;
        self.happen(index, at, events)?;
        if choice.once_in(2) { self.save(index) } else { Ok(()) }
    }

    fn fork_block(
        &mut self,
        original: &block_state::State,
        version: Seq,
        at: Timestamp,
        choice: &mut Choice,
    ) -> Outcome<BlockId> {
        let id = BlockId::from_uuid(self.uuid(choice));
        let forked = block::Forked {
            from: original.id,
            version,
            inherited: original.inherited + version.0,
            block: original.block.clone(),
        };
        self.blocks.push(block_state::State::forked(id, at, &forked));
        let event = block::Event::Forked(forked);
        let rows = block_state::project(id, None, at, &event);
        self.facts.push(Fact::Block(id, at, Box::new(event.clone())));
        self.append(StreamId::Block(id), at, vec![event.encode()], rows)?;
        Ok(id)
    }

    /// Every fork there is, with the event that made it.
    fn forks(&self) -> Vec<(AgentId, Timestamp, agent::Forked)> {
        let forked = |fact: &Fact| {
            let Fact::Agent(id, at, event) = fact else { return None };
            let agent::Event::Forked(forked) = &**event else { return None };
            Some((*id, *at, forked.clone()))
        };
        self.facts.iter().filter_map(forked).collect()
    }

    /// The versions of a block, oldest first, in the plainest way.
    fn versions(&self, id: BlockId) -> Vec<(VersionKind, block::Block)> {
        let mut versions: Vec<(VersionKind, block::Block)> = Vec::new();
        for fact in &self.facts {
            let Fact::Block(of, _, event) = fact else { continue };
            if *of != id {
                continue;
            }
            let version = match &**event {
                block::Event::Created(created) => (VersionKind::Created, created.block.clone()),
                block::Event::Edited(edited) => (
                    edited.restored.map_or(VersionKind::Edited, VersionKind::Restored),
                    edited.block.clone(),
                ),
                block::Event::Forked(forked) => {
                    versions = self.versions(forked.from);
                    versions.truncate(forked.inherited as usize);
                    (VersionKind::Forked(forked.from), forked.block.clone())
                }
                block::Event::Deleted(_) => {
                    let (_, last) = versions.last().cloned().expect("only what is there goes");
                    (VersionKind::Deleted, last)
                }
            };
            versions.push(version);
        }
        versions
    }
}

fn history_of(store: &dyn EventStore, agent: AgentId) -> Outcome<History> {
    let page = Page::first(usize::MAX, Order::Asc);
    let found = query::messages(store, agent, &MessageFilter::default(), &page)?;
    Ok(found.into_iter().map(|message| (message.id, message)).collect())
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn a_fork_is_its_parent_of_that_moment_without_what_was_under_way(acts in acts(250)) {
        let world = World::after(&acts)?;
        for (id, at, forked) in world.forks() {
            let (parent, _) = world.at(forked.parent, forked.position)
                .ok_or_else(|| TestCaseError::fail("it was there"))?;
            let begins = load::agent_to(&world.store, id, Seq(1))?;
            let begins = begins.ok_or_else(|| TestCaseError::fail("the fork is there"))?.state;
            prop_assert_eq!(&begins, &agent_state::State::forked(id, at, &forked, &parent));
            prop_assert!(begins.open_runs.is_empty() && begins.callbacks.is_empty());
            prop_assert_eq!(begins.last_run, None);
            prop_assert_eq!(&begins.tools, &parent.tools);
            prop_assert_eq!(begins.thread().total, parent.thread().total);
            prop_assert_eq!(&begins.thread().context, &parent.thread().context);
            let named = agent::Config { name: forked.name.clone(), ..agent::Config::clone(&parent.config) };
            prop_assert_eq!(&*begins.config, &named);
            let blocks: Vec<BlockId> = forked.blocks.iter().map(|copy| copy.block).collect();
            prop_assert_eq!(&begins.blocks, &blocks);
            for copy in &forked.blocks {
                let (original, _) = world.block_at(copy.from, forked.position)
                    .ok_or_else(|| TestCaseError::fail("it was there"))?;
                let copied = load::block(&world.store, copy.block, None)?;
                let first = world.versions(copy.block)[original.inherited as usize + copy.version.0 as usize].clone();
                prop_assert_eq!(first, (VersionKind::Forked(copy.from), original.block));
                prop_assert!(copied.is_some());
            }
        }
    }

    /// Whatever parents do afterwards, a fork's history begins with what had been said by then and with nothing else:
    /// no message that a run was about to say, no summary that found its place among them, no later system message.
    #[test]
    fn a_fork_has_what_was_said_until_then_and_nothing_of_what_its_parents_said_since(acts in acts(300)) {
        let world = World::after(&acts)?;
        for (id, _, forked) in world.forks() {
            let (parent, inherited) = world.at(forked.parent, forked.position)
                .ok_or_else(|| TestCaseError::fail("it was there"))?;
            let history = history_of(&world.store, id)?;
            let until: Vec<MessageId> =
                history.range(..=parent.last_message).map(|(id, _)| *id).collect();
            prop_assert_eq!(until, inherited.keys().copied().collect::<Vec<_>>());
            let system = parent.thread().system.id;
            for (id, message) in inherited.iter().filter(|(id, _)| **id != system) {
                prop_assert_eq!(history.get(id), Some(message));
            }
        }
    }

    #[test]
    fn the_history_of_a_block_is_the_list_of_its_versions(acts in acts(250), seed in any::<u64>()) {
        let world = World::after(&acts)?;
        let choice = &mut Choice::new(seed);
        for id in world.blocks.iter().map(|block| block.id) {
            let versions = world.versions(id);
            let numbers: Vec<u64> = (1..=versions.len() as u64).collect();
            for _ in 0..6 {
                let page = some_page(choice, &numbers, 0);
                let wanted = page_of(&ordered(&numbers, page.order), &page, |number| {
                    let (kind, content) = versions.get(number as usize - 1).cloned()?;
                    Some((number, kind, content))
                });
                let found = query::block_history(&world.store, id, &page).map(Option::unwrap_or_default);
                let seen = |version: BlockVersion| (version.number, version.kind, version.content);
                let found = found.map(|found| found.into_iter().map(seen).collect());
                prop_assert_eq!(answer(found)?, wanted, "{:?}", page);
            }
            for (number, (kind, content)) in (1..).zip(&versions) {
                let found = query::block_version(&world.store, id, number)?;
                prop_assert_eq!(found.map(|it| (it.kind, it.content)), Some((*kind, content.clone())));
            }
            let past = versions.len() as u64 + 1;
            prop_assert_eq!(query::block_version(&world.store, id, past)?, None);
        }
        let nobody = BlockId::from_uuid(uuid::Uuid::from_u128(7));
        prop_assert!(query::block_history(&world.store, nobody, &Page::first(1, Order::Asc))?.is_none());
    }
}

/// The lineage may be as long as it may be, and it is still folded from the first agent, without a saved state.
#[test]
fn forks_of_forks_fold_and_list_to_the_depth_they_may_have() -> Outcome {
    let mut world = World::after(&[(0, 1)])?;
    let mut choice = Choice::new(5);
    for depth in 0..agent_state::MAX_ANCESTORS {
        let (state, _) = world
            .at(world.agents[depth].id, Position(world.facts.len() as u64))
            .expect("it is there");
        let at = world.tick(&mut choice);
        let id = AgentId::from_uuid(world.uuid(&mut choice));
        let forked = agent::Forked {
            parent: state.id,
            seq: world.count_events(state.id, Position(world.facts.len() as u64)),
            position: Position(world.facts.len() as u64),
            name: format!("{depth}"),
            blocks: Vec::new(),
        };
        world.agents.push(agent_state::State::forked(id, at, &forked, &state));
        world.happen(depth + 1, at, vec![agent::Event::Forked(forked)])?;
        let message = world.message_id(&mut choice);
        let said = crate::facts::message(message, retold_events::Role::User, "more", at);
        let mut messages = vec![retold_events::Message::clone(&state.thread().system)];
        messages.push(said);
        let replaced = agent::ContextReplaced { conversation: None, messages };
        world.happen(depth + 1, at, vec![agent::Event::ContextReplaced(replaced)])?;
    }
    let last = world.agents.last().cloned().expect("there are some");
    assert_eq!(last.ancestors.len(), agent_state::MAX_ANCESTORS);
    let loaded = load::agent(&world.store, last.id, None)?;
    assert_eq!(loaded.map(|loaded| loaded.state), Some(last.clone()));
    assert_eq!(Some(&history_of(&world.store, last.id)?), world.history.get(&last.id));
    let newest = query::messages(
        &world.store,
        last.id,
        &MessageFilter::default(),
        &Page::first(2, Order::Desc),
    )?;
    let expected: Vec<MessageId> =
        world.history[&last.id].keys().rev().take(2).rev().copied().collect();
    assert_eq!(newest.iter().map(|message| message.id).collect::<Vec<_>>(), expected);
    Ok(())
}
