//! What a host does by itself: sleep for idle agents, recovery of failed ones, news of edits, and the end.

use std::{sync::atomic::Ordering, time::Duration};

use retold_events::{AgentId, log::Log};
use tokio::sync::mpsc;

use super::{Host, WeakHost};
use crate::{
    Refusal,
    agent::{EditedBlocks, Message},
    hub::Hub,
};

/// Pause between two attempts to recover an agent whose history cannot be read: a disk that hangs for a moment is often
/// back within a second.
const RECOVER_AGAIN_AFTER: Duration = Duration::from_millis(500);

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

/// Puts idle agents to sleep, once a second.
pub(super) async fn keep_room(host: WeakHost) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(host) = host.revive() else { return };
        host.make_room();
    }
}

/// Recovers agents whose actor failed: their open runs must not stay open.
pub(super) async fn recover_failed(host: WeakHost, mut failed: mpsc::Receiver<AgentId>) {
    while let Some(agent) = failed.recv().await {
        tokio::spawn(recover(host.clone(), agent));
    }
}

/// Wakes an agent, which recovers it; again and again while storage does not answer.
pub(super) async fn recover(host: WeakHost, agent: AgentId) {
    loop {
        let Some(alive) = host.revive() else { return };
        let Err(refusal) = alive.0.directory.wake(agent).await else { return };
        tracing::error!(%agent, %refusal, "an agent with open runs could not be recovered");
        let passes = matches!(refusal, Refusal::Storage(_));
        if !passes || alive.0.shared.log.failure().is_some() {
            return;
        }
        drop(alive);
        tokio::time::sleep(RECOVER_AGAIN_AFTER).await;
    }
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
