//! Requests that do not have the form they must have, printed the way FastAPI prints its list of errors.
//!
//! Clients of V1 get `detail` as one string, and some look into it. The texts of the commonest errors are FastAPI's.

mod plain;

use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::wire::{Kind, pattern_message};

/// Deepest nesting of a body. It is serde_json's own bound, applied also to free JSON that is kept unparsed.
const MAX_DEPTH: usize = 128;

/// One thing that is wrong with the form of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    kind: &'static str,
    /// Where: `body`, `query` or `path`, then names and numbers.
    place: Vec<Step>,
    message: String,
    example: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

impl Invalid {
    /// A path parameter that is no id of kind `T`.
    pub(super) fn id<T: Kind>(parameter: &str) -> Self {
        Self {
            kind: "string_pattern_mismatch",
            place: vec![Step::Name("path".to_owned()), Step::Name(parameter.to_owned())],
            message: pattern_message::<T>(),
            example: Some(format!("{}-123e4567-e89b-42d3-8456-426614174000", T::PREFIX)),
        }
    }

    /// A body that is needed and missing.
    pub(super) fn missing_body() -> Self {
        Self::body("missing", Vec::new(), "Field required")
    }

    /// A query parameter that cannot be as it is.
    pub(super) fn query(message: &str) -> Self {
        let place = vec![Step::Name("query".to_owned())];
        Self { kind: "value_error", place, message: message.to_owned(), example: None }
    }

    /// A named query parameter that cannot be as it is.
    pub(super) fn query_member(name: &str, message: &str) -> Self {
        let mut invalid = Self::query(message);
        invalid.place.push(Step::Name(name.to_owned()));
        invalid
    }

    /// A header that cannot be as it is.
    pub(super) fn header(name: &str, message: &str) -> Self {
        let place = vec![Step::Name("header".to_owned()), Step::Name(name.to_owned())];
        Self { kind: "value_error", place, message: message.to_owned(), example: None }
    }

    fn body(kind: &'static str, inner: Vec<Step>, message: &str) -> Self {
        let mut place = vec![Step::Name("body".to_owned())];
        place.extend(inner);
        Self { kind, place, message: message.to_owned(), example: None }
    }

    /// The printed list.
    pub(super) fn printed(&self) -> String {
        let mut place = String::new();
        for (number, step) in self.place.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = match step {
                Step::Name(name) => write!(place, "{comma}{}", quoted(name)),
                Step::Index(index) => write!(place, "{comma}{index}"),
            };
        }
        if self.place.len() == 1 {
            place.push(',');
        }
        format!("[{{'type': '{}', 'loc': ({place}), 'msg': {}}}]", self.kind, quoted(&self.message))
    }

    /// What would have been right.
    pub(super) fn examples(&self) -> Vec<&str> {
        self.example.as_deref().into_iter().collect()
    }
}

/// A text as Python prints it.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut printed = String::from(quote);
    for character in text.chars() {
        match character {
            '\n' => printed.push_str("\\n"),
            '\r' => printed.push_str("\\r"),
            '\\' => printed.push_str("\\\\"),
            other if other == quote => printed.extend(['\\', quote]),
            other if other.is_control() => printed.extend(other.escape_unicode()),
            other => printed.push(other),
        }
    }
    printed.push(quote);
    printed
}

/// Reads a body as JSON of the form `T`.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Invalid> {
    if is_too_deep(body) {
        let message = format!("JSON may be nested at most {MAX_DEPTH} deep");
        return Err(Invalid::body("json_invalid", Vec::new(), &message));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        misread::<T>(body, &error).unwrap_or_else(|| of_serde(steps(error.path()), error.inner()))
    })?;
    reader.end().map_err(|error| of_serde(Vec::new(), &error))?;
    Ok(parsed)
}

/// A value of another kind where a word is expected counts as broken JSON to serde_json, which it is not. Read as free
/// JSON first, the same body gives the error that is meant; `None` when it is broken indeed.
fn misread<T: DeserializeOwned>(
    body: &[u8],
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> Option<Invalid> {
    if !error.inner().is_syntax() {
        return None;
    }
    let free: Value = serde_json::from_slice(body).ok()?;
    let error = serde_path_to_error::deserialize::<_, T>(free).err()?;
    Some(of_serde(steps(error.path()), error.inner()))
}

fn of_serde(mut place: Vec<Step>, error: &serde_json::Error) -> Invalid {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    if error.is_syntax() || error.is_eof() {
        return Invalid::body(
            "json_invalid",
            vec![Step::Index(error.column())],
            &format!("JSON decode error: {text}"),
        );
    }
    match message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        Some(field) => {
            if place.last() != Some(&Step::Name(field.to_owned())) {
                place.push(Step::Name(field.to_owned()));
            }
            Invalid::body("missing", place, "Field required")
        }
        None => Invalid::body("value_error", place, &plain::plain(message)),
    }
}

fn steps(path: &Path) -> Vec<Step> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Name(key.clone())),
            Segment::Enum { variant } => Some(Step::Name(variant.clone())),
            Segment::Unknown => None,
        })
        .collect()
}

/// Whether brackets outside of texts nest deeper than they may.
fn is_too_deep(body: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in body {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use retold_events::AgentId;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its form matters")]
    struct Outer {
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its form matters")]
    struct Inner {
        label: String,
        word: Option<Word>,
    }

    #[derive(Debug, Deserialize)]
    enum Word {
        Yes,
    }

    fn printed(body: &str) -> String {
        parse::<Outer>(body.as_bytes()).unwrap_err().printed()
    }

    #[test]
    fn errors_read_like_fastapis() {
        assert_eq!(
            printed(r#"{"inner": [{"label": "a"}, {}]}"#),
            "[{'type': 'missing', 'loc': ('body', 'inner', 1, 'label'), 'msg': 'Field required'}]"
        );
        assert_eq!(
            printed(r#"{"inner": [{"label": 7}]}"#),
            "[{'type': 'value_error', 'loc': ('body', 'inner', 0, 'label'), 'msg': 'Input should be a string, not 7'}]"
        );
        assert!(printed("{").starts_with("[{'type': 'json_invalid', 'loc': ('body', 1), "));
        assert_eq!(
            printed(r#"{"inner": [{"label": "a", "word": 7}]}"#),
            "[{'type': 'value_error', 'loc': ('body', 'inner', 0, 'word'), 'msg': 'Input should be a string, not 7'}]"
        );
        assert_eq!(
            Invalid::missing_body().printed(),
            "[{'type': 'missing', 'loc': ('body',), 'msg': 'Field required'}]"
        );
    }

    #[test]
    fn a_malformed_id_shows_the_pattern_and_an_example() {
        let invalid = Invalid::id::<AgentId>("agent_id");
        assert_eq!(
            invalid.printed(),
            "[{'type': 'string_pattern_mismatch', 'loc': ('path', 'agent_id'), \
             'msg': \"String should match pattern 'agent-{uuid4}'\"}]"
        );
        assert_eq!(invalid.examples(), ["agent-123e4567-e89b-42d3-8456-426614174000"]);
    }

    #[test]
    fn nesting_is_bounded_wherever_it_stands() {
        let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
        assert!(parse::<serde::de::IgnoredAny>(deep.as_bytes()).is_err());
        let wide = format!("[{}]", ["[]"; 1000].join(","));
        assert!(parse::<serde::de::IgnoredAny>(wide.as_bytes()).is_ok());
        let in_text = format!("\"\\\"{}\"", "[".repeat(1000));
        assert!(parse::<String>(in_text.as_bytes()).is_ok());
    }

    #[test]
    fn no_text_breaks_out_of_the_printed_list() {
        assert_eq!(quoted("a'b\"c\\\n\u{1}"), "'a\\'b\"c\\\\\\n\\u{1}'");
    }
}
