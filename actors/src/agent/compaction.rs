//! A compaction, made into events: the summary, and the system message that goes with what stays.

use retold_events::{
    Message as Stored, Part, Role, RunId,
    agent::{ContextCompacted, Event},
    output::Output,
};
use tokio::sync::oneshot;

use super::{Live, live::Draft};
use crate::{
    Refusal,
    block::Seen,
    prompt,
    turn::{Compacted, StepView},
};

impl Live {
    pub(super) async fn compacted(
        &mut self,
        run: RunId,
        compacted: Compacted,
        next: oneshot::Sender<Option<StepView>>,
    ) -> Result<(), Refusal> {
        let seen = self.see_blocks().await?;
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        self.compact_draft(&mut draft, run, compacted, &seen);
        let view = self.step_view(run);
        self.queue(permit, draft, None, move |durable| {
            if durable {
                // A turn that is gone has been cancelled meanwhile.
                let _ = next.send(view);
            }
        });
        Ok(())
    }

    fn compact_draft(
        &mut self,
        draft: &mut Draft,
        run: RunId,
        compacted: Compacted,
        seen: &[Seen],
    ) {
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let conversation = open.request.conversation;
        let as_summary = open.request.include_compaction_messages;
        let Some(thread) = self.state.threads.get(&conversation) else { return };
        // While the summary was written the context may have been reset or replaced: then it is of something else, and
        // the turn looks again. What came after the last message that goes stays.
        let (first, last) = compacted.gone;
        let last = thread.context.iter().position(|message| message.id == last);
        let Some(going) =
            last.filter(|_| thread.context.front().is_some_and(|front| front.id == first))
        else {
            return;
        };
        let kept_from = thread.context.get(going + 1).map(|message| message.id);
        let before = u32::try_from(thread.context.len() + 1).unwrap_or(u32::MAX);
        let kept = thread.context.len() - going - 1;
        let after = u32::try_from(kept + 2).unwrap_or(u32::MAX);
        let window = self.state.config.model.context_window;
        let text = serde_json::json!({
            "type": "system_alert",
            "message": format!(
                "Earlier messages left the context window and are kept in recall memory. What they came to:\n{}",
                compacted.summary
            ),
            "time": prompt::note::local_time(draft.now, &self.state.config.timezone),
            "compaction_stats": {
                "trigger": compacted.trigger,
                "context_tokens_before": compacted.tokens_before,
                "context_tokens_after": compacted.tokens_after,
                "context_window": window,
                "messages_count_before": before,
                "messages_count_after": after,
            },
        })
        .to_string();
        let summary = Stored {
            role: if as_summary { Role::Summary } else { Role::User },
            tokens: retold_models::tokens::count(&text),
            content: vec![Part::Text { text }],
            ..self.of_step(draft, run)
        };
        let event = ContextCompacted {
            conversation,
            summary: summary.clone(),
            kept_from,
            trigger: compacted.trigger.to_owned(),
            tokens_before: compacted.tokens_before,
            tokens_after: compacted.tokens_after,
            messages_before: before,
            messages_after: after,
        };
        self.record(draft, Some(run), Event::ContextCompacted(event));
        self.recompile_draft(draft, conversation, seen, false);
        let output = Output::Compacted {
            summary,
            trigger: compacted.trigger.to_owned(),
            tokens_before: compacted.tokens_before,
            tokens_after: compacted.tokens_after,
            context_window: window,
            messages_before: before,
            messages_after: after,
        };
        self.show(draft, run, output);
    }
}
