//! How runs begin: accepted, queued, started.

use retold_events::{
    ConversationId, Message as Stored, MessageId, Part, ReturnStatus, Role, RunId, StepId,
    Timestamp, ToolCall, ToolReturn,
    agent::{Config, ContextReplaced, Event},
    run::{self, EndStatus, Input, Request, StopReason},
};
use retold_snapshots::{agent::State, row::RunRow, run::OpenRun};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    Gated, Live, Permits,
    live::{ActiveTurn, Draft},
};
use crate::{
    IdSource, Refusal,
    prompt::{note, stock, system},
    run::{NewMessage, Prepared, Sent},
    turn::{self, Begin, Partial, StepView},
};

impl Live {
    /// Accepts a run, or attaches the request to the run that the same request began before.
    pub(super) async fn send(
        &mut self,
        mut send: Prepared,
        permits: Permits,
    ) -> Result<Gated<Sent>, Refusal> {
        if let Some(open) = same_request(&self.state, &send.request) {
            let run = RunRow::open(self.id(), open);
            return Ok(Gated { value: Sent { run, attached: true }, ticket: self.ticket });
        }
        if self.state.open_runs.is_empty() {
            // Blocks may have been edited by others: the model is to see them as they stand.
            self.refresh().await?;
        }
        self.check_decisions(&mut send, self.draft().now)?;
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        let run = RunId::from_uuid(self.shared.options.ids.next(draft.now));
        let conversation = send.request.conversation;
        self.record(
            &mut draft,
            Some(run),
            Event::RunAccepted(run::Accepted {
                run,
                input: send.input,
                request: send.request,
                decisions: send.decisions,
                client_tools: send.client_tools,
                asked_by: send.asked_by,
            }),
        );
        self.permits.insert(run, permits);
        self.outputs.insert(run, super::live::OutputCursor::default());
        self.shared.hub.open(run, 0);
        self.start_next(&mut draft, conversation);
        let row = self.state.open_runs.get(&run).map(|open| RunRow::open(self.id(), open));
        self.queue(permit, draft, None, |_| ());
        let run = row.ok_or_else(|| Refusal::no_run(run))?;
        Ok(Gated { value: Sent { run, attached: false }, ticket: self.ticket })
    }

    /// Starts the longest waiting run of a thread if none holds it.
    pub(super) fn start_next(&mut self, draft: &mut Draft, conversation: Option<ConversationId>) {
        if self.state.running(conversation).is_some() || self.is_draining() {
            return;
        }
        let next =
            self.state.open_runs.values().find(|run| run.request.conversation == conversation);
        if let Some(run) = next.map(|run| run.id) {
            self.start(draft, run, 1);
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.no_more_runs || self.shared.draining.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Starts a run: gives its input ids, begins its first step, and spawns the turn that waits for the draft.
    pub(super) fn start(&mut self, draft: &mut Draft, run: RunId, attempt: u32) {
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let conversation = open.request.conversation;
        let mut input_ids =
            open.started.as_ref().map_or_else(Vec::new, |started| started.input_ids.clone());
        if attempt == 1 {
            self.deny_expired(draft, conversation);
            let waits =
                self.state.threads.get(&conversation).is_some_and(|it| it.pending().is_some());
            if self.state.config.message_buffer_autoclear && !waits {
                self.clear_context(draft, run, conversation);
            }
        }
        let count = self.state.open_runs.get(&run).map_or(0, |open| open.input.len());
        while input_ids.len() < count {
            let after = input_ids.last().copied().unwrap_or(self.state.last_message);
            let id = self
                .shared
                .options
                .ids
                .next_after(after.uuid().max(self.state.last_message.uuid()), draft.now);
            input_ids.push(MessageId::from_uuid(id));
        }
        self.record(draft, Some(run), Event::RunStarted(run::Started { run, attempt, input_ids }));
        match self.held_for(run) {
            Ok(Some(held)) => {
                self.spawn_turn(draft, run, attempt, Begin::Resolve(Box::new(held)));
            }
            Ok(None) => {
                let Some(view) = self.begin_step(draft, run) else { return };
                self.spawn_turn(draft, run, attempt, Begin::Step(view));
            }
            Err(error) => {
                let stop_reason = StopReason::Error;
                self.end_run(draft, run, EndStatus::Failed, stop_reason, Some(error));
            }
        }
    }

    /// Starts another attempt of a run whose step had come to its calls: the model has spoken, the calls go on.
    pub(super) fn take_over(&mut self, draft: &mut Draft, run: RunId, attempt: u32) {
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let (Some(started), Some(calls)) = (&open.started, &open.calls) else { return };
        let (input_ids, calls) = (started.input_ids.clone(), calls.clone());
        self.record(draft, Some(run), Event::RunStarted(run::Started { run, attempt, input_ids }));
        let Some(view) = self.step_view(run) else { return };
        self.spawn_turn(draft, run, attempt, Begin::TakeOver(view, Box::new(calls)));
    }

    fn clear_context(
        &mut self,
        draft: &mut Draft,
        run: RunId,
        conversation: Option<ConversationId>,
    ) {
        let Some(thread) = self.state.threads.get(&conversation) else { return };
        if !thread.context.is_empty() {
            let messages = vec![Stored::clone(&thread.system)];
            self.record(
                draft,
                Some(run),
                Event::ContextReplaced(ContextReplaced { conversation, messages }),
            );
        }
    }

    /// Records that a step begins, and gives the turn what it needs for it.
    pub(super) fn begin_step(&mut self, draft: &mut Draft, run: RunId) -> Option<StepView> {
        let open = self.state.open_runs.get(&run)?;
        let config = &self.state.config.model;
        let model = open.request.override_model.clone().unwrap_or_else(|| config.handle.clone());
        let overridden = open.request.override_model.is_some();
        let provider = if overridden {
            model.split_once('/').map(|(provider, _)| provider.to_owned())
        } else {
            config.provider_name.clone()
        };
        let started = run::StepStarted {
            run,
            step: StepId::from_uuid(self.shared.options.ids.next(draft.now)),
            message: self.next_message(draft),
            model,
            provider,
            endpoint_type: config.endpoint_type.clone(),
            context_window: config.context_window,
        };
        self.record(draft, Some(run), Event::StepStarted(started));
        self.step_view(run)
    }

    /// What the turn needs for the step under way.
    pub(super) fn step_view(&self, run: RunId) -> Option<StepView> {
        StepView::of(&self.state, run)
    }

    fn spawn_turn(&mut self, draft: &mut Draft, run: RunId, attempt: u32, first: Begin) {
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let (begin, may_begin) = oneshot::channel();
        draft.begin.push(begin);
        let token = CancellationToken::new();
        let turn = turn::Turn {
            agent: self.id(),
            run,
            attempt,
            request: open.request.clone(),
            depth: open.asked_by.map_or(0, |by| by.depth),
            shared: self.shared.clone(),
            actor: self.actor.clone(),
            token: token.clone(),
        };
        let task = tokio::spawn(turn.run(first, may_begin));
        let active = ActiveTurn { attempt, token, task, partial: Partial::default() };
        self.turns.insert(run, active);
    }
}

/// The open run that the same request began, if its client sent it again.
pub(crate) fn same_request<'a>(state: &'a State, request: &Request) -> Option<&'a OpenRun> {
    let fingerprint = request.fingerprint?;
    state.open_runs.values().find(|run| {
        run.request.fingerprint == Some(fingerprint)
            && run.request.conversation == request.conversation
    })
}

/// Bytes of a part that have to be counted.
pub(crate) fn bytes_of(part: &Part) -> usize {
    match part {
        Part::Text { text } | Part::Reasoning { text, .. } => text.len(),
        Part::Image(_) | Part::RedactedReasoning { .. } => 0,
    }
}

/// What a client sent, with ids where it gave none, and counted. Counting takes milliseconds for a long text, so it is
/// done before an actor hears of it.
pub(crate) fn prepare(messages: Vec<NewMessage>, ids: &IdSource, now: Timestamp) -> Vec<Input> {
    let input = |message: NewMessage| Input {
        role: message.role,
        otid: message.otid.unwrap_or_else(|| ids.next(now).to_string()),
        tokens: count(&message.content),
        content: message.content,
        name: message.name,
        sender: message.sender,
    };
    messages.into_iter().map(input).collect()
}

/// Tokens of a message's content.
pub(crate) fn count(content: &[Part]) -> u32 {
    content.iter().fold(0, |sum: u32, part| {
        sum.saturating_add(match part {
            Part::Text { text } | Part::Reasoning { text, .. } => {
                retold_models::tokens::count(text)
            }
            Part::Image(_) => retold_models::tokens::image_tokens(),
            // Opaque: a token is about four bytes of it.
            Part::RedactedReasoning { data } => u32::try_from(data.len() / 4).unwrap_or(u32::MAX),
        })
    })
}

/// The first messages of a thread as stored, from what a client or the agent's type gives.
pub(crate) fn first_messages(
    messages: Vec<NewMessage>,
    mut next: impl FnMut() -> MessageId,
    at: Timestamp,
) -> Vec<Stored> {
    let stored = |message: NewMessage, id| Stored {
        tokens: count(&message.content),
        content: message.content,
        name: message.name,
        otid: message.otid,
        sender: message.sender,
        ..Stored::new(id, message.role, at)
    };
    messages.into_iter().map(|message| stored(message, next())).collect()
}

/// The messages that an agent of an older type begins with: its greeting, and the news of its first visitor.
pub(crate) fn stored_boot(
    config: &Config,
    mut next: impl FnMut() -> MessageId,
    call_id: &str,
    at: Timestamp,
) -> Vec<Stored> {
    let Some(boot) = stock::boot_messages(config.agent_type) else { return Vec::new() };
    let text = |text: &str| vec![Part::Text { text: text.to_owned() }];
    let message =
        |role, content| NewMessage { role, content, name: None, otid: None, sender: None };
    let login = note::login(at, &config.timezone);
    let given = vec![
        message(Role::Assistant, text(boot.thought)),
        message(Role::Tool, Vec::new()),
        message(Role::User, text(&login)),
    ];
    let mut stored = first_messages(given, &mut next, at);
    let arguments = serde_json::json!({ "message": boot.greeting }).to_string();
    let name = "send_message".to_owned();
    if let Some(greeting) = stored.first_mut() {
        greeting.model = Some(config.model.handle.clone());
        greeting.tool_calls =
            vec![ToolCall { id: call_id.to_owned(), name: name.clone(), arguments }];
    }
    if let Some(returned) = stored.get_mut(1) {
        returned.tool_returns = vec![ToolReturn {
            call_id: call_id.to_owned(),
            name,
            status: ReturnStatus::Success,
            content: boot.returned.to_owned(),
            stdout: Vec::new(),
            stderr: Vec::new(),
        }];
    }
    stored
}

/// The system message of a new thread.
pub(crate) fn system_message(
    id: MessageId,
    config: &Config,
    text: String,
    at: Timestamp,
) -> Stored {
    Stored {
        tokens: system::tokens(&config.system, &text),
        content: vec![Part::Text { text }],
        model: Some(config.model.handle.clone()),
        ..Stored::new(id, retold_events::Role::System, at)
    }
}
