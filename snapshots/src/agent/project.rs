//! The rows that follow from an agent's events.

use bytes::Bytes;
use retold_events::{
    ConversationId, Message, Part, RunId, Timestamp,
    agent::{Config, ContextReplaced, Event},
    defect::Defect,
    run::{Accepted, Ended, StepEnded},
    store::{RowChange, Table},
};

use super::{LastRun, State, apply};
use crate::{
    row::{
        AgentRow, Callback, FeedbackRow, RunRow, RunStatus, StepRow, TagOwner, asked_key, encode,
        pair_key, tag_key, waiting_key,
    },
    run::OpenRun,
    thread::waits,
};

/// The rows that change when `event` happens to `state`, which is the state *before* it; of the first event of a stream
/// it is the state that begins with it.
#[must_use]
pub fn project(state: &State, at: Timestamp, event: &Event) -> Vec<RowChange> {
    let mut rows = Rows { state, changes: Vec::new() };
    match event {
        Event::Created(created) => {
            rows.agent(&created.config, at, at, None);
            rows.tags(&[], &created.config.tags);
            for block in &created.blocks {
                rows.put(
                    Table::BlockAgents,
                    pair_key(block.as_bytes(), state.id.as_bytes()),
                    Bytes::new(),
                );
            }
            if let Some((system, rest)) = created.messages.split_first() {
                rows.messages(std::slice::from_ref(system));
                rows.messages(rest);
            }
        }
        Event::Forked(_) => rows.forked(at),
        Event::Configured(configured) => {
            rows.agent(&configured.config, state.created_at, at, state.last_run);
            rows.tags(&state.config.tags, &configured.config.tags);
        }
        Event::BlockAttached(attached) => {
            rows.agent(&state.config, state.created_at, at, state.last_run);
            rows.put(
                Table::BlockAgents,
                pair_key(attached.block.as_bytes(), state.id.as_bytes()),
                Bytes::new(),
            );
        }
        Event::BlockDetached(detached) => {
            rows.agent(&state.config, state.created_at, at, state.last_run);
            rows.remove(
                Table::BlockAgents,
                pair_key(detached.block.as_bytes(), state.id.as_bytes()),
            );
        }
        Event::ToolAttached(_) | Event::ToolDetached(_) | Event::SecretsSet(_) => {
            rows.agent(&state.config, state.created_at, at, state.last_run);
        }
        Event::ContextReplaced(replaced) => {
            rows.agent(&state.config, state.created_at, at, state.last_run);
            rows.context_replaced(replaced);
        }
        Event::SystemCompiled(compiled) => {
            if let Some(thread) = state.threads.get(&compiled.conversation) {
                let mut system = Message::clone(&thread.system);
                system.content = vec![Part::Text { text: compiled.text.clone() }];
                system.tokens = compiled.tokens;
                rows.messages(&[system]);
            }
        }
        Event::ContextCompacted(compacted) => {
            rows.messages(std::slice::from_ref(&compacted.summary));
            // What waits is the last message of its thread, so it is kept if any is.
            if compacted.kept_from.is_none() {
                rows.waits_no_more(compacted.conversation);
            }
        }
        Event::Deleted(_) => rows.deleted(),
        Event::RunAccepted(accepted) => {
            rows.put(
                Table::AgentRuns,
                pair_key(state.id.as_bytes(), accepted.run.as_bytes()),
                Bytes::new(),
            );
            rows.put(
                Table::OpenRuns,
                accepted.run.as_bytes().to_vec(),
                Bytes::copy_from_slice(state.id.as_bytes()),
            );
            rows.open_run(accepted.run, at, event);
            rows.asked(accepted);
        }
        Event::RunStarted(started) => rows.open_run(started.run, at, event),
        Event::StepStarted(_)
        | Event::CancelRequested(_)
        | Event::ToolsCalled(_)
        | Event::ToolReturned(_) => {}
        Event::CallsResolved(resolved) => {
            rows.messages(std::slice::from_ref(&resolved.message));
            rows.waits_no_more(resolved.message.conversation);
        }
        Event::StepEnded(ended) => rows.step_ended(ended),
        Event::RunEnded(ended) => rows.run_ended(at, ended),
        Event::CallbackSent(sent) => {
            rows.remove(Table::OpenRuns, sent.run.as_bytes().to_vec());
            if let Some(row) = state.callbacks.get(&sent.run) {
                let callback =
                    Callback { at, status_code: sent.status_code, error: sent.error.clone() };
                rows.run(&RunRow { callback: Some(callback), ..row.clone() });
            }
        }
        Event::RunDeleted(deleted) => {
            rows.remove(Table::Runs, deleted.run.as_bytes().to_vec());
            rows.remove(Table::AgentRuns, pair_key(state.id.as_bytes(), deleted.run.as_bytes()));
            if state.callbacks.contains_key(&deleted.run) {
                rows.remove(Table::OpenRuns, deleted.run.as_bytes().to_vec());
            }
        }
        Event::FeedbackGiven(given) => {
            let row = FeedbackRow { feedback: given.feedback, tags: given.tags.clone() };
            rows.put(Table::Feedback, given.step.as_bytes().to_vec(), encode(&row));
        }
    }
    rows.changes
}

/// Collects changes for one agent.
struct Rows<'a> {
    state: &'a State,
    changes: Vec<RowChange>,
}

impl Rows<'_> {
    fn put(&mut self, table: Table, key: Vec<u8>, value: Bytes) {
        self.changes.push(RowChange { table, key, value: Some(value) });
    }

    fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.changes.push(RowChange { table, key, value: None });
    }

    fn agent(
        &mut self,
        config: &Config,
        created_at: Timestamp,
        updated_at: Timestamp,
        last_run: Option<LastRun>,
    ) {
        if self.state.deleted {
            return; // A run may end after its agent is gone: that does not bring the agent back.
        }
        let row = AgentRow::new(config, created_at, updated_at, last_run);
        self.put(Table::Agents, self.state.id.as_bytes().to_vec(), encode(&row));
    }

    /// A fork has its parent's settings, blocks of its own, and the messages of its ancestors without a row for any but
    /// the system's: those are rewritten in place.
    fn forked(&mut self, at: Timestamp) {
        let State { id, config, blocks, ancestors, threads, .. } = self.state;
        self.agent(config, at, at, None);
        self.tags(&[], &config.tags);
        for block in blocks {
            let key = pair_key(block.as_bytes(), id.as_bytes());
            self.put(Table::BlockAgents, key, Bytes::new());
        }
        self.put(Table::Ancestors, id.as_bytes().to_vec(), encode(ancestors));
        for (conversation, thread) in threads {
            self.messages(std::slice::from_ref(&*thread.system));
            if let Some(asks) = thread.pending() {
                self.waits(*conversation, asks.created_at);
            }
        }
    }

    fn tags(&mut self, before: &[String], after: &[String]) {
        let owner = TagOwner::Agent(self.state.id);
        for gone in before.iter().filter(|tag| !after.contains(tag)) {
            self.remove(Table::Tags, tag_key(gone, owner));
        }
        for new in after.iter().filter(|tag| !before.contains(tag)) {
            self.put(Table::Tags, tag_key(new, owner), Bytes::new());
        }
    }

    /// Messages stored together share a row: the fewer keys, the cheaper the commit.
    fn messages(&mut self, messages: &[Message]) {
        if let Some(first) = messages.first() {
            let key = pair_key(self.state.id.as_bytes(), first.id.as_bytes());
            self.put(Table::Messages, key, encode(messages));
        }
    }

    /// Messages of a run. No row may reach over ids that others got in between.
    fn run_messages(&mut self, run: &OpenRun, messages: &[Message]) {
        if run.interleaved {
            messages.chunks(1).for_each(|message| self.messages(message));
        } else {
            self.messages(messages);
        }
    }

    /// Messages the agent did not have yet, and a new text of the system message.
    fn context_replaced(&mut self, replaced: &ContextReplaced) {
        let (Some(thread), Some((system, rest))) =
            (self.state.threads.get(&replaced.conversation), replaced.messages.split_first())
        else {
            return;
        };
        let is_new = system.id > self.state.last_message;
        if !waits(&replaced.messages) {
            self.waits_no_more(replaced.conversation);
        }
        if is_new || (system.id == thread.system.id && *system != *thread.system) {
            self.messages(std::slice::from_ref(system));
        }
        let new: Vec<Message> = self.state.new_messages(rest).cloned().collect();
        self.messages(&new);
    }

    /// Which run came of another agent's call: a repeated call finds it there.
    fn asked(&mut self, accepted: &Accepted) {
        if let Some(by) = &accepted.asked_by {
            let run = Bytes::copy_from_slice(accepted.run.as_bytes());
            self.put(Table::Asked, asked_key(by, self.state.id), run);
        }
    }

    fn waits(&mut self, conversation: Option<ConversationId>, since: Timestamp) {
        if self.state.deleted {
            return;
        }
        self.put(Table::Waiting, waiting_key(self.state.id, conversation), encode(&since));
    }

    fn waits_no_more(&mut self, conversation: Option<ConversationId>) {
        self.remove(Table::Waiting, waiting_key(self.state.id, conversation));
    }

    fn run(&mut self, row: &RunRow) {
        self.put(Table::Runs, row.id.as_bytes().to_vec(), encode(row));
    }

    /// The row of a run that goes on after `event`.
    fn open_run(&mut self, run: RunId, at: Timestamp, event: &Event) {
        let row = match (self.state.open_runs.get(&run), event) {
            (Some(open), _) => {
                RunRow { status: RunStatus::Running, ..RunRow::open(self.state.id, open) }
            }
            (None, Event::RunAccepted(accepted)) => {
                RunRow::open(self.state.id, &super::open_run(at, accepted))
            }
            (None, _) => return,
        };
        self.run(&row);
    }

    fn step_ended(&mut self, ended: &StepEnded) {
        let Some(open) = self.state.open_runs.get(&ended.run) else { return };
        let mut entering = if ended.input_enters { open.input_messages() } else { Vec::new() };
        entering.extend(ended.messages.iter().cloned());
        self.run_messages(open, &entering);
        if let Some(asks) = entering.last().filter(|last| waits(std::slice::from_ref(last))) {
            self.waits(open.request.conversation, asks.created_at);
        }
        if let Some(step) = &open.step {
            let row = StepRow::new(self.state.id, open, step, ended, &entering);
            self.put(
                Table::RunSteps,
                pair_key(ended.run.as_bytes(), ended.step.as_bytes()),
                encode(&row),
            );
            let owners = pair_key(ended.run.as_bytes(), self.state.id.as_bytes());
            self.put(Table::Steps, ended.step.as_bytes().to_vec(), Bytes::from(owners));
        }
    }

    fn run_ended(&mut self, at: Timestamp, ended: &Ended) {
        let Some(open) = self.state.open_runs.get(&ended.run) else { return };
        let mut open = open.clone();
        open.extend_range(&ended.input);
        self.run_messages(&open, &ended.input);
        self.run(&RunRow::ended(self.state.id, &open, at, ended));
        if open.request.callback_url.is_none() {
            self.remove(Table::OpenRuns, ended.run.as_bytes().to_vec());
        }
        let last_run = LastRun { at, total_ns: ended.total_ns, stop_reason: ended.stop_reason };
        self.agent(
            &self.state.config,
            self.state.created_at,
            self.state.updated_at,
            Some(last_run),
        );
    }

    fn deleted(&mut self) {
        // Nobody is left to say that its callbacks were sent.
        for run in self.state.callbacks.keys() {
            self.remove(Table::OpenRuns, run.as_bytes().to_vec());
        }
        if !Defect::DeletedIsListed.is_on() {
            self.remove(Table::Agents, self.state.id.as_bytes().to_vec());
        }
        self.tags(&self.state.config.tags, &[]);
        for block in &self.state.blocks {
            self.remove(Table::BlockAgents, pair_key(block.as_bytes(), self.state.id.as_bytes()));
        }
        for conversation in self.state.threads.keys() {
            self.waits_no_more(*conversation);
        }
    }
}

/// Folds `event` into `state` and gives the rows that change with it.
pub fn apply_and_project(state: &mut State, at: Timestamp, event: &Event) -> Vec<RowChange> {
    let rows = project(state, at, event);
    apply(state, at, event);
    rows
}
