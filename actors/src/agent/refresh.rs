//! Changes of an agent's configuration and memory, and the system message that follows from them.

use retold_events::{
    BlockId, ConversationId, Message as Stored, MessageId, Secret, ToolId,
    agent::{
        BlockAttached, BlockDetached, BlockVersion, Configured, ContextReplaced, Deleted, Event,
        SecretsSet, SystemCompiled, ToolAttached, ToolDetached,
    },
};
use retold_snapshots::{agent::State, query};

use super::{Change, Gated, Live, Patch, live::Draft};
use crate::{
    Refusal,
    block::Seen,
    prompt::{
        compile::{CompileInput, compile},
        system,
    },
};

/// Messages that a client may put into a context window by hand. The event that says so holds them whole.
const MOST_IN_CONTEXT: usize = 5000;
/// Bytes they may have together: well below what an event may have.
const MOST_BYTES_IN_CONTEXT: usize = 16 << 20;

impl Live {
    pub(super) async fn change(&mut self, change: Change) -> Result<Gated<()>, Refusal> {
        let patch = self.with_known_tools(self.patch(change)?)?;
        let blocks = match &patch.blocks {
            Some(ids) => self.blocks_to_be(ids).await?,
            None => self.see_blocks().await?,
        };
        let context = match patch.context {
            Some(ids) => Some(self.context_to_be(&ids).await?),
            None => None,
        };
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        if let Some(config) = patch.config.filter(|config| *config != *self.state.config) {
            self.record(&mut draft, None, Event::Configured(Configured { config }));
        }
        self.replace_secrets(&mut draft, patch.secrets);
        self.replace_blocks(&mut draft, patch.blocks.as_deref());
        self.replace_tools(&mut draft, patch.tools.as_deref());
        if let Some(messages) = context {
            let replaced = ContextReplaced { conversation: None, messages };
            self.record(&mut draft, None, Event::ContextReplaced(replaced));
        }
        self.recompile_all(&mut draft, &blocks);
        self.queue(permit, draft, None, |_| ());
        Ok(Gated { value: (), ticket: self.ticket })
    }

    fn patch(&self, change: Change) -> Result<Patch, Refusal> {
        let state = &*self.state;
        let without = |ids: &[BlockId], id: BlockId| {
            ids.iter().copied().filter(|&other| other != id).collect()
        };
        Ok(match change {
            Change::Configure(configure) => configure(state)?,
            Change::AttachBlock(id) => {
                let blocks = with(&state.blocks, id);
                Patch { blocks: Some(blocks), ..Patch::default() }
            }
            Change::DetachBlock(id) => {
                Patch { blocks: Some(without(&state.blocks, id)), ..Patch::default() }
            }
            Change::AttachTool(id) => {
                Patch { tools: Some(with(&state.tools, id)), ..Patch::default() }
            }
            Change::DetachTool(id) => {
                let tools = state.tools.iter().copied().filter(|&other| other != id).collect();
                Patch { tools: Some(tools), ..Patch::default() }
            }
        })
    }

    /// The blocks an agent is about to have: each must exist, and no two may share a label.
    async fn blocks_to_be(&self, ids: &[BlockId]) -> Result<Vec<Seen>, Refusal> {
        let mut seen: Vec<Seen> = Vec::with_capacity(ids.len());
        for &id in ids {
            let Some(block) = self.shared.blocks.see(id).await? else {
                if self.state.blocks.contains(&id) {
                    continue;
                }
                return Err(Refusal::NotFound { what: "Block", id: id.to_string() });
            };
            let label = &block.view.state.block.label;
            if seen
                .iter()
                .filter(|_| label.is_some())
                .any(|other| other.view.state.block.label == *label && other.view.id != id)
            {
                let label = label.as_deref().unwrap_or("");
                return Err(Refusal::Conflict(format!(
                    "agent {} already has a block with the label {label:?}; detach that one first or give this one another label",
                    self.id()
                )));
            }
            seen.push(block);
        }
        Ok(seen)
    }

    /// The messages of a context window that a client set.
    async fn context_to_be(&self, ids: &[MessageId]) -> Result<Vec<Stored>, Refusal> {
        let thread = self.state.thread();
        if ids.first() != Some(&thread.system.id) {
            return Err(Refusal::Invalid(format!(
                "the first of message_ids must be the system message {}",
                thread.system.id
            )));
        }
        let agent = self.id();
        let mut wanted = Vec::with_capacity(ids.len().min(MOST_IN_CONTEXT));
        for &id in ids {
            if !wanted.contains(&id) {
                wanted.push(id);
            }
            if wanted.len() > MOST_IN_CONTEXT {
                let message = format!("message_ids may name {MOST_IN_CONTEXT} messages at most");
                return Err(Refusal::Unprocessable(message));
            }
        }
        let found = self
            .shared
            .log
            .read(move |store| {
                Ok(wanted
                    .into_iter()
                    .map(|id| (id, query::message(store, agent, id)))
                    .collect::<Vec<_>>())
            })
            .await?;
        let mut messages = Vec::with_capacity(found.len());
        let mut bytes = 0;
        for (id, message) in found {
            let message = message.map_err(|error| Refusal::Storage(error.to_string()))?;
            let message =
                message.ok_or_else(|| Refusal::NotFound { what: "Message", id: id.to_string() })?;
            bytes += retold_snapshots::row::encode(&message).len();
            if bytes > MOST_BYTES_IN_CONTEXT {
                let message = "the messages that message_ids names are more than 16 MiB together";
                return Err(Refusal::Unprocessable(message.to_owned()));
            }
            messages.push(message);
        }
        Ok(messages)
    }

    fn replace_blocks(&mut self, draft: &mut Draft, blocks: Option<&[BlockId]>) {
        let Some(blocks) = blocks else { return };
        for block in minus(&self.state.blocks, blocks) {
            self.record(draft, None, Event::BlockDetached(BlockDetached { block }));
        }
        for block in minus(blocks, &self.state.blocks) {
            self.record(draft, None, Event::BlockAttached(BlockAttached { block }));
        }
    }

    fn replace_tools(&mut self, draft: &mut Draft, tools: Option<&[ToolId]>) {
        let Some(tools) = tools else { return };
        for tool in minus(&self.state.tools, tools) {
            self.record(draft, None, Event::ToolDetached(ToolDetached { tool }));
        }
        for tool in minus(tools, &self.state.tools) {
            self.record(draft, None, Event::ToolAttached(ToolAttached { tool }));
        }
    }

    fn replace_secrets(&mut self, draft: &mut Draft, secrets: Option<Vec<Secret>>) {
        let Some(secrets) = secrets else { return };
        if !self.state.secrets.iter().map(|held| &held.secret).eq(&secrets) {
            self.record(draft, None, Event::SecretsSet(SecretsSet { secrets }));
        }
    }

    /// Rewrites the system message of every thread whose text or blocks changed.
    pub(super) fn recompile_all(&mut self, draft: &mut Draft, blocks: &[Seen]) {
        let conversations: Vec<Option<ConversationId>> =
            self.state.threads.keys().copied().collect();
        for conversation in conversations {
            self.recompile_draft(draft, conversation, blocks, false);
        }
    }

    /// Rewrites the system message of a thread in place, if its text or the blocks it is made of changed.
    pub(super) fn recompile_draft(
        &mut self,
        draft: &mut Draft,
        conversation: Option<ConversationId>,
        blocks: &[Seen],
        update_timestamp: bool,
    ) {
        let Some(thread) = self.state.threads.get(&conversation) else { return };
        let compiled_at = if update_timestamp { draft.now } else { thread.compiled_at };
        let text = compiled(&self.state, conversation, blocks, compiled_at);
        let compiled_from = versions(blocks);
        if text == thread.system.text() && compiled_from == thread.compiled_from {
            return;
        }
        let tokens = system::tokens(&self.state.config.system, &text);
        let event = SystemCompiled { conversation, text, tokens, compiled_at, compiled_from };
        self.record(draft, None, Event::SystemCompiled(event));
    }

    pub(super) async fn recompile(
        &mut self,
        update_timestamp: bool,
        dry_run: bool,
    ) -> Result<Gated<String>, Refusal> {
        let blocks = self.see_blocks().await?;
        if dry_run {
            let compiled_at =
                if update_timestamp { self.draft().now } else { self.state.thread().compiled_at };
            let text = compiled(&self.state, None, &blocks, compiled_at);
            return Ok(Gated { value: text, ticket: self.ticket });
        }
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        self.recompile_draft(&mut draft, None, &blocks, update_timestamp);
        self.queue(permit, draft, None, |_| ());
        Ok(Gated { value: self.state.thread().system.text(), ticket: self.ticket })
    }

    /// Brings the system message up to date with blocks that others changed or deleted.
    pub(super) async fn refresh(&mut self) -> Result<Gated<()>, Refusal> {
        let blocks = self.see_blocks().await?;
        let gone: Vec<BlockId> = self
            .state
            .blocks
            .iter()
            .copied()
            .filter(|&id| !blocks.iter().any(|block| block.view.id == id))
            .collect();
        let stale =
            self.state.threads.values().any(|thread| thread.compiled_from != versions(&blocks));
        if stale || !gone.is_empty() {
            let permit = self.shared.log.reserve().await;
            let mut draft = self.draft();
            for block in gone {
                self.record(&mut draft, None, Event::BlockDetached(BlockDetached { block }));
            }
            self.recompile_all(&mut draft, &blocks);
            self.queue(permit, draft, None, |_| ());
        }
        Ok(Gated { value: (), ticket: self.ticket })
    }

    /// Empties the context window. The history stays.
    pub(super) async fn reset(&mut self, add_default: bool) -> Result<Gated<()>, Refusal> {
        let blocks = self.see_blocks().await?;
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        let mut messages = vec![Stored::clone(&self.state.thread().system)];
        if add_default {
            let ids = self.shared.options.ids.clone();
            let (now, mut last) = (draft.now, self.state.last_message);
            let next = || {
                last = MessageId::from_uuid(ids.next_after(last.uuid(), now));
                last
            };
            let call_id = format!("call_{}", self.shared.options.ids.next(now).simple());
            messages.extend(super::begin::stored_boot(&self.state.config, next, &call_id, now));
        }
        let replaced = ContextReplaced { conversation: None, messages };
        self.record(&mut draft, None, Event::ContextReplaced(replaced));
        self.recompile_draft(&mut draft, None, &blocks, true);
        self.queue(permit, draft, None, |_| ());
        Ok(Gated { value: (), ticket: self.ticket })
    }

    /// Ends everything under way and the agent with it.
    pub(super) async fn delete(&mut self) -> Result<Gated<()>, Refusal> {
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        self.no_more_runs = true;
        let open: Vec<_> = self.state.open_runs.keys().copied().collect();
        for run in open {
            self.cancel_now(&mut draft, run);
        }
        self.record(&mut draft, None, Event::Deleted(Deleted {}));
        self.queue(permit, draft, None, |_| ());
        self.answer_cancels();
        Ok(Gated { value: (), ticket: self.ticket })
    }
}

/// The system message of a thread, compiled anew from `blocks`.
pub(crate) fn system_compiled(
    state: &State,
    conversation: Option<ConversationId>,
    blocks: &[Seen],
    compiled_at: retold_events::Timestamp,
) -> SystemCompiled {
    let text = compiled(state, conversation, blocks, compiled_at);
    let tokens = retold_models::tokens::count(&text);
    SystemCompiled { conversation, text, tokens, compiled_at, compiled_from: versions(blocks) }
}

fn compiled(
    state: &State,
    conversation: Option<ConversationId>,
    blocks: &[Seen],
    compiled_at: retold_events::Timestamp,
) -> String {
    let blocks: Vec<_> =
        blocks.iter().map(|block| (block.view.id, &block.view.state.block)).collect();
    let total = state.threads.get(&conversation).map_or(0, |thread| thread.total);
    compile(&CompileInput {
        agent: state.id,
        conversation,
        config: &state.config,
        blocks: &blocks,
        // The system message is none between the agent and its user.
        previous_messages: total.saturating_sub(1),
        compiled_at,
        with_rules: true,
    })
}

/// The versions of blocks a text is compiled from.
pub(crate) fn versions(blocks: &[Seen]) -> Vec<BlockVersion> {
    blocks.iter().map(|block| BlockVersion { block: block.view.id, version: block.seq }).collect()
}

fn with<T: Copy + PartialEq>(all: &[T], one: T) -> Vec<T> {
    let mut all = all.to_vec();
    if !all.contains(&one) {
        all.push(one);
    }
    all
}

fn minus<T: Copy + PartialEq>(all: &[T], without: &[T]) -> Vec<T> {
    all.iter().copied().filter(|one| !without.contains(one)).collect()
}
