//! Forks: a new agent that goes on from a moment of another one's history.
//!
//! Nothing of the history is copied. What a fork begins with is in the state of its parent at that moment, which a saved
//! state near it gives whatever the length of the history; and that state, saved with the fork's first commit, is where
//! the fork wakes from. It has blocks of its own, with the content of that moment: nothing it does reaches its parent,
//! nor those its parent shares blocks with.

use std::{panic::AssertUnwindSafe, sync::Arc};

use retold_events::{
    AgentId, ConversationId, Position, Secret, Seq, StreamId, Timestamp,
    agent::{BlockFork, Event, Forked, SecretsSet},
    store::{Append, Commit, EventStore},
};
use retold_snapshots::{
    agent::{MAX_ANCESTORS, State, apply_and_project},
    block,
    load::{self, LoadError, Loaded},
};
use tokio::sync::oneshot;

use super::{AgentView, AsOf, Host, agents::new_event};
use crate::{
    Refusal, agent,
    block::{NewBlock, Seen},
    run::NewMessage,
};

/// What follows the name of the parent where a fork is given none: nothing that a name may not hold.
const SUFFIX: &str = " - fork";

/// An agent as it stood at a moment, with its blocks.
#[derive(Debug)]
struct Origin {
    position: Position,
    agent: Loaded<State>,
    blocks: Vec<Loaded<block::State>>,
    /// Secrets of that moment that the agent still has: a value that was taken back does not return by a fork.
    secrets: Vec<Secret>,
}

impl Host {
    /// Makes an agent that goes on from what `parent` was at a moment; without one, from what it is now.
    ///
    /// It takes over memory, threads, tools and settings. What was under way at the moment is not: a message that was
    /// being said then is none of the fork's, and neither is one that waited.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there was no such agent at that moment, [`Refusal::Unprocessable`] when it has as many
    /// ancestors as an agent may have, and what [`Host::moment`] and storage give.
    pub async fn fork(
        &self,
        parent: AgentId,
        as_of: Option<AsOf>,
        name: Option<String>,
    ) -> Result<AgentView, Refusal> {
        self.check_room()?;
        // Whatever is counted below finds the vocabulary in memory.
        self.prepare(vec![NewMessage::text("")]).await?;
        let position = match as_of {
            Some(as_of) => self.moment(as_of).await?,
            None => self.log().head().position,
        };
        let origin = self.origin(parent, position).await?;
        let origin = origin.ok_or_else(|| missing(parent, as_of.map(|_| position)))?;
        check_depth(&origin)?;
        let shared = &self.0.shared;
        let permit = shared.log.reserve().await;
        let now = shared.options.clock.now();
        let id = AgentId::from_uuid(shared.options.ids.next(now));
        let made: Vec<NewBlock> =
            origin.blocks.iter().map(|block| shared.blocks.fork(block, now)).collect();
        let mut commit = Commit::default();
        for block in &made {
            block.add_to(&mut commit, now, &shared.options);
        }
        let seen: Vec<Seen> = made.iter().map(NewBlock::seen).collect();
        let forked = forked(parent, &origin, name, &made);
        let state = self.begin(id, now, forked, &origin, &seen, &mut commit);
        let (sender, durable) = oneshot::channel();
        let ticket = shared.log.submit(permit, commit, move |answer| drop(sender.send(answer)));
        for block in made {
            shared.blocks.created(block, ticket);
        }
        durable.await.map_err(|_| Refusal::Storage("the log is closed".to_owned()))??;
        let blocks = seen.into_iter().map(|block| block.view).collect();
        let tools = self.tools_of(&state).await?;
        Ok(AgentView { state: Arc::new(state), blocks, tools })
    }

    /// Adds the fork's first events to the commit: that it is one, and its own system messages, for these name it and
    /// its blocks. Gives the state after them, which is saved in the same commit.
    fn begin(
        &self,
        id: AgentId,
        now: Timestamp,
        forked: Forked,
        origin: &Origin,
        blocks: &[Seen],
        commit: &mut Commit,
    ) -> State {
        let options = &self.0.shared.options;
        let mut state = State::forked(id, now, &forked, &origin.agent.state);
        let mut events = vec![Event::Forked(forked)];
        if origin.secrets.len() < state.secrets.len() {
            events.push(Event::SecretsSet(SecretsSet { secrets: origin.secrets.clone() }));
        }
        let threads: Vec<Option<ConversationId>> = state.threads.keys().copied().collect();
        events.extend(threads.into_iter().map(|conversation| {
            Event::SystemCompiled(agent::system_compiled(&state, conversation, blocks, now))
        }));
        for event in &events {
            commit.rows.extend(apply_and_project(&mut state, now, event));
        }
        let events: Vec<_> = events.iter().map(|event| new_event(event, now, options)).collect();
        commit.snapshots.push(load::save(&state, Seq(events.len() as u64)));
        commit.appends.push(Append { stream: StreamId::Agent(id), expected: Seq(0), events });
        state
    }

    /// The parent as it stood at `position`, folded on a blocking thread; `None` when there was none, or no longer.
    async fn origin(&self, parent: AgentId, position: Position) -> Result<Option<Origin>, Refusal> {
        let folded = self
            .0
            .shared
            .log
            .read(move |store| {
                // A fold that panics is a damaged history of one agent and must not reach others.
                let fold = AssertUnwindSafe(|| Origin::load(store, parent, position));
                Ok(std::panic::catch_unwind(fold))
            })
            .await?;
        let quarantined = |reason| Refusal::Quarantined { agent: parent, reason };
        match folded {
            Ok(Ok(origin)) => Ok(origin.filter(|origin| !origin.agent.state.deleted)),
            Ok(Err(LoadError::Store(error))) => Err(error.into()),
            Ok(Err(error @ LoadError::Event { .. })) => Err(quarantined(error.to_string())),
            Err(_) => Err(quarantined("its history could not be folded".to_owned())),
        }
    }
}

impl Origin {
    fn load(
        store: &dyn EventStore,
        parent: AgentId,
        position: Position,
    ) -> Result<Option<Self>, LoadError> {
        let Some(agent) = load::agent(store, parent, Some(position))? else { return Ok(None) };
        let mut blocks = Vec::with_capacity(agent.state.blocks.len());
        for &id in &agent.state.blocks {
            let block = load::block(store, id, Some(position))?;
            // A block that was deleted is still named by agents that have not been told yet.
            blocks.extend(block.filter(|block| !block.state.deleted));
        }
        let secrets = still_held(store, &agent.state)?;
        Ok(Some(Self { position, agent, blocks, secrets }))
    }
}

/// The secrets of an agent that stood so, as far as it has them now.
fn still_held(store: &dyn EventStore, then: &State) -> Result<Vec<Secret>, LoadError> {
    if then.secrets.is_empty() {
        return Ok(Vec::new());
    }
    let now = load::agent(store, then.id, None)?;
    let held =
        now.filter(|now| !now.state.deleted).map(|now| now.state.secrets).unwrap_or_default();
    let is_held = |secret: &Secret| held.iter().any(|now| now.secret == *secret);
    let secrets = then.secrets.iter().map(|held| held.secret.clone());
    Ok(secrets.filter(is_held).collect())
}

/// There is no such agent, or there was none at that moment.
fn missing(agent: AgentId, moment: Option<Position>) -> Refusal {
    match moment {
        Some(Position(at)) => {
            Refusal::NotFound { what: "Agent", id: format!("{agent} at position {at}") }
        }
        None => Refusal::no_agent(agent),
    }
}

fn check_depth(origin: &Origin) -> Result<(), Refusal> {
    let state = &origin.agent.state;
    if state.ancestors.len() < MAX_ANCESTORS {
        return Ok(());
    }
    Err(Refusal::Unprocessable(format!(
        "agent {} already has {MAX_ANCESTORS} ancestors, the most an agent may have; fork one of those instead",
        state.id
    )))
}

fn forked(parent: AgentId, origin: &Origin, name: Option<String>, made: &[NewBlock]) -> Forked {
    let state = &origin.agent.state;
    let copied = |(from, made): (&Loaded<block::State>, &NewBlock)| BlockFork {
        from: from.state.id,
        version: from.seq,
        block: made.id(),
    };
    Forked {
        parent,
        seq: origin.agent.seq,
        position: origin.position,
        name: name.unwrap_or_else(|| format!("{}{SUFFIX}", state.config.name)),
        blocks: origin.blocks.iter().zip(made).map(copied).collect(),
    }
}
