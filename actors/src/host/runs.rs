//! Runs: sent, followed, cancelled, judged.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use retold_events::{
    AgentId, RunId, StepId,
    run::{Feedback, FeedbackGiven, Input},
    store::Table,
};
use retold_snapshots::{
    query,
    row::{RunRow, decode},
};

use tokio::time::Instant;

use super::Host;
use crate::{
    Refusal,
    agent::{self, Message, Permits},
    hub::Follow,
    run::{CancelOutcome, NewMessage, Prepared, Send as SendRun, Sent},
    talk::LONGEST_CANCEL,
};

/// Bytes of text counted on the thread that asks: some 100 microseconds.
const COUNTED_INLINE: usize = 8 << 10;
/// When to come back to a full queue. A turn takes seconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Host {
    /// Sends to an agent. Answers once the run is durable; it may still wait for its turn.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn send(&self, agent: AgentId, mut send: SendRun) -> Result<Sent, Refusal> {
        if let Some(attached) = self.attach(agent, &send).await? {
            return Ok(attached);
        }
        self.check_room()?;
        if self.is_draining() {
            return Err(Refusal::Draining);
        }
        if send.messages.is_empty() && send.decisions.is_empty() {
            return Err(Refusal::Unprocessable("at least one message is needed".to_owned()));
        }
        if send.request.callback_url.is_some() && self.0.shared.options.callbacks.is_none() {
            return Err(Refusal::Invalid(
                "this server makes no callbacks; leave callback_url out".to_owned(),
            ));
        }
        if let Some(handle) = &send.request.override_model {
            self.0.shared.catalog.resolve_or_refresh(handle).await?;
        }
        let options = &self.0.shared.options;
        let input = self.prepare(std::mem::take(&mut send.messages)).await?;
        let SendRun { messages: _, decisions, client_tools, asked_by, request } = send;
        let prepared = Prepared { input, decisions, client_tools, asked_by, request };
        let hold = self.0.directory.wake(agent).await?;
        let server = self
            .0
            .open_runs
            .try_take()
            .ok_or(Refusal::Overloaded { open: options.max_open_runs, retry_after: RETRY_AFTER })?;
        let share = hold
            .queue()
            .ok_or(Refusal::QueueFull { open: options.queue_bound, retry_after: RETRY_AFTER })?;
        let permits = Permits::new(share, server);
        self.ask_held(&hold, |reply| Message::Send(Box::new(prepared), permits, reply)).await
    }

    /// Attaches a request that is sent again to the run it began, if that is open. This needs no room anywhere, so no
    /// bound stands against it.
    async fn attach(&self, agent: AgentId, send: &SendRun) -> Result<Option<Sent>, Refusal> {
        let awake = self.0.directory.awake(agent);
        let seen = awake.as_ref().and_then(|hold| hold.gauges()?.seen.load_full());
        let Some(seen) = seen else { return Ok(None) };
        let Some(open) = agent::same_request(&seen.state, &send.request) else { return Ok(None) };
        let run = RunRow::open(agent, open);
        self.durable(seen.ticket).await?;
        Ok(Some(Sent { run, attached: true }))
    }

    /// Counts what was sent. The first count in a process takes half a second, for the vocabulary, and a long text
    /// takes milliseconds: neither may hold up a thread that serves others.
    pub(super) async fn prepare(&self, messages: Vec<NewMessage>) -> Result<Vec<Input>, Refusal> {
        let (ids, now) =
            (Arc::clone(&self.0.shared.options.ids), self.0.shared.options.clock.now());
        let bytes: usize =
            messages.iter().flat_map(|message| &message.content).map(agent::bytes_of).sum();
        if bytes <= COUNTED_INLINE && self.0.counts.load(Ordering::Relaxed) {
            return Ok(agent::prepare(messages, &ids, now));
        }
        let counted =
            tokio::task::spawn_blocking(move || agent::prepare(messages, &ids, now)).await;
        self.0.counts.store(true, Ordering::Relaxed);
        counted.map_err(|_| Refusal::Draining)
    }

    /// Cancels runs of an agent, all open ones where none is named. Answers once each has ended durably, and the runs of
    /// other agents that it waited for have, too. An empty answer means that nothing was under way.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn cancel(
        &self,
        agent: AgentId,
        runs: Option<Vec<RunId>>,
    ) -> Result<Vec<(RunId, CancelOutcome)>, Refusal> {
        let asked = Instant::now();
        let outcomes = self.ask(agent, |reply| Message::Cancel(runs, reply)).await?;
        let ended: Vec<RunId> = outcomes.iter().map(|(run, _)| *run).collect();
        let over = self.0.shared.toolbox.talk().over(&ended);
        if tokio::time::timeout(LONGEST_CANCEL, over).await.is_err() {
            tracing::warn!(%agent, "runs that a cancelled one had asked for have not ended yet");
        }
        if outcomes.iter().any(|(_, outcome)| matches!(outcome, CancelOutcome::Cancelled)) {
            self.0.shared.metrics.cancelled(asked);
        }
        Ok(outcomes)
    }

    /// A run as it stands.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn run(&self, id: RunId) -> Result<RunRow, Refusal> {
        let bytes =
            self.0.shared.log.read_inline(|store| store.row(Table::Runs, id.as_bytes())).await?;
        let bytes = bytes.ok_or_else(|| Refusal::no_run(id))?;
        decode(&bytes).map_err(|error| Refusal::Storage(error.to_string()))
    }

    /// A run once it has ended.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn run_end(&self, id: RunId) -> Result<RunRow, Refusal> {
        let mut follow = self.follow(id, u64::MAX - 1);
        while follow.next().await?.is_some() {}
        self.run(id).await
    }

    /// Removes an ended run from the lists.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn delete_run(&self, id: RunId) -> Result<(), Refusal> {
        let run = self.run(id).await?;
        self.ask(run.agent, |reply| Message::DeleteRun(id, reply)).await
    }

    /// Judges a step.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn give_feedback(
        &self,
        step: StepId,
        feedback: Option<Feedback>,
        tags: Vec<String>,
    ) -> Result<(), Refusal> {
        let found = self.read(move |store| Ok(query::step(store, step))).await?;
        let found = found.map_err(|error| Refusal::Storage(error.to_string()))?;
        let (row, _) =
            found.ok_or_else(|| Refusal::NotFound { what: "Step", id: step.to_string() })?;
        let given = FeedbackGiven { run: row.run, step, feedback, tags };
        self.ask(row.agent, |reply| Message::Feedback(given, reply)).await
    }

    /// The number of the last item that a run has come to, where `after` is greater: nobody can have seen that one.
    ///
    /// # Errors
    /// [`Refusal::Storage`] when the log cannot be read.
    pub async fn last_output_if_before(
        &self,
        run: RunId,
        after: u64,
    ) -> Result<Option<u64>, Refusal> {
        self.0.shared.hub.last_if_before(run, after).await
    }

    /// Follows what a run shows, from item `after + 1` on, live until its end.
    #[must_use]
    pub fn follow(&self, run: RunId, after: u64) -> Follow {
        self.0.shared.hub.follow(run, after)
    }
}
