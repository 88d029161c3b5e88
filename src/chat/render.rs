//! Frames into text: the answer as it comes, everything else as dim lines around it.
//!
//! The answer and the asides are kept apart, because the answer goes to standard output and the asides to standard
//! error. What a model or a tool says is not trusted with the terminal: control characters are taken out.

use super::frame::{Frame, ToolCall};

/// How text may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether colours may be used.
    pub color: bool,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Part of the answer.
    Answer(String),
    /// Something about it.
    Aside(String),
}

/// Longest line shown of a tool call or of what it gave back, in characters.
const LINE_CHARS: usize = 160;

/// Turns frames into pieces. One renderer serves one run.
#[derive(Debug)]
pub(crate) struct Renderer {
    style: Style,
    section: Section,
}

/// What was shown last, and is not ended yet.
#[derive(Debug, PartialEq, Eq)]
enum Section {
    Nothing,
    Reasoning,
    Answer(String),
    /// A call is shown when it is whole.
    ToolCall(ToolCall),
}

impl Renderer {
    pub(crate) fn new(style: Style) -> Self {
        Self { style, section: Section::Nothing }
    }

    /// What to print for the next frame.
    pub(crate) fn show(&mut self, frame: &Frame) -> Vec<Piece> {
        match frame {
            Frame::Reasoning(text) => self.reasoning(text),
            Frame::Answer { message, text } => self.answer(message, text),
            Frame::ToolCall(call) => self.tool_call(call),
            Frame::ToolReturn { ok, text } => {
                let mark = if *ok { "<-" } else { "<- error:" };
                self.aside(&format!("{mark} {}", one_line(text)))
            }
            Frame::Summary => self.aside("(older messages were summarised)"),
            Frame::Stopped(reason) if reason != "end_turn" => self.aside(&stopped(reason)),
            Frame::Failed { message, detail } => self.failed(message, detail),
            Frame::Stopped(_) | Frame::Done => self.end(),
            Frame::Run(_) => vec![],
        }
    }

    /// Ends what is under way, so that the next thing begins on its own line.
    pub(crate) fn end(&mut self) -> Vec<Piece> {
        match std::mem::replace(&mut self.section, Section::Nothing) {
            Section::Nothing => vec![],
            Section::Reasoning => vec![Piece::Aside(format!("{}\n", self.paint("", "\x1b[0m")))],
            Section::Answer(_) => vec![Piece::Answer("\n".to_owned())],
            Section::ToolCall(call) => vec![self.dim_line(&call_line(&call))],
        }
    }

    fn reasoning(&mut self, text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.section != Section::Reasoning {
            pieces = self.end();
            self.section = Section::Reasoning;
            pieces.push(Piece::Aside(self.paint("thinking: ", "\x1b[2m")));
        }
        pieces.push(Piece::Aside(harmless(text)));
        pieces
    }

    fn answer(&mut self, message: &str, text: &str) -> Vec<Piece> {
        if text.is_empty() {
            return vec![];
        }
        let same = matches!(&self.section, Section::Answer(current) if current == message);
        let mut pieces = if same { vec![] } else { self.end() };
        self.section = Section::Answer(message.to_owned());
        pieces.push(Piece::Answer(text.to_owned()));
        pieces
    }

    fn tool_call(&mut self, piece: &ToolCall) -> Vec<Piece> {
        if let Section::ToolCall(call) = &mut self.section
            && call.id == piece.id
        {
            call.name.push_str(&piece.name);
            call.arguments.push_str(&piece.arguments);
            return vec![];
        }
        let pieces = self.end();
        self.section = Section::ToolCall(piece.clone());
        pieces
    }

    fn failed(&mut self, message: &str, detail: &str) -> Vec<Piece> {
        let mut text = format!("error: {}", harmless(message));
        if !detail.is_empty() && detail != message {
            text.push_str(&format!("\n  {}", one_line(detail)));
        }
        let mut pieces = self.end();
        pieces.push(Piece::Aside(self.paint_all(&text, "\x1b[31m")));
        pieces
    }

    fn aside(&mut self, text: &str) -> Vec<Piece> {
        let mut pieces = self.end();
        pieces.push(self.dim_line(text));
        pieces
    }

    fn dim_line(&self, text: &str) -> Piece {
        Piece::Aside(self.paint_all(text, "\x1b[2m"))
    }

    fn paint_all(&self, text: &str, code: &str) -> String {
        if self.style.color { format!("{code}{text}\x1b[0m\n") } else { format!("{text}\n") }
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.style.color { format!("{code}{text}") } else { text.to_owned() }
    }
}

fn call_line(call: &ToolCall) -> String {
    let line = format!("-> {}({})", one_line(&call.name), one_line(&call.arguments));
    if call.needs_approval {
        format!("{line} waits for approval, which has to be given through the API")
    } else {
        line
    }
}

/// Why a run stopped before its natural end, for a person.
fn stopped(reason: &str) -> String {
    match reason {
        "cancelled" => "(cancelled)".to_owned(),
        "max_steps" => "(stopped: the limit of steps was reached)".to_owned(),
        "requires_approval" => "(stopped: a tool call waits for approval)".to_owned(),
        other => format!("(stopped: {})", one_line(other)),
    }
}

/// `text` without what a terminal would obey: control characters other than line feed and tab.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// `text` on one line, cut at [`LINE_CHARS`].
pub(crate) fn one_line(text: &str) -> String {
    let mut words = harmless(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(LINE_CHARS) {
        words.truncate(end);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{super::frame, *};

    /// Feeds the data of events; gives what stood on standard output and on standard error.
    fn show(color: bool, events: &[&str]) -> (String, String) {
        let mut renderer = Renderer::new(Style { color });
        let mut shown = (String::new(), String::new());
        let frames: Vec<_> = events.iter().flat_map(|data| frame::read(data).unwrap()).collect();
        for piece in frames.iter().flat_map(|frame| renderer.show(frame)) {
            match piece {
                Piece::Answer(text) => shown.0.push_str(&text),
                Piece::Aside(text) => shown.1.push_str(&text),
            }
        }
        shown
    }

    const TURN: &[&str] = &[
        r#"{"message_type":"ping","run_id":"run-1"}"#,
        r#"{"message_type":"reasoning_message","id":"a","reasoning":"A na"}"#,
        r#"{"message_type":"reasoning_message","id":"a","reasoning":"me."}"#,
        r#"{"message_type":"assistant_message","id":"a","content":"One mo"}"#,
        r#"{"message_type":"assistant_message","id":"a","content":"ment."}"#,
        r#"{"message_type":"tool_call_message","id":"a","tool_call":{"name":"memory_insert","arguments":"","tool_call_id":"c1"}}"#,
        r#"{"message_type":"tool_call_message","id":"a","tool_call":{"arguments":"{\"label\": ","tool_call_id":"c1"}}"#,
        r#"{"message_type":"tool_call_message","id":"a","tool_call":{"arguments":"\"human\"}","tool_call_id":"c1"}}"#,
        r#"{"message_type":"tool_return_message","id":"b","tool_return":"done\nwell","status":"success","tool_call_id":"c1"}"#,
        r#"{"message_type":"assistant_message","id":"c","content":"Hello, Ada."}"#,
        r#"{"message_type":"stop_reason","stop_reason":"end_turn"}"#,
        r#"{"message_type":"usage_statistics","total_tokens":3}"#,
        "[DONE]",
    ];

    #[test]
    fn a_turn_shows_the_answer_on_its_own_and_the_rest_beside_it() {
        let (answer, asides) = show(false, TURN);
        assert_eq!(answer, "One moment.\nHello, Ada.\n");
        assert_eq!(
            asides,
            "thinking: A name.\n-> memory_insert({\"label\": \"human\"})\n<- done well\n"
        );
    }

    #[test]
    fn asides_are_dim_when_there_are_colours() {
        let (answer, asides) = show(true, TURN);
        assert!(!answer.contains('\x1b'));
        assert!(
            asides.starts_with("\x1b[2mthinking: A name.\x1b[0m\n\x1b[2m-> memory_insert"),
            "{asides:?}"
        );
    }

    #[test]
    fn a_failure_is_shown_once_with_its_detail() {
        let events = [
            r#"{"message_type":"assistant_message","id":"a","content":"Hel"}"#,
            r#"{"message_type":"error_message","message":"the model timed out","detail":"no byte in 60 s"}"#,
            "[DONE]",
        ];
        let (answer, asides) = show(false, &events);
        assert_eq!(
            (answer.as_str(), asides.as_str()),
            ("Hel\n", "error: the model timed out\n  no byte in 60 s\n")
        );
    }

    #[test]
    fn an_unusual_stop_is_explained() {
        for (reason, shown) in [
            ("cancelled", "(cancelled)\n"),
            ("max_steps", "(stopped: the limit of steps was reached)\n"),
            ("invalid_tool_call", "(stopped: invalid_tool_call)\n"),
            ("end_turn", ""),
        ] {
            let data = format!(r#"{{"message_type":"stop_reason","stop_reason":"{reason}"}}"#);
            assert_eq!(show(false, &[&data]).1, shown);
        }
    }

    #[test]
    fn asides_cannot_command_the_terminal_and_stay_short() {
        let long = "x".repeat(1000);
        let call = format!(
            r#"{{"message_type":"tool_return_message","status":"error","tool_return":"\u001b]0;title\u0007{long}"}}"#
        );
        let (_, asides) = show(false, &[&call]);
        assert!(asides.starts_with("<- error: ]0;titlexxx") && asides.ends_with("…\n"), "{asides}");
        assert!(asides.chars().count() < LINE_CHARS + 20 && !asides.contains('\x1b'));
    }

    #[test]
    fn two_calls_in_one_message_are_two_lines() {
        let data = r#"{"message_type":"tool_call_message","tool_calls":[
            {"name":"a","arguments":"{}","tool_call_id":"1"},{"name":"b","arguments":"{}","tool_call_id":"2"}]}"#;
        assert_eq!(show(false, &[data, "[DONE]"]).1, "-> a({})\n-> b({})\n");
    }
}
