//! A stored history in the terms of a model provider, and as a plain text for a model that compacts it.
//!
//! Both borrow or cut what is stored; neither changes its meaning. Providers refuse a whole history for one call without
//! its return, and the log promises that there is none. A history written under other rules is mended here all the same,
//! because an agent that no provider accepts any more is lost for good.

mod plain;

use retold_events::{Image, Message, Part, ReturnStatus, Role, ToolCall, ToolReturn};
use retold_models as models;

pub(crate) use plain::render_for_summary;

/// What stands in for a return that is missing.
const NO_RESULT: &str = "no result was recorded";

/// The messages of a thread, without its system message, as a provider is sent them. Nothing is copied.
///
/// A message with nothing in it is left out, as is a return without its call; a call without its return gets one that
/// says so.
pub(crate) fn to_model<'a>(
    messages: impl Iterator<Item = &'a Message>,
) -> Vec<models::Message<'a>> {
    let messages: Vec<&Message> = messages.collect();
    let mut out = Vec::with_capacity(messages.len());
    let mut rest = &messages[..];
    while let Some((&message, behind)) = rest.split_first() {
        rest = behind;
        match message.role {
            Role::System => out.extend(texts(message).map(models::Message::System)),
            Role::User | Role::Summary => out.extend(said(message)),
            Role::Assistant | Role::Approval => {
                // What one step said may be two messages: calls that wait for a decision have their own.
                let waiting = rest
                    .first()
                    .copied()
                    .filter(|next| next.role == Role::Approval && next.step == message.step);
                rest = &rest[usize::from(waiting.is_some())..];
                out.extend(answered(message, waiting));
                let calls = message.tool_calls.iter();
                let calls = calls.chain(waiting.into_iter().flat_map(|next| &next.tool_calls));
                let mut returns = returns_behind(rest);
                out.extend(calls.map(|call| returned(call, &mut returns)));
            }
            // A return without its call: those that have one are taken with it.
            Role::Tool => {}
        }
    }
    out
}

/// What tools returned until the model speaks again. Another's message may stand before it: somebody wrote while a
/// decision was waited for.
fn returns_behind<'a>(rest: &[&'a Message]) -> Vec<Option<&'a ToolReturn>> {
    rest.iter()
        .take_while(|next| !matches!(next.role, Role::Assistant | Role::Approval))
        .flat_map(|next| next.tool_returns.iter().map(Some))
        .collect()
}

fn texts(message: &Message) -> impl Iterator<Item = &str> {
    message.content.iter().filter_map(|part| match part {
        Part::Text { text } => (!text.is_empty()).then_some(text.as_str()),
        Part::Image(_) | Part::Reasoning { .. } | Part::RedactedReasoning { .. } => None,
    })
}

fn said(message: &Message) -> Option<models::Message<'_>> {
    let parts: Vec<models::Part<'_>> = message
        .content
        .iter()
        .filter_map(|part| match part {
            Part::Text { text } => (!text.is_empty()).then_some(models::Part::Text(text)),
            Part::Image(image) => Some(models::Part::Image(picture(image))),
            Part::Reasoning { .. } | Part::RedactedReasoning { .. } => None,
        })
        .collect();
    (!parts.is_empty()).then_some(models::Message::User(parts))
}

/// What the model said; `None` when that is nothing. Thoughts that led to nothing, as a cancel leaves them, are nothing:
/// no provider takes an answer of thoughts alone.
fn answered<'a>(message: &'a Message, waiting: Option<&'a Message>) -> Option<models::Message<'a>> {
    let all = || std::iter::once(message).chain(waiting);
    let parts: Vec<models::Part<'_>> = all()
        .flat_map(|message| &message.content)
        .filter_map(|part| match part {
            Part::Text { text } => {
                (!text.trim().is_empty()).then_some(models::Part::Text(text.as_str()))
            }
            Part::Reasoning { text, signature } => {
                Some(models::Part::Reasoning { text, signature: signature.as_deref() })
            }
            Part::RedactedReasoning { data } => Some(models::Part::RedactedReasoning(data)),
            Part::Image(_) => None,
        })
        .collect();
    let speaks = parts.iter().any(|part| matches!(part, models::Part::Text(_)));
    let calls: Vec<models::ToolCall<'_>> = all()
        .flat_map(|message| &message.tool_calls)
        .map(|ToolCall { id, name, arguments }| models::ToolCall { id, name, arguments })
        .collect();
    (speaks || !calls.is_empty()).then_some(models::Message::Assistant { parts, calls })
}

/// The return of `call`, taken out of `returns`: two calls of one id get one each.
fn returned<'a>(call: &'a ToolCall, returns: &mut [Option<&'a ToolReturn>]) -> models::Message<'a> {
    let found = returns
        .iter_mut()
        .find(|slot| slot.is_some_and(|found| found.call_id == call.id))
        .and_then(Option::take);
    let (content, is_error) = found.map_or((NO_RESULT, true), |found| {
        (found.content.as_str(), found.status == ReturnStatus::Error)
    });
    models::Message::Tool { call_id: &call.id, content, is_error }
}

fn picture(image: &Image) -> models::Image<'_> {
    match image {
        Image::Url { url } => models::Image::Url(url),
        Image::Base64 { media_type, data, detail: _ } => models::Image::Base64 { media_type, data },
    }
}

#[cfg(test)]
mod tests;
