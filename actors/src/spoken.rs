//! The words of a `send_message` call while the model is still writing its arguments.
//!
//! A model's call arrives as fragments of a JSON object that end anywhere. This reads them character by character,
//! keeps only what the next fragment needs, and gives the text of one member as it becomes known. The stored message is
//! made from the whole arguments later; this is what is shown in the meantime, so it never shows what a parser of the
//! whole would not find: at the first thing that is not JSON it stops.

/// Reads one top-level text member out of JSON that comes in pieces.
#[derive(Debug, Clone)]
pub(crate) struct SpokenArgument {
    key: String,
    state: State,
    string: StringReader,
    /// The key just read, no longer than it takes to tell it from the wanted one.
    read_key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the object.
    Start,
    /// Before a key, or the end of the object.
    BeforeKey { may_end: bool },
    /// Within a key.
    Key,
    /// After a key.
    Colon,
    /// Before a value; `wanted` when its key is the wanted one.
    Value { wanted: bool },
    /// Within the wanted text.
    Speaking,
    /// Within a text that is not wanted, `depth` containers deep.
    SkippedText { depth: u32 },
    /// Within a container that is not wanted.
    Nested { depth: u32 },
    /// Within a number, `true`, `false` or `null`.
    Scalar,
    /// After a value.
    AfterValue,
    /// The text is complete, or there will be none.
    Done,
}

impl SpokenArgument {
    /// Reads the member named `key`.
    pub(crate) fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            state: State::Start,
            string: StringReader::default(),
            read_key: String::new(),
        }
    }

    /// Takes the next fragment and gives the text that it made known, often none.
    pub(crate) fn push(&mut self, fragment: &str) -> String {
        let mut said = String::new();
        for char in fragment.chars() {
            if self.state == State::Done {
                break;
            }
            self.state = self.next(char, &mut said);
        }
        said
    }

    fn next(&mut self, char: char, said: &mut String) -> State {
        let blank = matches!(char, ' ' | '\t' | '\n' | '\r');
        match (self.state, char) {
            (
                State::Start
                | State::BeforeKey { .. }
                | State::Colon
                | State::Value { .. }
                | State::AfterValue,
                _,
            ) if blank => self.state,
            (State::Start, '{') => State::BeforeKey { may_end: true },
            (State::BeforeKey { .. }, '"') => {
                self.read_key.clear();
                State::Key
            }
            (State::BeforeKey { may_end: true } | State::AfterValue, '}') => State::Done,
            (State::Key, _) => self.key_char(char),
            (State::Colon, ':') => State::Value { wanted: self.read_key == self.key },
            (State::Value { wanted: true }, '"') => State::Speaking,
            (State::Value { wanted: false }, '"') => State::SkippedText { depth: 0 },
            (State::Value { .. }, '{' | '[') => State::Nested { depth: 1 },
            (State::Value { .. }, '-' | '0'..='9' | 't' | 'f' | 'n') => State::Scalar,
            (State::Speaking, _) => match self.string.next(char) {
                Read::Char(char) => {
                    said.push(char);
                    State::Speaking
                }
                Read::More => State::Speaking,
                Read::End | Read::Malformed => State::Done,
            },
            (State::SkippedText { depth }, _) => match self.string.next(char) {
                Read::Char(_) | Read::More => State::SkippedText { depth },
                Read::End if depth == 0 => State::AfterValue,
                Read::End => State::Nested { depth },
                Read::Malformed => State::Done,
            },
            (State::Nested { depth }, _) => nested(char, depth),
            (State::Scalar | State::AfterValue, ',') => State::BeforeKey { may_end: false },
            (State::Scalar, '}') => State::Done,
            (State::Scalar, _) if blank => State::AfterValue,
            (State::Scalar, _) => State::Scalar,
            (
                State::Start
                | State::BeforeKey { .. }
                | State::Colon
                | State::Value { .. }
                | State::AfterValue
                | State::Done,
                _,
            ) => State::Done,
        }
    }

    fn key_char(&mut self, char: char) -> State {
        match self.string.next(char) {
            Read::Char(char) => {
                // One character more than the wanted key is enough to differ from it, however long this one gets.
                if self.read_key.len() <= self.key.len() {
                    self.read_key.push(char);
                }
                State::Key
            }
            Read::More => State::Key,
            Read::End => State::Colon,
            Read::Malformed => State::Done,
        }
    }
}

fn nested(char: char, depth: u32) -> State {
    match char {
        '"' => State::SkippedText { depth },
        '{' | '[' => State::Nested { depth: depth.saturating_add(1) },
        '}' | ']' if depth == 1 => State::AfterValue,
        '}' | ']' => State::Nested { depth: depth - 1 },
        _ => State::Nested { depth },
    }
}

/// Reads the inside of a JSON string, after its opening quote; ready for another one after [`Read::End`].
#[derive(Debug, Clone, Default)]
struct StringReader {
    escape: Escape,
    /// The first half of a character beyond the basic plane.
    high: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Escape {
    #[default]
    None,
    /// After a backslash.
    Begun,
    /// After `\u` and `digits` of the four digits.
    Hex { digits: u8, value: u32 },
}

enum Read {
    Char(char),
    /// Known only after the next character.
    More,
    End,
    Malformed,
}

impl StringReader {
    fn next(&mut self, char: char) -> Read {
        match self.escape {
            Escape::None => match char {
                '\\' => {
                    self.escape = Escape::Begun;
                    Read::More
                }
                _ if self.high.is_some() => Read::Malformed,
                '"' => Read::End,
                '\0'..='\x1f' => Read::Malformed,
                _ => Read::Char(char),
            },
            Escape::Begun => self.begun(char),
            Escape::Hex { digits, value } => self.hex(char, digits, value),
        }
    }

    fn begun(&mut self, char: char) -> Read {
        self.escape = Escape::None;
        let plain = match char {
            'u' => {
                self.escape = Escape::Hex { digits: 0, value: 0 };
                return Read::More;
            }
            '"' | '\\' | '/' => char,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            _ => return Read::Malformed,
        };
        if self.high.is_some() { Read::Malformed } else { Read::Char(plain) }
    }

    fn hex(&mut self, char: char, digits: u8, value: u32) -> Read {
        let Some(digit) = char.to_digit(16) else { return Read::Malformed };
        let value = value << 4 | digit;
        if digits < 3 {
            self.escape = Escape::Hex { digits: digits + 1, value };
            return Read::More;
        }
        self.escape = Escape::None;
        match (self.high.take(), value) {
            (None, 0xd800..=0xdbff) => {
                self.high = Some(value);
                Read::More
            }
            (Some(high), 0xdc00..=0xdfff) => {
                let both = 0x1_0000 + ((high - 0xd800) << 10) + (value - 0xdc00);
                char::from_u32(both).map_or(Read::Malformed, Read::Char)
            }
            (Some(_), _) => Read::Malformed,
            // Half a pair on its own is no character, so `from_u32` refuses it.
            (None, _) => char::from_u32(value).map_or(Read::Malformed, Read::Char),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn whole(json: &str) -> String {
        SpokenArgument::new("message").push(json)
    }

    #[test]
    fn text_is_given_as_it_arrives() {
        let mut spoken = SpokenArgument::new("message");
        assert_eq!(spoken.push("{\"mess"), "");
        assert_eq!(spoken.push("age\": \"Hel"), "Hel");
        assert_eq!(spoken.push("lo\\"), "lo");
        assert_eq!(spoken.push("n"), "\n");
        assert_ne!(spoken.state, State::Done);
        assert_eq!(spoken.push("!\", \"request_heartbeat\": false}"), "!");
        assert_eq!(spoken.state, State::Done);
        assert_eq!(spoken.push("\"message\":\"more\""), "");
    }

    #[test]
    fn a_character_of_two_escapes_is_given_when_both_are_there() {
        let mut spoken = SpokenArgument::new("message");
        assert_eq!(spoken.push(r#"{"message":"\uD83"#), "");
        assert_eq!(spoken.push(r"D\uDE"), "");
        assert_eq!(spoken.push("00 ok"), "\u{1F600} ok");
    }

    #[test]
    fn the_member_is_found_only_at_the_top_level() {
        let json = r#" {"thinking":"\"message\":\"no\"","a":{"message":"no","b":[1,"]"]},"n":-1.5e3 ,"t":true,"message" : "yes"}"#;
        assert_eq!(whole(json), "yes");
    }

    #[test]
    fn a_key_may_be_written_with_escapes() {
        assert_eq!(whole(r#"{"m\u0065ssage":"yes"}"#), "yes");
        assert_eq!(whole(r#"{"messages":"no","messag":"no","message":"yes"}"#), "yes");
    }

    #[test]
    fn a_member_that_is_no_text_says_nothing() {
        for json in [
            r#"{"message":null}"#,
            r#"{"message":{"message":"no"}}"#,
            r#"{"message":["no"]}"#,
            r"{}",
            r#"{"other":1}"#,
        ] {
            assert_eq!(whole(json), "", "{json}");
        }
    }

    #[test]
    fn what_is_not_json_ends_the_text_where_it_stands() {
        for (json, said) in [
            (r#"{"message":"ab\qcd"}"#, "ab"),
            (r#"{"message":"ab\uD83Dcd"}"#, "ab"),
            (r#"{"message":"ab\uDE00cd"}"#, "ab"),
            (r#"{"message":"ab\u12xycd"}"#, "ab"),
            ("{\"message\":\"ab\ncd\"}", "ab"),
            (r#"["message","ab"]"#, ""),
            (r#"message"#, ""),
            (r#"{,"message":"ab"}"#, ""),
        ] {
            assert_eq!(whole(json), said, "{json}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Every character as an escape, those beyond the basic plane as two.
    fn escaped(text: &str) -> String {
        text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
    }

    proptest! {
        #[test]
        fn any_cut_of_any_arguments_gives_the_text_of_the_member(
            before in prop::collection::vec(("[a-z]{0,9}", any_json()), 0..4),
            text in any::<String>(),
            after in prop::collection::vec(("[A-Z]{0,9}", any_json()), 0..3),
            pretty in any::<bool>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut object: serde_json::Map<String, Value> =
                before.into_iter().filter(|(key, _)| key != "message").collect();
            object.insert("message".to_owned(), json!(text));
            object.extend(after);
            let json = if pretty {
                serde_json::to_string_pretty(&object).unwrap()
            } else {
                serde_json::to_string(&object).unwrap()
            };
            prop_assert_eq!(in_pieces(&json, &cuts), text);
        }

        #[test]
        fn escapes_mean_what_they_escape(
            text in any::<String>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let json = format!("{{\"message\":\"{}\"}}", escaped(&text));
            prop_assert_eq!(in_pieces(&json, &cuts), text);
        }

        #[test]
        fn no_input_panics(fragments in prop::collection::vec("[\\\\\"{}\\[\\]:,umeg0-9\\s]{0,20}", 0..8)) {
            let mut spoken = SpokenArgument::new("m");
            for fragment in &fragments {
                spoken.push(fragment);
            }
        }
    }

    fn in_pieces(json: &str, cuts: &[prop::sample::Index]) -> String {
        let mut cuts: Vec<usize> =
            cuts.iter().map(|cut| json.floor_char_boundary(cut.index(json.len()))).collect();
        cuts.extend([0, json.len()]);
        cuts.sort_unstable();
        let mut spoken = SpokenArgument::new("message");
        cuts.windows(2).map(|cut| spoken.push(&json[cut[0]..cut[1]])).collect()
    }
}
