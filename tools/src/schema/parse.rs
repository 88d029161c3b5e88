//! Python source to its syntax tree, within bounds.
//!
//! The parser itself grows its stack as it needs, but a tree is taken down by recursion, and so is read. So before it is
//! parsed a source is looked over token by token, and one whose tree could be too deep is refused.

use ruff_python_ast::{Expr, Suite, token::TokenKind};
use ruff_python_parser::{Mode, ParseError, lexer, parse_expression, parse_module};
use ruff_text_size::TextSize;

use super::SchemaError;

/// Levels of brackets, blocks and operators. CPython stops at 200 brackets and 100 blocks; the rest is room for long sums
/// and chains of calls.
pub(super) const MAX_DEPTH: usize = 1000;

/// A module, and the source its ranges refer to.
#[derive(Debug)]
pub(super) struct Module<'s> {
    pub(super) source: &'s str,
    pub(super) body: Suite,
    /// The byte after each end of a line.
    ends: Vec<usize>,
}

impl<'s> Module<'s> {
    /// Parses a whole source. A byte order mark before it is no part of it.
    pub(super) fn parse(source: &'s str) -> Result<Self, SchemaError> {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        if let Some(at) = source.find('\0') {
            return Err(syntax(source, at, "a NUL character".to_owned()));
        }
        if exceeds(source) {
            return Err(too_deep(source));
        }
        let module = parse_module(source).map_err(|error| unreadable(source, &error))?;
        Ok(Self { source, body: module.into_suite(), ends: line_ends(source) })
    }

    /// The line of a place in it.
    pub(super) fn line(&self, at: TextSize) -> usize {
        self.ends.partition_point(|end| *end <= at.to_usize()) + 1
    }
}

/// A type hint that is written as a string.
pub(super) fn expression(text: &str) -> Option<Expr> {
    let text = text.trim();
    if exceeds(text) {
        return None;
    }
    parse_expression(text).ok().map(|parsed| parsed.into_expr())
}

fn unreadable(source: &str, error: &ParseError) -> SchemaError {
    let message = error.error.to_string();
    let mut letters = message.chars();
    let message = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
    syntax(source, error.location.start().to_usize(), message)
}

fn syntax(source: &str, at: usize, message: String) -> SchemaError {
    let (line, column) = position(source, at);
    SchemaError::Syntax { line, column, message }
}

/// Line and column of a byte, both from 1. Lines end as Python's do: with `\n`, `\r\n` or `\r`.
fn position(source: &str, at: usize) -> (usize, usize) {
    let before = source.get(..at).unwrap_or(source);
    let ends = line_ends(before);
    let start = ends.last().copied().unwrap_or(0);
    (ends.len() + 1, before[start..].chars().count() + 1)
}

/// The byte after each end of a line.
fn line_ends(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends = |at: &usize| match bytes[*at] {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    (0..bytes.len()).filter(ends).map(|at| at + 1).collect()
}

/// What to say of a source that is nested too deep: that, or that what comes before the place is not Python. A bracket
/// that is never closed makes one expression of all that follows, and then the bracket is the news.
fn too_deep(source: &str) -> SchemaError {
    let ends = line_ends(source);
    let line = ends.partition_point(|end| !exceeds(&source[..*end]));
    let start = line.checked_sub(1).map_or(0, |last| ends[last]);
    let before = &source[..start];
    match parse_module(before) {
        Err(error) if error.location.start().to_usize() < before.trim_end().len() => {
            unreadable(source, &error)
        }
        Ok(_) | Err(_) => SchemaError::TooDeep { line: line + 1 },
    }
}

/// Whether the tree of this source could be deeper than [`MAX_DEPTH`]. Never wrong when it says no.
fn exceeds(source: &str) -> bool {
    let mut lexer = lexer::lex(source, Mode::Module);
    let mut depth = Depth::default();
    loop {
        let token = lexer.next_token();
        if token == TokenKind::EndOfFile {
            return false;
        }
        depth.take(token);
        if depth.total() > MAX_DEPTH {
            return true;
        }
    }
}

/// A bound of how deep a tree can be after the tokens seen so far: every operator, keyword or bracket adds a level at
/// most, and a comma between brackets ends what its item added.
#[derive(Default)]
struct Depth {
    blocks: usize,
    /// The statement under way, outside brackets.
    statement: Level,
    /// One per open bracket.
    brackets: Vec<Level>,
    below: usize,
}

#[derive(Default, Clone, Copy)]
struct Level {
    /// What the item under way added.
    item: usize,
    /// What a comma does not end: the body of a lambda comes after the commas of its parameters.
    lasting: usize,
}

impl Level {
    fn sum(self) -> usize {
        self.item + self.lasting
    }
}

impl Depth {
    fn total(&self) -> usize {
        let open = self.brackets.last().map_or(0, |level| level.sum());
        self.blocks + self.statement.sum() + self.brackets.len() + self.below + open
    }

    fn current(&mut self) -> &mut Level {
        self.brackets.last_mut().unwrap_or(&mut self.statement)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "over tokens, not events: whatever is no leaf of the tree counts as a level"
    )]
    fn take(&mut self, token: TokenKind) {
        match token {
            TokenKind::Indent => self.blocks += 1,
            TokenKind::Dedent => self.blocks = self.blocks.saturating_sub(1),
            TokenKind::Newline => {
                self.statement = Level::default();
                self.brackets.clear();
                self.below = 0;
            }
            TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace => {
                self.below += self.brackets.last().map_or(0, |level| level.sum());
                self.brackets.push(Level::default());
            }
            TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace => {
                self.brackets.pop();
                self.below -= self.brackets.last().map_or(0, |level| level.sum());
                self.current().item += 1;
            }
            TokenKind::Comma => {
                if let Some(level) = self.brackets.last_mut() {
                    level.item = 0;
                }
            }
            TokenKind::Lambda => self.current().lasting += 1,
            TokenKind::Name
            | TokenKind::Int
            | TokenKind::Float
            | TokenKind::Complex
            | TokenKind::String
            | TokenKind::FStringStart
            | TokenKind::FStringMiddle
            | TokenKind::FStringEnd
            | TokenKind::TStringStart
            | TokenKind::TStringMiddle
            | TokenKind::TStringEnd
            | TokenKind::Comment
            | TokenKind::NonLogicalNewline => {}
            _ => self.current().item += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_pythons_do() {
        assert_eq!(position("a\r\nb\rc\nd", 0), (1, 1));
        assert_eq!(position("a\r\nb\rc\nd", 3), (2, 1));
        assert_eq!(position("a\r\nb\rc\nd", 5), (3, 1));
        assert_eq!(position("a\r\nb\rc\nd", 7), (4, 1));
        assert_eq!(position("é = x", 3), (1, 3));
        assert_eq!(position("ab", 9), (1, 3));
    }

    #[test]
    fn a_table_of_many_rows_is_not_deep() {
        let rows = "    {'a': 1 + 2, 'b': [f(x.y), -3], 'c': lambda: 0},\n".repeat(300);
        assert!(!exceeds(&format!("ROWS = [\n{rows}]\n")));
        assert!(!exceeds(&"x = a + b * c.d(e)[f] if g else h\n".repeat(5000)));
    }

    #[test]
    fn whatever_nests_is_counted() {
        let deep = MAX_DEPTH + 1;
        for unit in [
            "(",
            "[",
            "{",
            "-",
            "not ",
            "a.",
            "a + ",
            "a ** ",
            "lambda: ",
            "lambda a, b: ",
            "await ",
            "a if b else ",
            "f'{",
            "f(x)(",
            "if a: ",
            "async ",
            "~",
            "* ",
            "yield ",
            "a := ",
            "@a ",
        ] {
            assert!(exceeds(&unit.repeat(deep)), "{unit}");
        }
        let blocks: String =
            (0..deep).map(|level| format!("{}if x:\n", " ".repeat(level))).collect();
        assert!(exceeds(&blocks));
        assert!(exceeds(&format!("f{}", "()".repeat(deep))));
        assert!(exceeds(&format!("[{}", "lambda a, b: ".repeat(deep))));
    }
}
