//! Python source to its syntax tree, within bounds.
//!
//! The parser itself grows its stack as it needs, but a tree is taken down by recursion, and so is read. So before it is
//! parsed a source is looked over token by token, and one whose tree could be too deep is refused.
//!
//! That holds for Python. Of what is not, the parser makes trees all the same, and reads its tokens as it thinks they were
//! meant: after a bracket of the wrong kind, or a quote that is missing, nobody can tell how deep they are. But no level
//! comes from nothing: each takes a sign or a keyword. So a source with many of them is parsed on a stack that has room for
//! a tree of as many levels.

use std::thread;

use ruff_python_ast::{Expr, Suite, token::TokenKind};
use ruff_python_parser::{Mode, ParseError, lexer, parse_expression, parse_module};
use ruff_text_size::TextSize;

use super::SchemaError;

/// Levels of brackets, blocks and operators. CPython stops at 200 brackets and 100 blocks; the rest is room for long sums
/// and chains of calls.
pub(super) const MAX_DEPTH: usize = 1000;
/// Signs and keywords of a source. Half a million bytes of code have as many; a tree with so many levels takes 300 MB
/// while it is parsed by a program that is not optimised.
pub(super) const MAX_SIGNS: usize = 1 << 16;
/// Bytes of stack for a level of a tree while it is taken down, many times what it takes.
const LEVEL: usize = 4 << 10;
/// Bytes of stack for everything else.
const STACK: usize = 1 << 20;

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
        let body = suite(source)?.map_err(|error| unreadable(source, &error))?;
        Ok(Self { source, body, ends: line_ends(source) })
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
    with_room(text, || parse_expression(text).ok().map(|parsed| parsed.into_expr())).ok()?
}

/// The statements of a source, or why it is no Python.
fn suite(source: &str) -> Result<Result<Suite, ParseError>, SchemaError> {
    with_room(source, || parse_module(source).map(|parsed| parsed.into_suite()))
}

/// Calls `parse` on a stack with room for whatever tree it makes of `source`.
fn with_room<T: Send>(source: &str, parse: impl FnOnce() -> T + Send) -> Result<T, SchemaError> {
    let signs = signs(source);
    if signs > MAX_SIGNS {
        return Err(SchemaError::TooManySigns { signs });
    }
    if signs <= MAX_DEPTH {
        return Ok(parse());
    }
    let stack = STACK + signs * LEVEL;
    thread::scope(|scope| {
        let parsing = thread::Builder::new().stack_size(stack).spawn_scoped(scope, parse);
        let parsing = parsing.map_err(|_| SchemaError::NoRoom)?;
        Ok(parsing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// How many levels a tree of this source can have, however its tokens are read: one for each sign, keyword and line.
fn signs(source: &str) -> usize {
    let is_of_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
    let marks = source.bytes().filter(|byte| !is_of_word(*byte) && !matches!(byte, b' ' | b'\t'));
    let words = source.split(|letter: char| letter.is_ascii() && !is_of_word(letter as u8));
    // A keyword may follow a number without a space.
    let glued = |word: &str| {
        word.starts_with(|letter: char| letter.is_ascii_digit())
            && word.contains(|letter: char| letter.is_ascii_alphabetic())
    };
    marks.count() + words.filter(|word| KEYWORDS.contains(word) || glued(word)).count()
}

/// Those that begin a level by themselves.
const KEYWORDS: [&str; 26] = [
    "and", "as", "assert", "async", "await", "case", "class", "def", "del", "elif", "else",
    "except", "finally", "for", "if", "in", "is", "lambda", "match", "not", "or", "return", "try",
    "while", "with", "yield",
];

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
    match suite(before) {
        Ok(Err(error)) if error.location.start().to_usize() < before.trim_end().len() => {
            unreadable(source, &error)
        }
        Ok(_) | Err(_) => SchemaError::TooDeep { line: line + 1 },
    }
}

/// Whether the tree of this source could be deeper than [`MAX_DEPTH`]. Never wrong when it says no of Python.
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
    /// What a comma does not end: the body of a lambda comes after the commas of its parameters, and what is yielded may
    /// have commas.
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
            TokenKind::Lambda | TokenKind::Yield => self.current().lasting += 1,
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
