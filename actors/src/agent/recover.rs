//! What becomes of runs that were open when the process, or the actor, ended.
//!
//! A model call that showed nothing is made once more. A run of which something was seen ends, keeping that. A run whose
//! turn had not come starts now. So no run stays open for ever, and nothing that a client saw is unsaid.

use std::collections::BTreeMap;

use retold_events::{
    MessageId, RunId,
    defect::Defect,
    output::{Item, Output},
    run::{StepOutcome, StopReason},
};
use retold_snapshots::query;

use super::{Live, live::OutputCursor};
use crate::{Refusal, hub::last_seq, run::interrupted, turn::Partial};

/// Bytes of output read at a time.
const READ_BYTES: usize = 1 << 20;

impl Live {
    /// Closes or resumes every open run, and sends the callbacks that were not sent.
    pub(super) async fn recover(&mut self) -> Result<(), Refusal> {
        for row in self.state.callbacks.values() {
            self.shared.call_back(self.id(), &self.actor, row.clone());
        }
        if self.state.open_runs.is_empty() {
            return Ok(());
        }
        let mut shown: BTreeMap<RunId, Shown> = BTreeMap::new();
        for &run in self.state.open_runs.keys() {
            shown.insert(run, self.shown(run).await?);
        }
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        for (run, shown) in &shown {
            self.outputs.insert(*run, shown.cursor);
            self.shared.hub.open(*run, shown.cursor.last);
        }
        // Told apart before any ends: the end of one starts the next, which nothing has interrupted.
        shown.retain(|run, _| {
            self.state.open_runs.get(run).is_some_and(|run| run.started.is_some())
        });
        for (run, shown) in shown {
            self.recover_run(&mut draft, run, shown);
        }
        let conversations: Vec<_> = self.state.threads.keys().copied().collect();
        for conversation in conversations {
            self.start_next(&mut draft, conversation);
        }
        self.queue(permit, draft, None, |_| ());
        Ok(())
    }

    fn recover_run(&mut self, draft: &mut super::live::Draft, run: RunId, shown: Shown) {
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let Some(started) = &open.started else { return };
        let attempt = started.attempt;
        let has_spoken = open.calls.as_ref().is_some_and(|calls| calls.said.is_some());
        let seen = shown.visible && !Defect::ResumeForgets.is_on();
        let tried = attempt > 1 && !Defect::TriedForEver.is_on();
        if has_spoken && !open.cancel_requested && !tried {
            // What was shown is whole, and the calls know what came of them: nothing has to be said again.
            self.take_over(draft, run, attempt + 1);
        } else if open.cancel_requested || seen || tried {
            // What a client saw stays; a model will not say the same again.
            let answer = self.answer_of(run, shown.partial);
            self.cut_short_draft(draft, run, answer, Vec::new());
        } else {
            let outcome = StepOutcome::Failed { error: interrupted() };
            self.record_step(draft, run, outcome, Vec::new(), |ended| {
                ended.stop_reason = Some(StopReason::Error)
            });
            self.start(draft, run, attempt + 1);
        }
    }

    /// What subscribers of a run can have seen.
    async fn shown(&self, run: RunId) -> Result<Shown, Refusal> {
        let message = self
            .state
            .open_runs
            .get(&run)
            .and_then(|open| open.step.as_ref())
            .map(|step| step.message);
        let mut shown = Shown::default();
        loop {
            let after = shown.cursor.last;
            let items = self
                .shared
                .log
                .read(move |store| Ok(query::outputs(store, run, after, READ_BYTES)))
                .await?
                .map_err(|error| Refusal::Storage(error.to_string()))?;
            let Some(last) = items.last() else { return Ok(shown) };
            shown.cursor.last = last_seq(last);
            for item in &items {
                shown.see(item, message);
            }
        }
    }
}

/// What subscribers of a run can have seen.
#[derive(Debug, Default)]
struct Shown {
    cursor: OutputCursor,
    /// What of the step under way was shown.
    partial: Partial,
    /// Whether anything of the step under way was shown.
    visible: bool,
}

impl Shown {
    fn see(&mut self, item: &Item, under_way: Option<MessageId>) {
        self.cursor.first_at.get_or_insert(item.at);
        if let Output::Delta { message, delta, .. } = &item.output
            && Some(*message) == under_way
        {
            self.visible = true;
            self.partial.push(delta);
        }
    }
}

#[cfg(test)]
mod tests {
    use retold_events::output::Delta;

    use super::*;

    #[test]
    fn a_call_that_was_never_made_is_not_kept() {
        let mut partial = Partial::default();
        partial.push(&Delta::Text("so far".to_owned()));
        partial.push(&Delta::ToolCall {
            id: "c".to_owned(),
            name: Some("f".to_owned()),
            arguments: "{".to_owned(),
        });
        let answer = partial.into_answer();
        assert_eq!(answer.parts.len(), 1);
        assert!(answer.calls.is_empty());
    }
}
