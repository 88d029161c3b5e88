//! What one agent sends to another: the arguments of a call, and the message that the other one reads.

use retold_events::{AgentId, Part, Role};
use serde::Deserialize;

use crate::run::NewMessage;

/// To whom, and what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Errand {
    pub(super) to: AgentId,
    pub(super) message: String,
}

/// To all that carry certain tags, and what.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Matching {
    pub(super) message: String,
    #[serde(default)]
    pub(super) match_all: Vec<String>,
    #[serde(default)]
    pub(super) match_some: Vec<String>,
}

#[derive(Deserialize)]
struct ToOne {
    message: String,
    other_agent_id: String,
}

/// Reads the arguments of a call that names one agent.
///
/// # Errors
/// A sentence for the model.
pub(super) fn errand(arguments: &str) -> Result<Errand, String> {
    let ToOne { message, other_agent_id } = read(arguments)?;
    let to = other_agent_id.trim().parse().map_err(|_| {
        format!(
            "other_agent_id {other_agent_id:?} is no id of an agent; it is \"agent-\" followed by a UUID"
        )
    })?;
    Ok(Errand { to, message: not_empty(message)? })
}

/// Reads the arguments of a call that names tags.
///
/// # Errors
/// A sentence for the model.
pub(super) fn matching(arguments: &str) -> Result<Matching, String> {
    let Matching { message, match_all, match_some } = read(arguments)?;
    if match_all.is_empty() && match_some.is_empty() {
        return Err("name at least one tag, in match_all or in match_some".to_owned());
    }
    Ok(Matching { message: not_empty(message)?, match_all, match_some })
}

fn read<T: for<'de> Deserialize<'de>>(arguments: &str) -> Result<T, String> {
    serde_json::from_str(arguments).map_err(|error| {
        let error = error.to_string();
        // Where in the text is of no use to a model.
        let end = error.find(" at line").unwrap_or(error.len());
        format!("the arguments do not fit: {}", &error[..end])
    })
}

fn not_empty(message: String) -> Result<String, String> {
    if message.trim().is_empty() {
        return Err("the message is empty; say something".to_owned());
    }
    Ok(message)
}

/// The text of a message whose sender waits for the answer.
pub(super) fn two_way(sender: AgentId, message: &str) -> String {
    format!(
        "[Incoming message from agent with ID '{sender}' - your response will be delivered to the sender] {message}"
    )
}

/// The text of a message whose sender does not.
pub(super) fn one_way(sender: AgentId, message: &str) -> String {
    format!(
        "[Incoming message from agent with ID '{sender}' - this is a one-way message, your response will not be delivered to the sender] {message}"
    )
}

/// A message as the other agent gets it.
pub(super) fn system(sender: AgentId, text: String) -> NewMessage {
    NewMessage {
        role: Role::System,
        content: vec![Part::Text { text }],
        name: None,
        otid: None,
        sender: Some(sender.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "agent-00000000-0000-4000-8000-000000000001";

    #[test]
    fn arguments_that_do_not_fit_say_what_is_missing() {
        for (arguments, says) in [
            ("{}", "missing field `message`"),
            (r#"{"message":"hi"}"#, "missing field `other_agent_id`"),
            (r#"{"message":7,"other_agent_id":"x"}"#, "expected a string"),
            (r#"{"message":"hi","other_agent_id":"bob"}"#, "\"bob\" is no id of an agent"),
            (&format!(r#"{{"message":" ","other_agent_id":"{ID}"}}"#), "the message is empty"),
        ] {
            let error = errand(arguments).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("at line"), "{error}");
        }
        let error = matching(r#"{"message":"hi","match_all":[]}"#).unwrap_err();
        assert!(error.contains("at least one tag"), "{error}");
    }

    #[test]
    fn an_id_may_have_space_around_it() {
        let read = errand(&format!(r#"{{"message":"hi","other_agent_id":" {ID} "}}"#)).unwrap();
        assert_eq!((read.to.to_string(), read.message), (ID.to_owned(), "hi".to_owned()));
    }
}
