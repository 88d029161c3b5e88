//! What is wrong with a value, in words for whoever sent it.
//!
//! serde says what it expected by the names of Rust's types, which are nothing to a client: here they become the kinds of
//! values that JSON has. Its texts are not promised to stay, so what is not known here is handed on as it is, and a test
//! sends values of all kinds to all routes and looks for such names in the answers.

/// Characters of a value that are repeated: enough to find it.
const LONGEST: usize = 80;

/// A message of serde in plain words.
pub(super) fn plain(message: &str) -> String {
    let told = mismatch(message).or_else(|| unknown(message)).or_else(|| repeated(message));
    let told = told.or_else(|| {
        message
            .starts_with("data did not match any variant")
            .then(|| "Input has none of the forms it may have here".to_owned())
    });
    told.unwrap_or_else(|| message.to_owned())
}

/// `invalid type: integer `7`, expected a string` and its kin.
fn mismatch(message: &str) -> Option<String> {
    let found =
        ["invalid type: ", "invalid value: "].iter().find_map(|it| message.strip_prefix(it));
    let (given, wanted) = match found {
        Some(rest) => rest.rsplit_once(", expected ")?,
        None => {
            // A list can stand for an object whose members it gives in order; nobody means that.
            let (_, wanted) =
                message.strip_prefix("invalid length ")?.rsplit_once(", expected ")?;
            let given =
                if wanted.contains("struct ") { "sequence" } else { "one of another length" };
            (given, wanted)
        }
    };
    Some(format!("Input should be {}, not {}", kind(wanted), value(given)))
}

/// What was expected.
fn kind(wanted: &str) -> String {
    let wanted = wanted.strip_prefix("a borrowed ").unwrap_or(wanted);
    let known = match wanted {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number from 0 on",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "bool" => "a boolean",
        "string" | "str" | "string or map" | "variant identifier" | "field identifier" => {
            "a string"
        }
        "sequence" | "a sequence" => "a list",
        "map" | "a map" => "an object",
        "unit" | "option" => "null",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let is_object = ["struct ", "internally tagged enum ", "adjacently tagged enum ", "enum "];
    if is_object.iter().any(|word| wanted.contains(word)) {
        return "an object".to_owned();
    }
    wanted.to_owned()
}

/// What came instead.
fn value(given: &str) -> String {
    let quoted = |rest: &str| shortened(rest.trim_matches('`'));
    let known = match given {
        "sequence" | "byte array" => "a list",
        "map" | "enum" => "an object",
        "null" | "unit value" | "Option value" => "null",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let numbers = ["boolean ", "integer ", "floating point ", "number "];
    match numbers.iter().find_map(|word| given.strip_prefix(word)) {
        Some(rest) => quoted(rest),
        None => match given.strip_prefix("string ") {
            Some(rest) => format!("the string {}", shortened(rest)),
            None => shortened(given),
        },
    }
}

/// `unknown variant `x`, expected one of `a`, `b``, and the same of a field.
fn unknown(message: &str) -> Option<String> {
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let (given, wanted) = rest.rsplit_once(", expected ")?;
        let given = shortened(given.trim_matches('`'));
        return Some(format!("Input should be {}, not '{given}'", listed(wanted)));
    }
    let rest = message.strip_prefix("unknown field ")?;
    match rest.rsplit_once(", expected ") {
        Some((given, wanted)) => {
            let given = shortened(given.trim_matches('`'));
            Some(format!("there is no member '{given}' here; there is {}", listed(wanted)))
        }
        None => Some("there are no members here".to_owned()),
    }
}

/// `one of `a`, `b`` as `'a' or 'b'`.
fn listed(wanted: &str) -> String {
    let words: Vec<String> = wanted
        .trim_start_matches("one of ")
        .split(&[',', ' '])
        .map(|word| word.trim_matches('`'))
        .filter(|word| !word.is_empty() && *word != "or")
        .map(|word| format!("'{word}'"))
        .collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => wanted.to_owned(),
    }
}

fn repeated(message: &str) -> Option<String> {
    let field = message.strip_prefix("duplicate field `")?.strip_suffix('`')?;
    Some(format!("'{field}' is given twice"))
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let beginning: String = text.chars().take(LONGEST).collect();
    format!("{beginning}...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_type_is_told() {
        for (serde, told) in [
            (
                "invalid type: string \"x\", expected struct CreateBlock",
                "Input should be an object, not the string \"x\"",
            ),
            (
                "invalid length 0, expected struct CreateBlock with 12 elements",
                "Input should be an object, not a list",
            ),
            (
                "invalid type: sequence, expected internally tagged enum ToolRule",
                "Input should be an object, not a list",
            ),
            ("invalid type: integer `7`, expected a string", "Input should be a string, not 7"),
            (
                "invalid type: integer `7`, expected string or map",
                "Input should be a string, not 7",
            ),
            (
                "invalid value: integer `-1`, expected u64",
                "Input should be a whole number from 0 on, not -1",
            ),
            (
                "invalid type: floating point `1.5`, expected i64",
                "Input should be a whole number, not 1.5",
            ),
            ("invalid type: null, expected a boolean", "Input should be a boolean, not null"),
            ("invalid type: map, expected a sequence", "Input should be a list, not an object"),
            (
                "invalid type: string \", expected struct X\", expected a map",
                "Input should be an object, not the string \", expected struct X\"",
            ),
            (
                "unknown variant `robot`, expected one of `user`, `system`, `assistant`",
                "Input should be 'user', 'system' or 'assistant', not 'robot'",
            ),
            ("unknown variant `x`, expected `y` or `z`", "Input should be 'y' or 'z', not 'x'"),
            ("unknown variant `x`, expected `y`", "Input should be 'y', not 'x'"),
            (
                "unknown field `x`, expected `as_of` or `name`",
                "there is no member 'x' here; there is 'as_of' or 'name'",
            ),
            ("duplicate field `x`", "'x' is given twice"),
            (
                "data did not match any variant of untagged enum Content",
                "Input has none of the forms it may have here",
            ),
            ("a sentence of our own", "a sentence of our own"),
        ] {
            assert_eq!(plain(serde), told);
        }
    }

    #[test]
    fn a_long_value_is_not_repeated_whole() {
        let told = plain(&format!("invalid type: string \"{}\", expected a map", "é".repeat(5000)));
        assert!(told.chars().count() < 150 && told.ends_with("é..."), "{told}");
    }
}
