//! What a model said, put together from what it streamed, and the pieces that subscribers see of it meanwhile.

use retold_events::{Part, ToolCall, agent::AgentType, output::Delta, run::Request};
use retold_models::Chunk;

use super::PartDelta;
use crate::spoken::SpokenArgument;

/// What a model said in one step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// Reasoning and text, in order.
    pub(crate) parts: Vec<Part>,
    /// Calls, in order, as the model made them.
    pub(crate) calls: Vec<ToolCall>,
}

impl Answer {
    pub(crate) fn of(reasoning: String, text: String) -> Self {
        let mut answer = Self::default();
        if !reasoning.is_empty() {
            answer.parts.push(Part::Reasoning { text: reasoning, signature: None });
        }
        if !text.is_empty() {
            answer.parts.push(Part::Text { text });
        }
        answer
    }

    pub(crate) fn push(&mut self, chunk: &Chunk) {
        match chunk {
            Chunk::Reasoning(more) => match self.parts.last_mut() {
                Some(Part::Reasoning { text, signature: None }) => text.push_str(more),
                _ => self.parts.push(Part::Reasoning { text: more.clone(), signature: None }),
            },
            Chunk::ReasoningSignature(proof) => {
                let last = self.parts.iter_mut().rev().find_map(|part| match part {
                    Part::Reasoning { signature, .. } => Some(signature),
                    Part::Text { .. } | Part::Image(_) | Part::RedactedReasoning { .. } => None,
                });
                match last {
                    Some(signature) => *signature = Some(proof.clone()),
                    // A signature without text is how a provider leaves its reasoning out.
                    None => {
                        self.parts.push(Part::Reasoning {
                            text: String::new(),
                            signature: Some(proof.clone()),
                        });
                    }
                }
            }
            Chunk::RedactedReasoning(data) => {
                self.parts.push(Part::RedactedReasoning { data: data.clone() })
            }
            Chunk::Text(more) => match self.parts.last_mut() {
                Some(Part::Text { text }) => text.push_str(more),
                _ => self.parts.push(Part::Text { text: more.clone() }),
            },
            Chunk::ToolCall { index: _, id, name } => {
                self.calls.push(ToolCall {
                    id: id.clone(),
                    name: name.clone(),
                    arguments: String::new(),
                });
            }
            Chunk::ToolArguments { index, fragment } => {
                let index = usize::try_from(*index).unwrap_or(usize::MAX);
                if let Some(call) = self.calls.get_mut(index) {
                    call.arguments.push_str(fragment);
                }
            }
            Chunk::End { .. } => {}
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.calls.is_empty()
    }
}

/// Turns chunks into the pieces that subscribers see.
#[derive(Debug)]
pub(crate) struct Pieces {
    /// Older agents think in text and speak in calls.
    speaks_by_call: Option<(String, String)>,
    thinks_in_text: bool,
    one_call: bool,
    /// Tools whose calls wait for a decision: they are shown whole, as what is asked.
    asks: Vec<String>,
    next_part: u32,
    current: Option<(Kind, u32)>,
    calls: Vec<Call>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reasoning,
    Text,
    Calls,
}

#[derive(Debug)]
enum Call {
    Shown { id: String },
    Spoken(SpokenArgument),
    Dropped,
}

impl Pieces {
    pub(crate) fn new(
        agent_type: AgentType,
        request: &Request,
        one_call: bool,
        asks: Vec<String>,
    ) -> Self {
        let older = agent_type != AgentType::LettaV1;
        let speaks_by_call = (older && request.use_assistant_message).then(|| {
            (
                request.assistant_message_tool_name.clone(),
                request.assistant_message_tool_kwarg.clone(),
            )
        });
        Self {
            speaks_by_call,
            thinks_in_text: older,
            one_call,
            asks,
            next_part: 0,
            current: None,
            calls: Vec::new(),
        }
    }

    pub(crate) fn of(&mut self, chunk: &Chunk) -> Option<PartDelta> {
        match chunk {
            Chunk::Reasoning(text) => {
                Some(self.piece(Kind::Reasoning, Delta::Reasoning(text.clone())))
            }
            Chunk::Text(text) if self.thinks_in_text => {
                Some(self.piece(Kind::Reasoning, Delta::Reasoning(text.clone())))
            }
            Chunk::Text(text) => Some(self.piece(Kind::Text, Delta::Text(text.clone()))),
            Chunk::ToolCall { index: _, id, name } => self.call(id, name),
            Chunk::ToolArguments { index, fragment } => self.arguments(*index, fragment),
            Chunk::ReasoningSignature(_) | Chunk::RedactedReasoning(_) | Chunk::End { .. } => None,
        }
    }

    fn call(&mut self, id: &str, name: &str) -> Option<PartDelta> {
        let is_asked_for = self.asks.iter().any(|tool| tool == name);
        if is_asked_for || (self.one_call && !self.calls.is_empty()) {
            self.calls.push(Call::Dropped);
            return None;
        }
        if let Some((_, argument)) = self.speaks_by_call.as_ref().filter(|(tool, _)| tool == name) {
            let spoken = SpokenArgument::new(argument);
            self.calls.push(Call::Spoken(spoken));
            return None;
        }
        self.calls.push(Call::Shown { id: id.to_owned() });
        let delta = Delta::ToolCall {
            id: id.to_owned(),
            name: Some(name.to_owned()),
            arguments: String::new(),
        };
        Some(self.piece(Kind::Calls, delta))
    }

    fn arguments(&mut self, index: u32, fragment: &str) -> Option<PartDelta> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match self.calls.get_mut(index)? {
            Call::Dropped => None,
            Call::Spoken(spoken) => {
                let text = spoken.push(fragment);
                (!text.is_empty()).then(|| self.piece(Kind::Text, Delta::Text(text)))
            }
            Call::Shown { id } => {
                let delta =
                    Delta::ToolCall { id: id.clone(), name: None, arguments: fragment.to_owned() };
                Some(self.piece(Kind::Calls, delta))
            }
        }
    }

    fn piece(&mut self, kind: Kind, delta: Delta) -> PartDelta {
        let part = match self.current {
            Some((current, part)) if current == kind => part,
            _ => {
                let part = self.next_part;
                self.next_part += 1;
                self.current = Some((kind, part));
                part
            }
        };
        PartDelta { part, delta }
    }
}

/// Adds a piece to those that wait, joined with the last one where both continue the same thing.
pub(crate) fn join(waiting: &mut Vec<PartDelta>, piece: PartDelta) {
    let joined = match (waiting.last_mut(), &piece) {
        (Some(last), piece) if last.part == piece.part => match (&mut last.delta, &piece.delta) {
            (Delta::Reasoning(text), Delta::Reasoning(more))
            | (Delta::Text(text), Delta::Text(more)) => {
                text.push_str(more);
                true
            }
            (
                Delta::ToolCall { id, arguments, .. },
                Delta::ToolCall { id: same, name: None, arguments: more },
            ) if id == same => {
                arguments.push_str(more);
                true
            }
            (Delta::Reasoning(_) | Delta::Text(_) | Delta::ToolCall { .. }, _) => false,
        },
        _ => false,
    };
    if !joined {
        waiting.push(piece);
    }
}
