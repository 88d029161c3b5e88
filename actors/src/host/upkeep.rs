//! What a host does by itself: sleep for idle agents, recovery of failed ones, news of edits, and the end.

use std::{sync::atomic::Ordering, time::Duration};

use retold_events::{AgentId, Timestamp, log::Log, store::Commit};
use retold_snapshots::query;
use tokio::sync::mpsc;

use super::{Host, WeakHost};
use crate::{
    Refusal,
    agent::{EditedBlocks, Message},
    hub::Hub,
};

/// Pause before an agent that could not be recovered is tried again: a disk that hangs for a moment is often back within
/// a second. Each further pause is four times as long, up to the longest.
const RECOVER_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Pause between looks for calls that nobody decided about. A week is the usual bound, so half a minute more is nothing.
const DENY_EVERY: Duration = Duration::from_secs(30);
/// Agents that are woken for it at a time; the others have their turn half a minute later.
const DENIED_AT_ONCE: usize = 1000;
/// A disk that is away for longer needs a person.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

impl Host {
    /// Starts no further run; gives those under way until `deadline`, then ends them durably as interrupted. Runs that
    /// wait stay in the log and start with the next start of the server.
    pub async fn drain(&self, deadline: Duration) {
        self.0.shared.draining.store(true, Ordering::Release);
        if tokio::time::timeout(deadline, self.turns_over()).await.is_err() {
            for hold in self.0.directory.busy() {
                // An agent that is gone has nothing under way.
                let _ = hold.tell(Message::Interrupt);
            }
            let grace = self.0.shared.options.cancel_grace + Duration::from_secs(1);
            if tokio::time::timeout(grace, self.turns_over()).await.is_err() {
                tracing::warn!(
                    "some runs did not end in time; they are recovered at the next start"
                );
            }
        }
        // What is durable is shown a moment later, and in order: whoever reads a stream is to hear its end.
        let _ = self.0.shared.log.append(Commit::default()).await;
    }

    /// Has every agent deny the calls that have waited for too long.
    async fn deny_expired(&self) -> Result<(), Refusal> {
        let options = &self.0.shared.options;
        let waited = i64::try_from(options.approval_timeout.as_micros()).unwrap_or(i64::MAX);
        let by = options.clock.now().as_micros().saturating_sub(waited);
        let by = Timestamp::from_micros(by);
        let waiting = self.read(move |store| Ok(query::waiting(store, by, DENIED_AT_ONCE))).await?;
        for agent in waiting.map_err(|error| Refusal::Storage(error.to_string()))? {
            match self.0.directory.wake(agent).await {
                // An agent that is gone has nothing that waits.
                Ok(hold) => drop(hold.tell(Message::DenyExpired)),
                Err(refusal) => {
                    tracing::warn!(%agent, %refusal, "calls that wait for too long could not be denied");
                }
            }
        }
        Ok(())
    }

    /// Ends once no turn is under way.
    async fn turns_over(&self) {
        loop {
            let under_way = self.0.directory.busy().iter().any(|hold| {
                let seen = hold.gauges().and_then(|gauges| gauges.seen.load_full());
                seen.is_some_and(|seen| {
                    let started = seen.state.open_runs.values().any(|run| run.started.is_some());
                    started
                        || seen.ticket.is_some_and(|ticket| !self.0.shared.log.is_durable(ticket))
                })
            });
            if !under_way {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Puts idle agents to sleep and lets go of pasts that nobody reads, once a second.
pub(super) async fn keep_room(host: WeakHost) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(host) = host.revive() else { return };
        host.make_room();
        host.0.pasts.forget_idle();
    }
}

/// Denies calls that have waited for a person or for the client for too long, so that nobody finds a conversation that is
/// stuck.
pub(super) async fn deny_expired(host: WeakHost) {
    loop {
        tokio::time::sleep(DENY_EVERY).await;
        let Some(host) = host.revive() else { return };
        if let Err(refusal) = host.deny_expired().await {
            tracing::warn!(%refusal, "calls that wait for too long could not be looked for");
        }
    }
}

/// Recovers agents whose actor failed: their open runs must not stay open.
pub(super) async fn recover_failed(host: WeakHost, mut failed: mpsc::Receiver<AgentId>) {
    while let Some(agent) = failed.recv().await {
        tokio::spawn(recover(host.clone(), agent));
    }
}

/// Wakes an agent, which recovers it.
async fn recover(host: WeakHost, agent: AgentId) {
    if may_recover_later(&host, agent).await {
        recover_later(host, agent).await;
    }
}

/// Wakes an agent, after a pause, until that succeeds or cannot.
pub(super) async fn recover_later(host: WeakHost, agent: AgentId) {
    let mut pause = RECOVER_AGAIN_AFTER;
    loop {
        tokio::time::sleep(pause).await;
        if !may_recover_later(&host, agent).await {
            return;
        }
        pause = (pause * 4).min(LONGEST_PAUSE);
    }
}

/// Wakes an agent. Gives whether it failed and may succeed later: while storage does not answer, or until the agent is
/// quarantined.
async fn may_recover_later(host: &WeakHost, agent: AgentId) -> bool {
    let Some(host) = host.revive() else { return false };
    let Err(refusal) = host.0.directory.wake(agent).await else { return false };
    tracing::error!(%agent, %refusal, "an agent with open runs could not be recovered");
    matches!(refusal, Refusal::Storage(_)) && host.0.shared.log.failure().is_none()
}

/// Tells those who follow a run when the log fails.
pub(super) async fn tell_failure(log: Log, hub: Hub) {
    log.failed().await;
    hub.fail();
}

/// Has agents that share edited blocks bring their system messages up to date.
pub(super) async fn tell_edits(host: WeakHost, mut edits: mpsc::Receiver<EditedBlocks>) {
    while let Some(EditedBlocks { by, blocks }) = edits.recv().await {
        let Some(host) = host.revive() else { return };
        for block in blocks {
            host.refresh_agents_of(block, Some(by), 0).await;
        }
    }
}
