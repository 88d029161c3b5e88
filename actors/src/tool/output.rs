//! What a tool's return looks like to a model: bounded, and with errors in the words clients look for.

use std::borrow::Cow;

/// Longest return of a built-in tool, in characters. Source: V1's default of `return_char_limit`.
pub const RETURN_CHAR_LIMIT: usize = 50_000;

/// Longest error line, in characters. Source: V1 clips there.
const ERROR_CHARS: usize = 1000;

/// Cuts `text` to `limit` characters and says so at its end. The note comes on top of the limit.
pub(crate) fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    let Some((end, _)) = text.char_indices().nth(limit) else { return Cow::Borrowed(text) };
    let whole = limit + text[end..].chars().count();
    Cow::Owned(format!(
        "{}\n[The function output was truncated: it has {whole} characters, and at most {limit} are shown.]",
        &text[..end]
    ))
}

/// The line that goes to standard error when a built-in tool fails; the return itself is the bare `text`.
pub(crate) fn error_line(function: &str, text: &str) -> String {
    let mut line = format!("Error executing function {function}: ValueError: {text}");
    if let Some((end, _)) = line.char_indices().nth(ERROR_CHARS) {
        line.truncate(end);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_within_the_limit_is_left_alone() {
        assert_eq!(cut("", 0), "");
        assert_eq!(cut("gr\u{fc}n", 4), "gr\u{fc}n");
    }

    #[test]
    fn a_longer_return_is_cut_between_characters_and_names_both_lengths() {
        let cut = cut("\u{1F600}\u{1F600}\u{1F600}", 2);
        assert!(cut.starts_with("\u{1F600}\u{1F600}\n["));
        assert!(cut.contains("function output was truncated"), "{cut}");
        assert!(cut.contains('3') && cut.contains('2'), "{cut}");
    }

    #[test]
    fn an_error_line_names_the_function_and_is_bounded() {
        assert_eq!(error_line("f", "no"), "Error executing function f: ValueError: no");
        assert_eq!(error_line("f", &"x".repeat(5000)).chars().count(), 1000);
    }
}
