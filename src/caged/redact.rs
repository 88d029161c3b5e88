//! Secrets taken out of what a tool hands back, before anybody reads or records it.
//!
//! A tool may print what it was given, by mistake or in an error. What stands there afterwards is `[secret NAME]`. A secret
//! is looked for as it is and as JSON and addresses write it; whoever wants to carry it out in another form can, for a tool
//! that must use a secret must be able to read it. Values that are shorter than a password are left alone: they are words
//! and numbers that mean something elsewhere.

use std::fmt::Write as _;

/// Characters from which on a value is taken out.
const SHORTEST: usize = 8;

/// What a cut leaves where it threw something away: a secret may be cut in two there.
const CUT_IN_THE_MIDDLE: &str = "\n[...]\n";

/// The values of a call and what stands for them.
#[derive(Default)]
pub(crate) struct Redactor {
    /// The longest first: one may hold another.
    forms: Vec<(String, String)>,
}

impl Redactor {
    /// Takes these out: pairs of name and value.
    pub(crate) fn of<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut forms: Vec<(String, String)> = Vec::new();
        for (name, value) in secrets {
            if value.chars().count() < SHORTEST {
                continue;
            }
            for form in written(value) {
                if !forms.iter().any(|(known, _)| *known == form) {
                    forms.push((form, format!("[secret {name}]")));
                }
            }
        }
        forms.sort_by_key(|(form, _)| std::cmp::Reverse(form.len()));
        Self { forms }
    }

    /// The text without them.
    pub(crate) fn clean(&self, text: String) -> String {
        let mut text = text;
        for (form, mark) in &self.forms {
            if text.contains(form.as_str()) {
                text = text.replace(form.as_str(), mark);
            }
        }
        self.clean_cuts(text)
    }

    /// What is left of a secret that was cut: its beginning before the cut, its end after it.
    fn clean_cuts(&self, text: String) -> String {
        if self.forms.is_empty() {
            return text;
        }
        let (kept, told) = text.split_at(end_of_kept(&text));
        let pieces: Vec<&str> = kept.split(CUT_IN_THE_MIDDLE).collect();
        let mut cleaned = String::with_capacity(text.len());
        for (number, piece) in pieces.iter().enumerate() {
            let piece = match number {
                0 => (*piece).to_owned(),
                _ => {
                    cleaned.push_str(CUT_IN_THE_MIDDLE);
                    self.without_end(piece)
                }
            };
            cleaned.push_str(&self.without_beginning(piece));
        }
        cleaned.push_str(told);
        cleaned
    }

    fn without_beginning(&self, mut piece: String) -> String {
        for (form, mark) in &self.forms {
            let begins = beginnings(form).find(|&at| piece.ends_with(&form[..at]));
            if let Some(at) = begins {
                piece.truncate(piece.len() - at);
                piece.push_str(mark);
                break;
            }
        }
        piece
    }

    fn without_end(&self, piece: &str) -> String {
        for (form, mark) in &self.forms {
            let least = form.char_indices().rev().nth(SHORTEST - 1).map_or(0, |(at, _)| at);
            let mut ends = form.char_indices().map(|(at, _)| at).filter(|at| *at <= least);
            if let Some(at) = ends.find(|&at| piece.starts_with(&form[at..])) {
                return format!("{mark}{}", &piece[form.len() - at..]);
            }
        }
        piece.to_owned()
    }
}

/// Where a beginning of a form may end that is long enough to tell; the longest first.
fn beginnings(form: &str) -> impl Iterator<Item = usize> {
    let least = form.char_indices().nth(SHORTEST).map_or(form.len(), |(at, _)| at);
    form.char_indices().rev().map(|(at, _)| at).take_while(move |at| *at >= least)
}

/// Where what a tool wrote ends, and what is told of the rest begins.
fn end_of_kept(text: &str) -> usize {
    let told = text.strip_suffix(" more bytes were not kept]").and_then(|rest| {
        let start = rest.rfind("\n[")?;
        rest[start + 2..].bytes().all(|byte| byte.is_ascii_digit()).then_some(start)
    });
    told.unwrap_or(text.len())
}

/// A value as it is, in JSON, in JSON of ASCII alone, and in an address.
fn written(value: &str) -> [String; 4] {
    let json = inner_json(value);
    [value.to_owned(), ascii_json(&json), json, in_address(value)]
}

/// The text of a value between the quotes of JSON.
fn inner_json(value: &str) -> String {
    let quoted = serde_json::to_string(value).unwrap_or_default();
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(value).to_owned()
}

fn ascii_json(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    ascii
}

fn in_address(value: &str) -> String {
    let mut address = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            address.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(address, "%{byte:02X}");
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "sk-0123456789";

    fn cleaned(secrets: &[(&str, &str)], text: &str) -> String {
        Redactor::of(secrets.iter().copied()).clean(text.to_owned())
    }

    #[test]
    fn a_value_is_replaced_wherever_it_stands() {
        let text = format!("{TOKEN} and {TOKEN}{TOKEN}, not sk-012345678x");
        let expected =
            "[secret TOKEN] and [secret TOKEN][secret TOKEN], not sk-012345678x".to_owned();
        assert_eq!(cleaned(&[("TOKEN", TOKEN)], &text), expected);
    }

    #[test]
    fn a_value_that_holds_another_goes_first() {
        let secrets = [("SHORT", "sk-01234"), ("LONG", TOKEN)];
        let text = format!("{TOKEN} sk-01234 ");
        assert_eq!(cleaned(&secrets, &text), "[secret LONG] [secret SHORT] ");
    }

    #[test]
    fn short_values_stay() {
        assert_eq!(cleaned(&[("REGION", "eu-west")], "eu-west"), "eu-west");
        assert_eq!(cleaned(&[("EMPTY", "")], "a"), "a");
        assert_eq!(cleaned(&[("UMLAUT", "äöüäöüä")], "äöüäöüä"), "äöüäöüä", "seven characters");
    }

    #[test]
    fn json_and_addresses_do_not_hide_it() {
        let value = "a\"b\nc/d é+ü";
        let json = serde_json::json!({ "key": value }).to_string();
        let secrets = [("KEY", value)];
        assert_eq!(cleaned(&secrets, &json), r#"{"key":"[secret KEY]"}"#);
        let ascii = r#"{"key": "a\"b\nc/d \u00e9+\u00fc"}"#;
        assert_eq!(cleaned(&secrets, ascii), r#"{"key": "[secret KEY]"}"#);
        let address = "https://host/?key=a%22b%0Ac%2Fd%20%C3%A9%2B%C3%BC&x";
        assert_eq!(cleaned(&secrets, address), "https://host/?key=[secret KEY]&x");
    }

    #[test]
    fn a_cut_leaves_no_piece_of_it() {
        let secrets = [("TOKEN", TOKEN)];
        for (text, expected) in [
            ("it is sk-0123456", "it is [secret TOKEN]"),
            (
                "it is sk-01234\n[17 more bytes were not kept]",
                "it is [secret TOKEN]\n[17 more bytes were not kept]",
            ),
            ("sk-012345678\n[...]\n456789.", "[secret TOKEN]\n[...]\n456789."),
            ("x\n[...]\n-0123456789 y", "x\n[...]\n[secret TOKEN] y"),
            ("too little: sk-0123", "too little: sk-0123"),
            ("sk-01234 goes on", "sk-01234 goes on"),
        ] {
            assert_eq!(cleaned(&secrets, text), expected);
        }
    }

    #[test]
    fn nothing_is_changed_where_there_is_nothing_to_hide() {
        let text = "a\n[...]\nb\n[3 more bytes were not kept]";
        assert_eq!(cleaned(&[], text), text);
        assert_eq!(cleaned(&[("TOKEN", TOKEN)], text), text);
    }
}
