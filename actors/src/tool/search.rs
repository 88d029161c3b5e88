//! What `conversation_search` looks for, and how it tells what it found.

use jiff::{SignedDuration, civil, tz::TimeZone};
use retold_events::{Message, Role, Timestamp, ToolCall};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::prompt::note::{instant, zone};

/// Results where the call names no limit. Source: V1.
const LIMIT: u32 = 5;

/// Results at most, whatever the call says: they fill the context window of the agent that asked.
const MAX_LIMIT: u32 = 100;

/// What to look for. Members that are `None` or empty allow everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SearchQuery {
    /// Words that must all occur, in any case and order.
    pub(crate) query: Option<String>,
    /// Whose messages.
    pub(crate) roles: Vec<Role>,
    /// How many at most, within `1..=100`.
    pub(crate) limit: u32,
    /// The first moment that counts.
    pub(crate) start: Option<Timestamp>,
    /// The last moment that counts.
    pub(crate) end: Option<Timestamp>,
}

/// Reads the arguments of a call; dates without a zone are in `timezone`. Text that is no JSON object counts as no
/// arguments.
///
/// # Errors
/// A sentence for the model when an argument is not understood.
pub(crate) fn parse(arguments: &str, timezone: &str) -> Result<SearchQuery, String> {
    let arguments: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
    let zone = zone(timezone);
    let query = text(&arguments, "query")?.map(str::trim).filter(|query| !query.is_empty());
    let date = |name, edge| -> Result<Option<Timestamp>, String> {
        let given = text(&arguments, name)?.map(str::trim).filter(|date| !date.is_empty());
        given.map(|date| moment(name, date, &zone, edge)).transpose()
    };
    Ok(SearchQuery {
        query: query.map(str::to_owned),
        roles: roles(arguments.get("roles"))?,
        limit: limit(arguments.get("limit"))?,
        start: date("start_date", Edge::Start)?,
        end: date("end_date", Edge::End)?,
    })
}

/// The results as the tool returns them: JSON text of an object. Times are in `timezone`; the order is kept. Messages
/// that say nothing are left out.
pub(crate) fn render(results: &[Message], now: Timestamp, timezone: &str) -> String {
    #[derive(Serialize)]
    struct Found {
        message: String,
        results: Vec<Hit>,
    }
    #[derive(Serialize)]
    struct Hit {
        timestamp: String,
        time_ago: String,
        role: &'static str,
        content: String,
    }
    let zone = zone(timezone);
    let hit = |message: &Message| {
        Some(Hit {
            timestamp: iso(message.created_at, &zone),
            time_ago: time_ago(now, message.created_at),
            role: role_name(message.role),
            content: said(message)?,
        })
    };
    let results: Vec<Hit> = results.iter().filter_map(hit).collect();
    let message = match results.len() {
        0 => "No results found.".to_owned(),
        count => format!("Showing {count} results:"),
    };
    serde_json::to_string(&Found { message, results }).expect("texts and lists are JSON")
}

/// What a message says: its text, and what its `send_message` calls say. `None` when that is nothing: it only calls
/// tools, or it is a note of the server.
fn said(message: &Message) -> Option<String> {
    let mut text = message.text();
    for spoken in message.tool_calls.iter().filter_map(spoken) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&spoken);
    }
    (!text.trim().is_empty() && !is_note(&text)).then_some(text)
}

/// Whether a text in the user's role is a note of the server: packed, and not the packed form of what a user said.
fn is_note(text: &str) -> bool {
    let kind = || -> Option<String> {
        let packed: Map<String, Value> = serde_json::from_str(text).ok()?;
        packed.get("type")?.as_str().map(str::to_owned)
    };
    text.starts_with('{')
        && kind()
            .is_some_and(|kind| matches!(kind.as_str(), "heartbeat" | "login" | "system_alert"))
}

/// What a `send_message` call says to the user.
fn spoken(call: &ToolCall) -> Option<String> {
    if call.name != "send_message" {
        return None;
    }
    let arguments: Map<String, Value> = serde_json::from_str(&call.arguments).ok()?;
    arguments.get("message")?.as_str().map(str::to_owned)
}

fn text<'a>(arguments: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(format!("The argument '{name}' must be a string."))
        }
    }
}

fn roles(given: Option<&Value>) -> Result<Vec<Role>, String> {
    let wrong = || {
        "The argument 'roles' must be a list of 'assistant', 'user' and 'tool', or left out."
            .to_owned()
    };
    let given = match given {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(one @ Value::String(_)) => std::slice::from_ref(one),
        Some(Value::Array(several)) => several,
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => return Err(wrong()),
    };
    let role = |name: &Value| match name.as_str()? {
        "assistant" => Some(Role::Assistant),
        "user" => Some(Role::User),
        "tool" => Some(Role::Tool),
        _ => None,
    };
    given.iter().map(|name| role(name).ok_or_else(wrong)).collect()
}

fn limit(given: Option<&Value>) -> Result<u32, String> {
    let number = match given {
        None | Some(Value::Null) => return Ok(LIMIT),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    let number = number.filter(|number| number.fract() == 0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to a small positive range"
    )]
    number
        .map(|number| number.clamp(1.0, f64::from(MAX_LIMIT)) as u32)
        .ok_or_else(|| "The argument 'limit' must be an integer.".to_owned())
}

/// Which end of a range a date is.
#[derive(Clone, Copy)]
enum Edge {
    Start,
    End,
}

fn moment(name: &str, text: &str, zone: &TimeZone, edge: Edge) -> Result<Timestamp, String> {
    let date_only = !text.contains([':', 'T', 't']);
    let parsed = match edge {
        _ if !date_only => exact(text, zone),
        Edge::Start => day(text).and_then(|day| start_of(day, zone)),
        // A moment before the next day begins, whatever its length: days with a clock change have 23 or 25 hours.
        Edge::End => day(text)
            .and_then(|day| start_of(day.tomorrow().ok()?, zone))
            .map(|next| Timestamp::from_micros(next.as_micros() - 1)),
    };
    parsed.ok_or_else(|| {
        let text: String = text.chars().take(100).collect();
        format!(
            "The argument '{name}' is '{text}', which is not a date. Write it as '2025-03-14' or '2025-03-14T09:30'."
        )
    })
}

fn day(text: &str) -> Option<civil::Date> {
    text.parse().ok()
}

fn start_of(day: civil::Date, zone: &TimeZone) -> Option<Timestamp> {
    let start = day.to_zoned(zone.clone()).ok()?;
    Some(Timestamp::from_micros(start.timestamp().as_microsecond()))
}

fn exact(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let stamp = match text.parse::<jiff::Timestamp>() {
        Ok(stamp) => stamp,
        Err(_) => zone.to_timestamp(text.parse::<civil::DateTime>().ok()?).ok()?,
    };
    Some(Timestamp::from_micros(stamp.as_microsecond()))
}

fn iso(at: Timestamp, zone: &TimeZone) -> String {
    instant(at).to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// How long ago something was, in the largest unit that fits, as `5m ago`.
fn time_ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = SignedDuration::from_micros(now.as_micros().saturating_sub(then.as_micros()))
        .as_secs()
        .max(0);
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant | Role::Approval => "assistant",
        Role::Tool => "tool",
        Role::Summary => "summary",
    }
}

#[cfg(test)]
mod tests;
