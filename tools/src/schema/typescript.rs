//! The exported functions of a TypeScript source, by a light look: its schema is given, so only the name must be right.

use super::{SchemaError, error};

/// Checks that a source exports a function of this name.
pub(super) fn check(source: &str, name: &str) -> Result<(), SchemaError> {
    let code = code(source);
    let exported = exported(&code);
    if exported.contains(&name) {
        return Ok(());
    }
    let name = name.to_owned();
    if exported.is_empty() {
        return Err(SchemaError::NoExport { name });
    }
    Err(SchemaError::NotExported { name, found: error::list(exported.into_iter()) })
}

/// `export function NAME`, `export async function NAME`, also with `default`.
fn exported(code: &str) -> Vec<&str> {
    let mut words = code
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '$')
        .filter(|word| !word.is_empty())
        .peekable();
    let mut exported = Vec::new();
    while let Some(word) = words.next() {
        if word != "export" {
            continue;
        }
        words.next_if_eq(&"default");
        words.next_if_eq(&"async");
        if words.next_if_eq(&"function").is_some() {
            exported.extend(words.next());
        }
    }
    exported
}

/// The source with comments and the contents of texts left out.
fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find(['/', '"', '\'', '`']) {
        code.push_str(&rest[..at]);
        rest = &rest[at..];
        let skipped = if let Some(comment) = rest.strip_prefix("//") {
            comment.find('\n').map_or(rest.len(), |end| end + 2)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.find("*/").map_or(rest.len(), |end| end + 4)
        } else if rest.starts_with('/') {
            1
        } else {
            text_len(rest)
        };
        // Something stands there, so that the words beside it are not read as neighbours.
        code.push_str(" 0 ");
        rest = &rest[skipped..];
    }
    code.push_str(rest);
    code
}

/// Bytes of the text that `rest` begins with, its quotes included. Only a template goes over several lines.
fn text_len(rest: &str) -> usize {
    let mut letters = rest.char_indices();
    let quote = letters.next().map(|(_, quote)| quote);
    let mut escaped = false;
    for (at, letter) in letters {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if Some(letter) == quote || (letter == '\n' && quote != Some('`')) {
            return at + 1;
        }
    }
    rest.len()
}
