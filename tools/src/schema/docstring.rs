//! Docstrings: what a function does, and what its parameters are for.
//!
//! Google's style is the one that is documented. Those of reStructuredText and NumPy are read as well, because code that
//! becomes a tool often has them.

use std::collections::HashMap;

use ruff_python_ast::Stmt;

/// What a docstring says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Docstring {
    /// All of it but the sections on parameters, returns, yields and exceptions.
    pub(super) description: String,
    /// By name.
    pub(super) parameters: HashMap<String, String>,
}

/// The docstring of a body: a text that is its first statement.
pub(super) fn of(body: &[Stmt]) -> Option<&str> {
    let text = body.first()?.as_expr_stmt()?.value.as_string_literal_expr()?;
    Some(text.value.to_str())
}

/// What the lines under way belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// The description.
    Text,
    /// Parameters, with the indentation of their names once it is known.
    Parameters { indent: Option<usize>, style: Style },
    /// One field of reStructuredText, whose further lines are indented.
    Field,
    /// What models are not told, with its indentation once it is known.
    Dropped { indent: Option<usize> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Google,
    Numpy,
}

/// Reads a docstring.
pub(super) fn read(text: &str) -> Docstring {
    let lines = clean(text);
    let mut reader = Reader { docs: Docstring::default(), section: Section::Text, open: None };
    let mut rest = lines.as_slice();
    while let [line, after @ ..] = rest {
        rest = after;
        if let Some(section) = header(line, after.first()) {
            reader.enter(section);
            if is_rule(after.first()) {
                rest = &after[1..];
            }
        } else {
            reader.line(line);
        }
    }
    reader.finish()
}

struct Reader {
    docs: Docstring,
    section: Section,
    /// The parameter whose description goes on.
    open: Option<String>,
}

impl Reader {
    fn enter(&mut self, section: Section) {
        self.section = section;
        self.open = None;
    }

    fn line(&mut self, line: &str) {
        let indent = indent(line);
        if !line.is_empty() && indent == 0 && self.field(line) {
            return;
        }
        match self.section {
            Section::Text => self.text(line),
            Section::Field if line.is_empty() || indent > 0 => self.more(line),
            Section::Field => self.back_to_text(line),
            Section::Dropped { .. } if line.is_empty() => {}
            Section::Dropped { indent: known } => {
                let level = known.unwrap_or(indent);
                self.section = Section::Dropped { indent: Some(level) };
                if indent < level {
                    self.back_to_text(line);
                }
            }
            Section::Parameters { .. } if line.is_empty() => self.more(line),
            Section::Parameters { indent: known, style } => {
                let level = known.unwrap_or(indent);
                self.section = Section::Parameters { indent: Some(level), style };
                if indent < level {
                    self.back_to_text(line);
                } else if indent > level {
                    self.more(line);
                } else {
                    self.item(line, style);
                }
            }
        }
    }

    fn text(&mut self, line: &str) {
        self.docs.description.push_str(line);
        self.docs.description.push('\n');
    }

    /// An unindented line that is no header ends a section.
    fn back_to_text(&mut self, line: &str) {
        self.enter(Section::Text);
        self.text("");
        self.text(line);
    }

    fn more(&mut self, line: &str) {
        let Some(description) =
            self.open.as_ref().and_then(|name| self.docs.parameters.get_mut(name))
        else {
            return;
        };
        description.push('\n');
        description.push_str(line.trim_start());
    }

    fn item(&mut self, line: &str, style: Style) {
        match (google_item(line), style) {
            (Some((name, description)), Style::Google) => self.parameter(name, description),
            (None, Style::Google) => self.more(line),
            (_, Style::Numpy) => {
                let name = line
                    .split([':', ','])
                    .next()
                    .unwrap_or_default()
                    .trim()
                    .trim_start_matches('*');
                self.parameter(name, "");
            }
        }
    }

    fn parameter(&mut self, name: &str, description: &str) {
        self.docs.parameters.insert(name.to_owned(), description.to_owned());
        self.open = Some(name.to_owned());
    }

    /// A field of reStructuredText, `:param int count: How many.`
    fn field(&mut self, line: &str) -> bool {
        let Some((head, description)) =
            line.strip_prefix(':').and_then(|rest| rest.split_once(':'))
        else {
            return false;
        };
        let mut words = head.split_whitespace();
        match words.next() {
            Some("param" | "parameter" | "arg" | "argument" | "key" | "keyword") => {
                self.enter(Section::Field);
                if let Some(name) = words.last() {
                    self.parameter(name.trim_start_matches('*'), description.trim());
                }
                true
            }
            Some(
                "type" | "return" | "returns" | "rtype" | "raise" | "raises" | "yield" | "yields"
                | "except" | "exception",
            ) => {
                self.enter(Section::Dropped { indent: Some(1) });
                true
            }
            Some(_) | None => false,
        }
    }

    fn finish(self) -> Docstring {
        let Docstring { description, parameters } = self.docs;
        let parameters = parameters
            .into_iter()
            .map(|(name, description)| (name, description.trim().to_owned()))
            .filter(|(_, description)| !description.is_empty())
            .collect();
        Docstring { description: squeeze(&description), parameters }
    }
}

/// The lines without the indentation they have in common, tabs expanded, as `inspect.cleandoc` does.
fn clean(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<String> = text.split('\n').map(expand).collect();
    let common =
        lines.iter().skip(1).filter(|line| !line.is_empty()).map(|line| indent(line)).min();
    let cut = |(number, line): (usize, String)| match number {
        0 => line.trim_start().to_owned(),
        _ => line.get(common.unwrap_or(0)..).unwrap_or_default().to_owned(),
    };
    lines.into_iter().enumerate().map(cut).collect()
}

/// A line with its leading tabs as spaces, without what trails.
fn expand(line: &str) -> String {
    let line = line.trim_end();
    let rest = line.trim_start_matches([' ', '\t']);
    let mut width = 0;
    for letter in line[..line.len() - rest.len()].chars() {
        width = if letter == '\t' { (width / 8 + 1) * 8 } else { width + 1 };
    }
    format!("{}{rest}", " ".repeat(width))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The section that a line begins: `Args:`, or `Parameters` above a row of dashes.
fn header(line: &str, next: Option<&String>) -> Option<Section> {
    if line.is_empty() || indent(line) > 0 {
        return None;
    }
    let (name, style) = match line.strip_suffix(':') {
        Some(name) => (name, Style::Google),
        None if is_rule(next) => (line, Style::Numpy),
        None => return None,
    };
    match name.trim().to_ascii_lowercase().as_str() {
        "args" | "arguments" | "parameters" | "params" | "keyword args" | "keyword arguments"
        | "other parameters" | "attributes" => Some(Section::Parameters { indent: None, style }),
        "returns" | "return" | "raises" | "raise" | "yields" | "yield" | "exceptions"
        | "except" => Some(Section::Dropped { indent: None }),
        _ => None,
    }
}

fn is_rule(line: Option<&String>) -> bool {
    line.is_some_and(|line| line.len() >= 3 && line.bytes().all(|byte| byte == b'-'))
}

/// `name: description` or `name (type): description`.
fn google_item(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start().trim_start_matches("- ").trim_start_matches(['*', '`']);
    let end = line.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start_matches('`').trim_start();
    let rest = if rest.starts_with('(') { &rest[closing(rest)? + 1..] } else { rest };
    let description = rest.trim_start().strip_prefix(':')?;
    (!name.is_empty()).then_some((name, description.trim()))
}

/// The byte of the parenthesis that closes the first one.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' | '[' => open += 1,
            ')' | ']' => {
                open = open.checked_sub(1)?;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// A text without blank lines around it, and never two in a row.
fn squeeze(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        if !line.is_empty() || lines.last().is_some_and(|last| !last.is_empty()) {
            lines.push(line);
        }
    }
    lines.join("\n").trim().to_owned()
}
