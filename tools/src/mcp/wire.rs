//! Reading one message of a server.
//!
//! An answer that cannot be read is made an error with its id, so that who waits for it does not wait for its deadline.

use rmcp::model::{ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// An answer of which nothing is known but whose it is.
#[derive(Deserialize)]
struct Outline {
    id: RequestId,
    method: Option<IgnoredAny>,
}

/// The message, or nothing where it is none and nobody waits for it.
pub(super) fn message(text: &[u8]) -> Option<ServerJsonRpcMessage> {
    // Who takes its output for a log writes much of it: that is seen without trying to read it.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let error = match serde_json::from_slice(text) {
        Ok(message) => return Some(message),
        Err(error) => error,
    };
    let outline: Outline = serde_json::from_slice(text).ok()?;
    if outline.method.is_some() {
        return None;
    }
    let why = format!("its answer is not one of MCP: {error}");
    Some(ServerJsonRpcMessage::error(
        ErrorData::new(ErrorCode::INTERNAL_ERROR, why, None),
        Some(outline.id),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_cannot_be_read_still_reaches_who_waits_for_it() {
        let broken = message(br#"{"jsonrpc":"2.0","id":7,"error":"no object"}"#);
        let Some(ServerJsonRpcMessage::Error(error)) = broken else { panic!("{broken:?}") };
        assert_eq!(error.id, Some(RequestId::Number(7)));
    }

    #[test]
    fn what_nobody_waits_for_is_passed_over() {
        for text in ["", "hello", "{}", "[1]", r#"{"jsonrpc":"2.0","method":5,"id":1}"#] {
            assert!(message(text.as_bytes()).is_none(), "{text}");
        }
    }
}
