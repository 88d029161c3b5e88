//! A compaction, made into events: the summary, and the system message that goes with what stays.

use retold_events::{
    ConversationId, Message as Stored, MessageId, Part, Role, RunId,
    agent::{ContextCompacted, Event, SystemCompiled},
    output::Output,
};
use retold_snapshots::run::ROOM_BELOW;
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

    /// An empty message with an id below those of the input and of the message under way, which got theirs before and
    /// enter the thread after: whoever asks for what is newer than the summary must find them.
    pub(super) fn before_what_is_said(
        &self,
        draft: &Draft,
        run: RunId,
        conversation: Option<ConversationId>,
    ) -> Stored {
        let blank = self.of_step(draft, run);
        let Some(open) = self.state.open_runs.get(&run) else { return blank };
        let input = open.started.as_ref().filter(|_| !open.input_entered);
        let input = input.and_then(|started| Some((*started.input_ids.first()?, started.at)));
        let Some((next, at)) = input.or(open.step.as_ref().map(|step| (step.message, step.at)))
        else {
            return blank;
        };
        let newest = self.state.threads.get(&conversation).map_or(0, |thread| {
            let context = thread.context.iter().map(|message| message.id.uuid().as_u128());
            context.max().unwrap_or(thread.system.id.uuid().as_u128())
        });
        // An earlier summary of this run has its place there, too, also where it has left the context since.
        let newest = newest.max(open.messages.map_or(0, |(_, last)| last.uuid().as_u128()));
        let id = (next.uuid().as_u128() - ROOM_BELOW).max(newest) + 1;
        let id = uuid::Uuid::from_u128(id);
        let fits = id.get_variant() == uuid::Variant::RFC4122 && id < next.uuid();
        if fits { Stored { id: MessageId::from_uuid(id), created_at: at, ..blank } } else { blank }
    }

    /// Says in the log that a turn looks at its thread once more, though nothing of it changed: what it sees now is what
    /// its model is sent, and a replay must look at the same moment. The event's run tells it from a recompilation.
    fn look_again(&mut self, draft: &mut Draft, run: RunId, conversation: Option<ConversationId>) {
        let Some(thread) = self.state.threads.get(&conversation) else { return };
        let same = SystemCompiled {
            conversation,
            text: thread.system.text(),
            tokens: thread.system.tokens,
            compiled_at: thread.compiled_at,
            compiled_from: thread.compiled_from.clone(),
        };
        self.record(draft, Some(run), Event::SystemCompiled(same));
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
            self.look_again(draft, run, conversation);
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
            ..self.before_what_is_said(draft, run, conversation)
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
