//! Blocks: made, seen, edited, deleted, and what that means to the agents that have them.

use futures_util::{StreamExt as _, stream};
use retold_events::{
    AgentId, BlockId,
    block::{Author, Block},
    store::{Commit, Scan, Table},
};
use retold_snapshots::query;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{AT_ONCE, BlockView, Host};
use crate::{Refusal, agent::Message, block::Patch};

/// Sleeping agents that an edit by a client wakes, so that their system messages read right at once. More would put
/// everybody else to sleep.
const WOKEN: usize = 256;

impl Host {
    /// Makes a block.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn create_block(&self, block: Block) -> Result<BlockView, Refusal> {
        self.check_room()?;
        let shared = &self.0.shared;
        let permit = shared.log.reserve().await;
        let now = shared.options.clock.now();
        let new = shared.blocks.create(block, Author::Client, now);
        let mut commit = Commit::default();
        new.add_to(&mut commit, now, &shared.options);
        let (sender, durable) = oneshot::channel();
        let ticket = shared.log.submit(permit, commit, move |answer| drop(sender.send(answer)));
        let view = shared.blocks.created(new, ticket);
        durable.await.map_err(|_| Refusal::Storage("the log is closed".to_owned()))??;
        Ok(view)
    }

    /// A block as it stands.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn block(&self, id: BlockId) -> Result<BlockView, Refusal> {
        let seen = self.0.shared.blocks.see(id).await?;
        let seen = seen.ok_or_else(|| Refusal::NotFound { what: "Block", id: id.to_string() })?;
        self.durable(seen.ticket).await?;
        Ok(seen.view)
    }

    /// Changes a block, and the system messages of the agents that have it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn edit_block(&self, id: BlockId, patch: Patch) -> Result<BlockView, Refusal> {
        self.check_room()?;
        if let Some(label) = &patch.label {
            self.check_label(id, label).await?;
        }
        let (view, changed) = self.0.shared.blocks.edit(id, patch).await?;
        if changed {
            self.refresh_agents_of(id, None, WOKEN).await;
        }
        Ok(view)
    }

    /// Brings back everything a block was at one of its versions, as a new edit: its history only ever grows. Nothing is
    /// written when it is so already.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is no such block, or no longer, or no such version; otherwise as
    /// [`Host::edit_block`].
    pub async fn restore_block(&self, id: BlockId, version: u64) -> Result<BlockView, Refusal> {
        self.block(id).await?;
        let found = self.read(move |store| Ok(query::block_version(store, id, version))).await?;
        let found = found.map_err(|error| Refusal::Storage(error.to_string()))?;
        let content = found
            .ok_or_else(|| Refusal::NotFound {
                what: "Version",
                id: format!("{version} of block {id}"),
            })?
            .content;
        let patch = Patch {
            label: content.label.clone(),
            restored: Some(version),
            edit: Box::new(move |block| {
                *block = content;
                Ok(())
            }),
        };
        self.edit_block(id, patch).await
    }

    /// Deletes a block and takes it out of the memory of every agent that has it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn delete_block(&self, id: BlockId) -> Result<(), Refusal> {
        self.0.shared.blocks.delete(id).await?;
        self.refresh_agents_of(id, None, WOKEN).await;
        Ok(())
    }

    /// Has the agents with this block bring their system messages up to date: those that are awake, and so many others.
    /// The rest, and whoever cannot now, do so with their next run.
    pub(super) async fn refresh_agents_of(
        &self,
        block: BlockId,
        but: Option<AgentId>,
        mut woken: usize,
    ) {
        let agents = match self.agents_of(block).await {
            Ok(agents) => agents.into_iter(),
            Err(refusal) => {
                tracing::warn!(%block, %refusal, "agents were not told of an edited block");
                return;
            }
        };
        let refresh = |agent| async move {
            if let Err(refusal) = self.ask(agent, Message::Refresh).await {
                tracing::debug!(%agent, %refusal, "an agent was not told of an edited block");
            }
        };
        let mut is_due = |&agent: &AgentId| {
            let awake = self.0.directory.awake(agent).is_some();
            let due = Some(agent) != but && (awake || woken > 0);
            woken -= usize::from(due && !awake);
            due
        };
        let agents: Vec<AgentId> = agents.filter(|agent| is_due(agent)).collect();
        stream::iter(agents).for_each_concurrent(AT_ONCE, refresh).await;
    }

    /// Refuses a label that another block of an agent with this block has.
    async fn check_label(&self, block: BlockId, label: &str) -> Result<(), Refusal> {
        if self.block(block).await?.state.block.label.as_deref() == Some(label) {
            return Ok(());
        }
        for agent in self.agents_of(block).await? {
            let view = match self.agent(agent).await {
                Ok(view) => view,
                Err(Refusal::NotFound { .. }) => continue,
                Err(refusal) => return Err(refusal),
            };
            let taken = view.blocks.iter().any(|other| {
                other.id != block && other.state.block.label.as_deref() == Some(label)
            });
            if taken {
                return Err(Refusal::Conflict(format!(
                    "agent {agent} already has another block with the label {label:?}"
                )));
            }
        }
        Ok(())
    }

    /// Agents that have a block.
    async fn agents_of(&self, block: BlockId) -> Result<Vec<AgentId>, Refusal> {
        let scan = Scan { prefix: block.as_bytes().to_vec(), limit: usize::MAX, ..Scan::default() };
        let attached =
            self.0.shared.log.read(move |store| store.rows(Table::BlockAgents, &scan)).await?;
        let agent = |key: &[u8]| {
            let id = <[u8; 16]>::try_from(key.get(16..32)?).ok()?;
            Some(AgentId::from_uuid(Uuid::from_bytes(id)))
        };
        Ok(attached.iter().filter_map(|(key, _)| agent(key)).collect())
    }
}
