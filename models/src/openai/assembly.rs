//! Putting tool calls together from deltas, whoever cut them.
//!
//! OpenAI numbers its calls, names them once and then sends arguments. Others leave out the number, the id or both,
//! give them again on every delta, give every call the number 0, cut the name, or send whole calls. The rules here
//! decide for each delta whether it begins a call or goes on with one; they were drawn from those variants, and each
//! has a test. A call is announced when its name is known to be complete: at its first argument, or when it ends.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, Hasher, RandomState},
};

use super::wire::CallDelta;
use crate::{Chunk, limits};

/// The calls of one answer so far.
#[derive(Debug)]
pub(super) struct Assembly {
    calls: Vec<Open>,
    /// Makes the ids that a provider leaves out differ from those of other answers in the same conversation.
    salt: u64,
}

#[derive(Debug)]
struct Open {
    /// The provider's number, when it gives one.
    number: Option<u64>,
    /// The provider's id; empty when it gave none.
    given_id: String,
    /// The id announced.
    id: String,
    name: String,
    announced: bool,
    braces: Braces,
}

/// Why an assembly cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("a tool call without a name")]
    Nameless,
    #[error("more than {} tool calls", limits::TOOL_CALLS)]
    TooMany,
    #[error("a tool's name longer than {} bytes", limits::TOOL_NAME_BYTES)]
    LongName,
}

impl Assembly {
    pub(super) fn new() -> Self {
        Self { calls: Vec::new(), salt: RandomState::new().build_hasher().finish() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes one delta and gives the chunks that are certain.
    pub(super) fn push(
        &mut self,
        delta: CallDelta,
        out: &mut VecDeque<Chunk>,
    ) -> Result<(), Broken> {
        let id = delta.id.unwrap_or_default();
        let mut function = delta.function.unwrap_or_default();
        let name = function.name.take().unwrap_or_default();
        let arguments = function.arguments();
        let at = match self.continued(delta.index, &id, &name, &arguments) {
            Some(at) => at,
            None => {
                // A call is complete when the next one begins.
                self.announce_all(out)?;
                self.begin(delta.index, id)?
            }
        };
        self.go_on(at, &name, arguments, out)
    }

    /// The answer is over: announces what is still held back.
    pub(super) fn finish(&mut self, out: &mut VecDeque<Chunk>) -> Result<(), Broken> {
        self.announce_all(out)
    }

    /// Which call a delta goes on with, or `None` when it begins one.
    fn continued(
        &self,
        number: Option<u64>,
        id: &str,
        name: &str,
        arguments: &str,
    ) -> Option<usize> {
        let at = match number {
            // The latest of that number: some providers give every call the number 0.
            Some(number) => self.calls.iter().rposition(|call| call.number == Some(number))?,
            None if !id.is_empty() => match self.calls.iter().rposition(|call| call.given_id == id)
            {
                Some(at) => at,
                // A new id without a name is a provider that makes up an id for every delta.
                None if name.is_empty() => self.calls.len().checked_sub(1)?,
                None => return None,
            },
            None => self.calls.len().checked_sub(1)?,
        };
        let call = &self.calls[at];
        let other_id = !id.is_empty() && !call.given_id.is_empty() && id != call.given_id;
        let whole_again = call.braces.complete() && !arguments.is_empty() && id != call.given_id;
        let anonymous_again = id.is_empty() && call.braces.complete() && !arguments.is_empty();
        let begins = !name.is_empty() && (other_id || whole_again || anonymous_again);
        (!begins).then_some(at)
    }

    fn begin(&mut self, number: Option<u64>, given_id: String) -> Result<usize, Broken> {
        let at = self.calls.len();
        if at >= limits::TOOL_CALLS {
            return Err(Broken::TooMany);
        }
        // Two calls of one answer under one id could not be told apart when their returns come.
        let taken = self.calls.iter().any(|call| call.id == given_id);
        let id = if given_id.is_empty() || taken { self.made_up_id(at) } else { given_id.clone() };
        self.calls.push(Open {
            number,
            given_id,
            id,
            name: String::new(),
            announced: false,
            braces: Braces::default(),
        });
        Ok(at)
    }

    fn go_on(
        &mut self,
        at: usize,
        name: &str,
        arguments: String,
        out: &mut VecDeque<Chunk>,
    ) -> Result<(), Broken> {
        let call = &mut self.calls[at];
        // A name given again whole is a repetition; anything else before the first argument is its next piece.
        if !call.announced && name != call.name {
            call.name.push_str(name);
            if call.name.len() > limits::TOOL_NAME_BYTES {
                return Err(Broken::LongName);
            }
        }
        if !arguments.is_empty() {
            call.announce(at, out)?;
            call.braces.push(&arguments);
            out.push_back(Chunk::ToolArguments { index: number(at), fragment: arguments });
        }
        Ok(())
    }

    fn announce_all(&mut self, out: &mut VecDeque<Chunk>) -> Result<(), Broken> {
        self.calls.iter_mut().enumerate().try_for_each(|(at, call)| call.announce(at, out))
    }

    fn made_up_id(&self, at: usize) -> String {
        format!("call_{:016x}{at:02}", self.salt)
    }
}

impl Open {
    fn announce(&mut self, at: usize, out: &mut VecDeque<Chunk>) -> Result<(), Broken> {
        if self.announced {
            return Ok(());
        }
        if self.name.is_empty() {
            return Err(Broken::Nameless);
        }
        self.announced = true;
        out.push_back(Chunk::ToolCall {
            index: number(at),
            id: self.id.clone(),
            name: self.name.clone(),
        });
        Ok(())
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX) // at most `limits::TOOL_CALLS`
}

/// Follows whether argument text is one whole JSON object yet, without keeping or parsing it.
#[derive(Debug, Default)]
struct Braces {
    depth: usize,
    seen: bool,
    in_string: bool,
    escaped: bool,
}

impl Braces {
    fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    self.seen = true;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn complete(&self) -> bool {
        self.seen && self.depth == 0 && !self.in_string
    }
}
