//! Compaction: older messages give way to a summary that a model writes. The originals stay in the history.

use std::sync::Arc;

use futures_util::StreamExt as _;
use imbl::Vector;
use retold_events::{
    Message, Role,
    agent::CompactionMode,
    run::{RunError, StopReason},
};
use retold_models::{Chunk, Model, ModelErrorKind, Prompt, ToolChoice};
use tokio::sync::oneshot;

use super::{Compacted, Cut, Failure, ReportKind, StepView, Turn};
use crate::prompt::{stock::compaction_prompt, transcript::render_for_summary};

/// Characters of a summary at most, where the agent sets nothing: V1's `clip_chars`.
const CLIP_CHARS: usize = 50_000;
/// Characters of a transcript below which it is of no use to shorten it further.
const LEAST_ROOM: usize = 1000;

impl Turn {
    /// Makes room in the context window. Ends with the step's new view, or ends the run.
    pub(super) async fn compact(
        &self,
        view: &mut StepView,
        trigger: &'static str,
    ) -> Result<(), Cut> {
        let settings = &view.config.compaction;
        let kept_at = cut(view, settings.mode, settings.sliding_window_percentage);
        let going: Vec<&Message> = view.context.iter().take(kept_at).map(AsRef::as_ref).collect();
        let clip = settings
            .clip_chars
            .map_or(CLIP_CHARS, |chars| usize::try_from(chars).unwrap_or(CLIP_CHARS));
        let summary = self.summarize(view, &going, clip).await?;
        let kept = view.context.skip(kept_at);
        let kept_tokens: u32 =
            kept.iter().map(|message| message.tokens).fold(0, u32::saturating_add);
        let tokens_after = view
            .system
            .tokens
            .saturating_add(kept_tokens)
            .saturating_add(retold_models::tokens::count(&summary));
        let Some((first, last)) = going.first().zip(going.last()) else {
            return Err(nothing_to_give(view).into());
        };
        let compacted = Compacted {
            summary,
            gone: (first.id, last.id),
            trigger,
            tokens_before: u32::try_from(view.context_tokens.max(view.counted_tokens()))
                .unwrap_or(u32::MAX),
            tokens_after,
        };
        let (reply, next) = oneshot::channel();
        self.report(ReportKind::Compacted(Box::new(compacted), reply));
        match next.await {
            Ok(Some(next)) => {
                *view = next;
                Ok(())
            }
            Ok(None) | Err(_) => Err(Cut::Abandoned),
        }
    }

    async fn summarize(
        &self,
        view: &StepView,
        going: &[&Message],
        clip: usize,
    ) -> Result<String, Cut> {
        let settings = &view.config.compaction;
        let own = matches!(
            settings.mode,
            CompactionMode::SelfCompactAll | CompactionMode::SelfCompactSlidingWindow
        );
        let handle = settings.model.as_deref().filter(|_| !own).unwrap_or(&view.model);
        let (model, window) = match self.shared.catalog.resolve(handle) {
            Ok((model, info)) => (model, info.context_window),
            // A summarizer that is gone is no reason to stop talking: the agent's own model can do it.
            Err(_) => match self.shared.catalog.resolve(&view.model) {
                Ok((model, info)) => (model, info.context_window),
                Err(error) => {
                    let message = format!("no model can summarize the history: {error}");
                    return Err(too_large(message).into());
                }
            },
        };
        let stock = compaction_prompt(settings.mode);
        let system = settings.prompt.as_deref().unwrap_or(stock);
        // Two characters a token leave room for the answer in most scripts; where they do not, the provider says so.
        let window = usize::try_from(window.min(view.context_window)).unwrap_or(usize::MAX);
        let mut room = window.saturating_mul(2);
        loop {
            let transcript = render_for_summary(going.iter().copied(), room);
            match self.collect(&*model, system, &transcript, clip).await {
                Err(Collected::TooLong) if room > LEAST_ROOM => room /= 2,
                Err(Collected::TooLong) => return Err(nothing_to_give(view).into()),
                Err(Collected::Cut(cut)) => return Err(cut),
                Ok(summary) => return Ok(summary),
            }
        }
    }

    async fn collect(
        &self,
        model: &dyn Model,
        system: &str,
        transcript: &str,
        clip: usize,
    ) -> Result<String, Collected> {
        let prompt = Prompt {
            system,
            messages: vec![retold_models::Message::User(vec![retold_models::Part::Text(
                transcript,
            )])],
            tools: &[],
            tool_choice: ToolChoice::None,
            parallel_tool_calls: false,
            max_output_tokens: None,
            temperature: None,
            reasoning: None,
            response_format: None,
        };
        let mut stream = model.stream(&prompt);
        let mut summary = String::new();
        while summary.len() < clip {
            let chunk = tokio::select! {
                biased;
                () = self.token.cancelled() => {
                    return Err(Collected::Cut(Cut::Cancelled(Box::default())));
                }
                chunk = stream.next() => chunk,
            };
            match chunk {
                Some(Ok(Chunk::Text(text))) => summary.push_str(&text),
                Some(Ok(Chunk::End { .. })) => break,
                None => return Err(Collected::Cut(no_summary().into())),
                Some(Ok(
                    Chunk::Reasoning(_)
                    | Chunk::ReasoningSignature(_)
                    | Chunk::RedactedReasoning(_)
                    | Chunk::ToolCall { .. }
                    | Chunk::ToolArguments { .. },
                )) => {}
                Some(Err(error)) if error.kind == ModelErrorKind::ContextWindowExceeded => {
                    return Err(Collected::TooLong);
                }
                Some(Err(error)) => return Err(Collected::Cut(error.into())),
            }
        }
        if summary.trim().is_empty() {
            // An empty summary would be a history thrown away.
            return Err(Collected::Cut(no_summary().into()));
        }
        Ok(summary.chars().take(clip).collect())
    }
}

/// Why there is no summary.
enum Collected {
    TooLong,
    Cut(Cut),
}

fn no_summary() -> Failure {
    let error = RunError {
        error_type: "llm_empty_response".to_owned(),
        message:
            "the history had to be summarized, and the model gave no summary; nothing was changed"
                .to_owned(),
        detail: None,
        retry_after_s: None,
    };
    Failure { error, stop_reason: StopReason::InvalidLlmResponse }
}

/// Index of the first message that stays; the length of the context when none does.
///
/// The share that gives way grows by a tenth until what stays fits into what the share leaves of the window. What stays
/// begins with an assistant message, so no tool return stays without its call.
fn cut(view: &StepView, mode: CompactionMode, percentage: f64) -> usize {
    let context = &view.context;
    let all = context.len();
    if matches!(mode, CompactionMode::All | CompactionMode::SelfCompactAll) {
        return all;
    }
    let percentage = if (0.0..1.0).contains(&percentage) { percentage } else { 0.3 };
    let input: u64 = view.input.iter().map(|message| u64::from(message.tokens)).sum();
    let fixed = u64::from(view.system.tokens) + input;
    let room = (f64::from(view.context_window) * (1.0 - percentage)) as u64;
    let mut share = percentage + 0.1;
    while share < 1.0 {
        let at = (all as f64 * share).ceil() as usize;
        if let Some(index) = first_assistant(context, at.max(1))
            && fixed + tokens_from(context, index) <= room
        {
            return index;
        }
        share += 0.1;
    }
    all
}

fn first_assistant(context: &Vector<Arc<Message>>, from: usize) -> Option<usize> {
    context
        .iter()
        .enumerate()
        .skip(from)
        .find(|(_, message)| message.role == Role::Assistant)
        .map(|(index, _)| index)
}

fn tokens_from(context: &Vector<Arc<Message>>, index: usize) -> u64 {
    context.iter().skip(index).map(|message| u64::from(message.tokens)).sum()
}

fn nothing_to_give(view: &StepView) -> Failure {
    too_large(format!(
        "the message does not fit into the context window of {} tokens even without the history; send less at once or raise context_window_limit",
        view.context_window
    ))
}

fn too_large(message: String) -> Failure {
    let error = RunError {
        error_type: "llm_bad_request".to_owned(),
        message,
        detail: None,
        retry_after_s: None,
    };
    Failure { error, stop_reason: StopReason::LlmApiError }
}
