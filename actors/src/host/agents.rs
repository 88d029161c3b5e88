//! Agents: made, seen, changed, deleted.

use std::{collections::HashSet, sync::Arc};

use futures_util::{Stream, StreamExt as _, stream};
use retold_events::{
    AgentId, BlockId, Message as Stored, MessageId, NewEvent, Seq, StreamId, Timestamp,
    agent::{Config, Created, Event, SecretsSet},
    block::{Author, Block},
    codec::Event as _,
    log::Ticket,
    store::{Append, Commit},
};
use retold_snapshots::agent::{State, apply_and_project, project};
use tokio::sync::oneshot;

use super::{AT_ONCE, AgentView, Host};
use crate::{
    Options, Refusal,
    agent::{self, Message},
    block::{NewBlock, Seen},
    prompt::{
        compile::{CompileInput, compile},
        stock,
    },
    run::NewMessage,
    tool::approval,
};

impl Host {
    /// Makes an agent, with its new blocks, in one commit.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn create_agent(&self, new: agent::NewAgent) -> Result<AgentView, Refusal> {
        self.check_room()?;
        if let Some(id) = new.tools.iter().find(|&&id| self.0.shared.tools.get(id).is_none()) {
            return Err(Refusal::Invalid(format!("Tools not found by id: {{{id}}}")));
        }
        // Whatever is counted below finds the vocabulary in memory.
        self.prepare(vec![NewMessage::text("")]).await?;
        let existing = self.existing_blocks(&new.blocks).await?;
        check_labels(&new.new_blocks, &existing)?;
        let shared = &self.0.shared;
        let permit = shared.log.reserve().await;
        let now = shared.options.clock.now();
        let mut commit = Commit::default();
        let made = self.make_blocks(new.new_blocks, now, &mut commit);
        let mut seen: Vec<Seen> = made.iter().map(NewBlock::seen).collect();
        seen.extend(existing);
        let id = AgentId::from_uuid(shared.options.ids.next(now));
        let secrets = new.secrets.map_or_else(|| Ok(Vec::new()), |seal| seal(id))?;
        let mut config = self.filled(new.config, now);
        let given: Vec<_> = new.tools.iter().filter_map(|&id| shared.tools.get(id)).collect();
        approval::add_defaults(&mut config.tool_rules, given.iter().map(|known| &**known));
        let created = Created {
            messages: self.first_messages(id, &config, &seen, new.initial_messages, now),
            config,
            blocks: seen.iter().map(|block| block.view.id).collect(),
            tools: new.tools,
            compiled_from: agent::versions(&seen),
        };
        let mut state = State::created(id, now, &created);
        let event = Event::Created(created);
        commit.rows.extend(project(&state, now, &event));
        let mut events = vec![new_event(&event, now, &shared.options)];
        if !secrets.is_empty() {
            let event = Event::SecretsSet(SecretsSet { secrets });
            commit.rows.extend(apply_and_project(&mut state, now, &event));
            events.push(new_event(&event, now, &shared.options));
        }
        commit.appends.push(Append { stream: StreamId::Agent(id), expected: Seq(0), events });
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

    fn make_blocks(
        &self,
        blocks: Vec<Block>,
        now: Timestamp,
        commit: &mut Commit,
    ) -> Vec<NewBlock> {
        let shared = &self.0.shared;
        let made: Vec<NewBlock> = blocks
            .into_iter()
            .map(|block| shared.blocks.create(block, Author::Client, now))
            .collect();
        for block in &made {
            block.add_to(commit, now, &shared.options);
        }
        made
    }

    /// A configuration with its gaps filled: a made-up name, the stock prompt of its type.
    fn filled(&self, mut config: Config, now: Timestamp) -> Config {
        if config.system.is_empty() {
            stock::system_prompt(config.agent_type).clone_into(&mut config.system);
        }
        if config.name.is_empty() {
            config.name = stock::made_up_name(self.0.shared.options.ids.chance(now));
        }
        config
    }

    /// The system message, and what the client or the agent's type begins with.
    fn first_messages(
        &self,
        agent: AgentId,
        config: &Config,
        seen: &[Seen],
        given: Option<Vec<NewMessage>>,
        now: Timestamp,
    ) -> Vec<Stored> {
        let ids = &self.0.shared.options.ids;
        let next = || MessageId::from_uuid(ids.next(now));
        let blocks: Vec<_> =
            seen.iter().map(|block| (block.view.id, &block.view.state.block)).collect();
        let text = compile(&CompileInput {
            agent,
            conversation: None,
            config,
            blocks: &blocks,
            previous_messages: 0,
            compiled_at: now,
            with_rules: false,
        });
        let mut messages = vec![agent::system_message(next(), config, text, now)];
        messages.extend(match given {
            Some(given) => agent::first_messages(given, next, now),
            None => {
                let call_id = format!("call_{}", ids.next(now).simple());
                agent::stored_boot(config, next, &call_id, now)
            }
        });
        messages
    }

    async fn existing_blocks(&self, ids: &[BlockId]) -> Result<Vec<Seen>, Refusal> {
        let mut seen = Vec::with_capacity(ids.len());
        for &id in ids {
            let block = self.0.shared.blocks.see(id).await?;
            seen.push(
                block.ok_or_else(|| Refusal::NotFound { what: "Block", id: id.to_string() })?,
            );
        }
        Ok(seen)
    }

    /// An agent as it stands. A sleeping one is not woken.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn agent(&self, id: AgentId) -> Result<AgentView, Refusal> {
        let (state, ticket) = self.state(id).await?;
        let seen = self.0.shared.blocks.see_all(&state.blocks).await?;
        let newest = seen.iter().filter_map(|block| block.ticket).chain(ticket).max();
        self.durable(newest).await?;
        let tools = self.tools_of(&state).await?;
        let blocks = seen.into_iter().map(|block| block.view).collect();
        Ok(AgentView { state, blocks, tools })
    }

    async fn state(&self, id: AgentId) -> Result<(Arc<State>, Option<Ticket>), Refusal> {
        if let Some(hold) = self.0.directory.awake(id)
            && let Some(seen) = hold.gauges().and_then(|gauges| gauges.seen.load_full())
        {
            let state = Arc::clone(&seen.state);
            return if state.deleted {
                Err(Refusal::no_agent(id))
            } else {
                Ok((state, seen.ticket))
            };
        }
        let loaded = self.0.directory.load(id).await?;
        if loaded.state.deleted {
            Err(Refusal::no_agent(id))
        } else {
            Ok((Arc::new(loaded.state), None))
        }
    }

    /// Several agents as they stand, in the order asked for. Those that are gone are left out, and those that cannot be
    /// read: one damaged history must not hide all others.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn agents(&self, ids: &[AgentId]) -> Result<Vec<AgentView>, Refusal> {
        let one = |&id: &AgentId| async move { (id, self.agent(id).await) };
        readable(stream::iter(ids).map(one).buffered(AT_ONCE)).await
    }

    /// Changes an agent.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn change_agent(
        &self,
        id: AgentId,
        change: agent::Change,
    ) -> Result<AgentView, Refusal> {
        self.ask(id, |reply| Message::Change(change, reply)).await?;
        self.agent(id).await
    }

    /// Deletes an agent and cancels what it has under way. Its blocks stay.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn delete_agent(&self, id: AgentId) -> Result<(), Refusal> {
        self.ask(id, Message::Delete).await
    }

    /// Compiles an agent's system message anew and gives it; a dry run changes nothing.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn recompile(
        &self,
        id: AgentId,
        update_timestamp: bool,
        dry_run: bool,
    ) -> Result<String, Refusal> {
        self.ask(id, |reply| Message::Recompile { update_timestamp, dry_run, reply }).await
    }

    /// Empties an agent's context window; the history stays.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn reset_messages(
        &self,
        id: AgentId,
        add_default_initial_messages: bool,
    ) -> Result<AgentView, Refusal> {
        self.ask(id, |reply| Message::Reset { add_default: add_default_initial_messages, reply })
            .await?;
        self.agent(id).await
    }
}

/// Those agents that are there and can be read.
pub(super) async fn readable(
    seen: impl Stream<Item = (AgentId, Result<AgentView, Refusal>)>,
) -> Result<Vec<AgentView>, Refusal> {
    let mut seen = std::pin::pin!(seen);
    let mut views = Vec::new();
    while let Some((id, view)) = seen.next().await {
        match view {
            Ok(view) => views.push(view),
            Err(Refusal::NotFound { .. }) => {}
            Err(refusal @ Refusal::Quarantined { .. }) => {
                tracing::error!(agent = %id, %refusal, "an agent is missing in a list");
            }
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(views)
}

fn check_labels(new: &[Block], existing: &[Seen]) -> Result<(), Refusal> {
    let mut labels = HashSet::new();
    let all = new.iter().chain(existing.iter().map(|block| &block.view.state.block));
    for label in all.filter_map(|block| block.label.as_deref()) {
        if !labels.insert(label) {
            return Err(Refusal::Conflict(format!(
                "two blocks of one agent may not share the label {label:?}"
            )));
        }
    }
    Ok(())
}

pub(super) fn new_event(event: &Event, now: Timestamp, options: &Options) -> NewEvent {
    NewEvent {
        id: options.ids.ulid(now),
        causation: ulid::Ulid::nil(),
        run: None,
        at: now,
        encoded: event.encode(),
    }
}
