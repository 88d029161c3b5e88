//! A turn: the loop of model calls and tools that one run is, as a task of its own.
//!
//! The turn decides nothing and writes nothing. It works on an immutable view, tells the agent's actor what happened by
//! [`Report`]s, and goes on when the actor says so. Its token drops the provider's socket at any await. Reports carry
//! the number of the attempt, so a turn that was given up can no longer change anything.

mod answer;
mod call;
mod compact;
mod report;
mod resolve;
mod tools;

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use ractor::ActorRef;
use retold_events::{
    AgentId, RunId,
    defect::Defect,
    run::{Request, RunError, StopReason},
};
use retold_models::{ModelError, ModelErrorKind};
use retold_snapshots::run::OpenCalls;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub(crate) use answer::Answer;
pub(crate) use report::{CallsBegun, Compacted, PartDelta, Partial, Report, ReportKind, StepDone};
pub(crate) use resolve::{HeldCalls, denied};

pub(crate) use crate::prompt::StepView;

use crate::agent::{Message, Shared};

/// A turn about to run.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) agent: AgentId,
    pub(crate) run: RunId,
    pub(crate) attempt: u32,
    pub(crate) request: Arc<Request>,
    /// Runs of other agents that led to it.
    pub(crate) depth: u16,
    pub(crate) shared: Shared,
    pub(crate) actor: ActorRef<Message>,
    pub(crate) token: CancellationToken,
}

/// What a turn begins with.
#[derive(Debug)]
pub(crate) enum Begin {
    /// A model call.
    Step(StepView),
    /// Calls that an earlier turn had begun.
    TakeOver(StepView, Box<OpenCalls>),
    /// Calls that waited for a decision, which has come.
    Resolve(Box<HeldCalls>),
}

/// Why a step did not end well.
#[derive(Debug)]
pub(crate) enum Cut {
    /// The token was tripped. Holds what the model had said, and what of it was not reported yet.
    Cancelled(Box<(Answer, Vec<PartDelta>)>),
    /// It failed.
    Failed(Box<Failure>),
    /// The actor is gone or no longer listens to this attempt.
    Abandoned,
}

/// A failure that ends the run.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: RunError,
    pub(crate) stop_reason: StopReason,
}

impl Turn {
    /// Runs until the actor says that the run has ended. Begins once `may_begin` fires: when the run is durable.
    pub(crate) async fn run(mut self, begin: Begin, may_begin: oneshot::Receiver<()>) {
        if may_begin.await.is_err() {
            return;
        }
        if Defect::EarlyCancelLost.is_on() && self.token.is_cancelled() {
            self.token = CancellationToken::new();
        }
        // A panic is this run's failure and nobody else's.
        let cut = match AssertUnwindSafe(self.steps(begin)).catch_unwind().await {
            Ok(cut) => cut,
            Err(_) => Cut::Failed(Box::new(Failure::internal(
                "the turn panicked; the server's log has the details",
            ))),
        };
        match cut {
            Cut::Cancelled(said) => self.report(ReportKind::Cancelled(said)),
            Cut::Failed(failure) => self.report(ReportKind::Failed(failure)),
            Cut::Abandoned => {}
        }
    }

    /// One step after the other, until the actor gives no further one.
    async fn steps(&self, begin: Begin) -> Cut {
        let first = match begin {
            Begin::Step(view) => Ok(view),
            Begin::TakeOver(view, calls) => self.first_taken_over(view, &calls).await,
            Begin::Resolve(held) => self.resolve(*held).await,
        };
        let mut view = match first {
            Ok(view) => view,
            Err(cut) => return cut,
        };
        loop {
            let next = match self.step(&mut view).await {
                Ok(done) => self.hand_in(done).await,
                Err(cut) => Err(cut),
            };
            match next {
                Ok(next) => view = view.followed_by(next),
                Err(cut) => return cut,
            }
        }
    }

    async fn first_taken_over(&self, view: StepView, calls: &OpenCalls) -> Result<StepView, Cut> {
        let Some(said) = &calls.said else { return Err(Cut::Abandoned) };
        let done = self.take_over(&view, calls, said).await?;
        Ok(view.followed_by(self.hand_in(done).await?))
    }

    /// Reports a step and gives the next one's view.
    async fn hand_in(&self, done: StepDone) -> Result<StepView, Cut> {
        let (reply, next) = oneshot::channel();
        self.report(ReportKind::Done(Box::new(done), reply));
        next_view(next).await
    }

    fn report(&self, kind: ReportKind) {
        let report = Report { run: self.run, attempt: self.attempt, kind };
        // An actor that is gone will find the run open when it is activated again.
        let _ = self.actor.send_message(Message::Turn(report));
    }

    fn now(&self) -> retold_events::Timestamp {
        self.shared.options.clock.now()
    }
}

async fn next_view(next: oneshot::Receiver<Option<StepView>>) -> Result<StepView, Cut> {
    next.await.ok().flatten().ok_or(Cut::Abandoned)
}

impl Failure {
    fn internal(message: &str) -> Self {
        Self {
            error: RunError {
                error_type: "internal_error".to_owned(),
                message: message.to_owned(),
                detail: None,
                retry_after_s: None,
            },
            stop_reason: StopReason::Error,
        }
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let (error_type, stop_reason) = match error.kind {
            ModelErrorKind::Authentication => ("llm_authentication", StopReason::LlmApiError),
            ModelErrorKind::InsufficientCredits => {
                ("llm_insufficient_credits", StopReason::InsufficientCredits)
            }
            ModelErrorKind::RateLimit => ("llm_rate_limit", StopReason::LlmApiError),
            ModelErrorKind::Timeout => ("llm_timeout", StopReason::LlmApiError),
            ModelErrorKind::ContextWindowExceeded | ModelErrorKind::BadRequest => {
                ("llm_bad_request", StopReason::LlmApiError)
            }
            ModelErrorKind::Server | ModelErrorKind::Connection => {
                ("llm_error", StopReason::LlmApiError)
            }
            ModelErrorKind::InvalidResponse => ("llm_error", StopReason::InvalidLlmResponse),
        };
        Self {
            error: RunError {
                error_type: error_type.to_owned(),
                message: error.message,
                detail: error.detail.map(|detail| detail.to_string()),
                retry_after_s: error
                    .retry_after
                    .map(|after| u32::try_from(after.as_secs()).unwrap_or(u32::MAX)),
            },
            stop_reason,
        }
    }
}

impl From<Failure> for Cut {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl From<ModelError> for Cut {
    fn from(error: ModelError) -> Self {
        Failure::from(error).into()
    }
}
