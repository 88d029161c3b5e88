//! The actor: matches a message, calls one method, replies. It awaits the log and nothing slower.

use std::{collections::HashMap, sync::Arc};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use retold_events::{
    RunId,
    agent::Event,
    run::{Deleted, FeedbackGiven},
};
use retold_snapshots::{agent::State, load::Loaded, row::RunStatus};

use super::{Gated, Live, Message, Permits, Reply, Shared, live::Gauges};
use crate::{
    Refusal,
    directory::{Actors, Known},
    turn::Report,
};

/// One agent.
#[derive(Debug)]
pub(crate) struct AgentActor;

/// What an agent's actor begins with.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) shared: Shared,
    pub(crate) loaded: Loaded<State>,
    pub(crate) gauges: Arc<Gauges>,
    /// Of the runs that are open.
    pub(crate) permits: HashMap<RunId, Permits>,
    /// Where it is noted before it hears its first message.
    pub(crate) actors: Actors,
}

/// Why an actor ends that is ahead of the log.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a commit of it was refused; it starts anew from the log")]
pub(crate) struct Diverged;

impl Actor for AgentActor {
    type Msg = Message;
    type State = Live;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        arguments: Arguments,
    ) -> Result<Live, ActorProcessingErr> {
        let Arguments { shared, loaded, gauges, permits, actors } = arguments;
        let (agent, actor) = (loaded.state.id, myself.get_id());
        let idle = loaded.state.open_runs.is_empty() && loaded.state.callbacks.is_empty();
        let recovered_at = (!idle).then_some(loaded.seq);
        let mut live = Live::new(shared, loaded, myself, Arc::clone(&gauges));
        live.permits = permits;
        live.recover().await?;
        actors.note(actor, Known { agent, gauges, recovered_at });
        Ok(live)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        live: &mut Live,
    ) -> Result<(), ActorProcessingErr> {
        let message = if live.state.deleted {
            // It was asked while it was being deleted.
            let Some(message) = message.refused(Refusal::no_agent(live.id())) else {
                return Ok(());
            };
            message
        } else {
            message
        };
        match message {
            Message::Send(send, permits, reply) => answer(reply, live.send(*send, permits).await),
            Message::Cancel(runs, reply) => live.cancel(runs, reply).await,
            Message::Change(change, reply) => answer(reply, live.change(change).await),
            Message::Recompile { update_timestamp, dry_run, reply } => {
                answer(reply, live.recompile(update_timestamp, dry_run).await);
            }
            Message::Reset { add_default, reply } => answer(reply, live.reset(add_default).await),
            Message::Refresh(reply) => answer(reply, live.refresh().await),
            Message::Delete(reply) => answer(reply, live.delete().await),
            Message::DeleteRun(run, reply) => answer(reply, live.delete_run(run).await),
            Message::Feedback(given, reply) => answer(reply, Ok(live.feedback(given).await)),
            // An error here is a broken log or a lost turn: the actor ends, and the next one recovers from the log.
            Message::Turn(report) => hear(live, report).await?,
            Message::GraceOver { run, attempt } => live.grace_over(run, attempt).await,
            Message::CallbackSent { run, result } => live.callback_sent(run, result).await,
            Message::Interrupt => live.interrupt(),
            Message::DenyExpired => live.deny_all_expired().await,
            Message::Diverged => return Err(Diverged.into()),
            Message::Sleep => {
                live.save().await;
                myself.stop(None);
            }
        }
        Ok(())
    }
}

async fn hear(live: &mut Live, report: Report) -> Result<(), ActorProcessingErr> {
    live.hear(report).await.map_err(Into::into)
}

fn answer<T>(reply: Reply<T>, result: Result<Gated<T>, Refusal>) {
    reply.send(result);
}

impl Live {
    async fn delete_run(&mut self, run: RunId) -> Result<Gated<()>, Refusal> {
        if self.state.open_runs.contains_key(&run) {
            return Err(Refusal::Conflict(format!(
                "{run} has not ended; cancel it before deleting it"
            )));
        }
        let row = self.stored_run(run).await?;
        if !row.is_some_and(|row| matches!(row.status, RunStatus::Ended(_))) {
            return Err(Refusal::no_run(run));
        }
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        self.record(&mut draft, Some(run), Event::RunDeleted(Deleted { run }));
        self.queue(permit, draft, None, |_| ());
        Ok(Gated { value: (), ticket: self.ticket() })
    }

    async fn feedback(&mut self, given: FeedbackGiven) -> Gated<()> {
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        self.record(&mut draft, Some(given.run), Event::FeedbackGiven(given));
        self.queue(permit, draft, None, |_| ());
        Gated { value: (), ticket: self.ticket() }
    }
}
