//! How memory tools change the value of a block: text in, text out.
//!
//! The errors here are read by models, so each says what was wrong and what would be right. Nothing is ever half done:
//! an edit gives the whole new value or an error.

use retold_events::block::Block;
use serde_json::{Map, Value};

use super::MemoryTool;

/// What the system message says above numbered lines. A model that copies it, or a number, into memory is corrected.
pub(crate) const LINE_NUMBER_BANNER: &str = "# The numbers and arrows before the lines (such as '1→') are there so \
    that you can name a line. They are not part of the value: leave them out of everything you write to memory.";

const READ_ONLY: &str = "Error This block is read-only and cannot be edited.";

/// Columns from one tab stop to the next.
const TAB_COLUMNS: usize = 8;

/// Longest piece of a model's own text that an error quotes, in characters.
const QUOTE_CHARS: usize = 300;

/// What a memory tool was asked to do, to the block of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryEdit {
    label: String,
    change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Append { content: String },
    ReplaceAll { old: String, new: String },
    Insert { text: String, line: i64 },
    ReplaceOnce { old: String, new: String },
    Rethink { value: String },
}

/// Reads the arguments of a call. Text that is no JSON object counts as no arguments.
///
/// # Errors
/// A sentence for the model when an argument is missing, of the wrong type, or holds line numbers.
pub(crate) fn parse(tool: MemoryTool, arguments: &str) -> Result<MemoryEdit, String> {
    let arguments: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
    let text = |name| text(&arguments, name);
    let label = text("label")?;
    let change = match tool {
        MemoryTool::CoreAppend => Change::Append { content: text("content")? },
        MemoryTool::CoreReplace => {
            Change::ReplaceAll { old: text("old_content")?, new: text("new_content")? }
        }
        MemoryTool::Insert => {
            Change::Insert { text: text("new_string")?, line: insert_line(&arguments)? }
        }
        MemoryTool::Replace => {
            Change::ReplaceOnce { old: text("old_string")?, new: text("new_string")? }
        }
        MemoryTool::Rethink => Change::Rethink { value: text("new_memory")? },
    };
    Ok(MemoryEdit { label, change })
}

impl MemoryEdit {
    /// The label of the block it is for.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Whether a label that no block has makes a new block, to be edited from an empty value, rather than
    /// [`unknown_label`].
    pub(crate) fn creates_block(&self) -> bool {
        let well_formed =
            |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '/' | '-');
        matches!(self.change, Change::Rethink { .. })
            && !self.label.is_empty()
            && self.label.chars().all(well_formed)
    }
}

/// The value of `block` after `edit`.
///
/// # Errors
/// A sentence for the model when the block may not be edited so.
pub(crate) fn apply(edit: &MemoryEdit, block: &Block) -> Result<String, String> {
    if block.read_only {
        return Err(READ_ONLY.to_owned());
    }
    let (label, value) = (edit.label.as_str(), block.value.as_str());
    let new = match &edit.change {
        Change::Append { content } => format!("{value}\n{content}"),
        Change::ReplaceAll { old, new } => replace_all(label, value, old, new, limit_of(block))?,
        Change::Insert { text, line } => insert(value, text, *line)?,
        Change::ReplaceOnce { old, new } => replace_once(label, value, old, new)?,
        Change::Rethink { value } => value.clone(),
    };
    let new = expand_tabs(&new);
    let length = new.chars().count() as u64;
    let limit = limit_of(block);
    if length > limit { Err(too_long(label, length, limit)) } else { Ok(new) }
}

/// Characters that a block may have after an edit by a model, whatever limit its client gave it: every edit writes the
/// whole value.
const MOST_CHARACTERS: u64 = 4_000_000;

fn limit_of(block: &Block) -> u64 {
    block.limit.min(MOST_CHARACTERS)
}

fn too_long(label: &str, length: u64, limit: u64) -> String {
    format!(
        "Edit refused: block '{label}' would have {length} characters, and its limit is {limit}. Shorten the block \
        first, or write less."
    )
}

/// The error for a label that none of the agent's blocks has.
pub(crate) fn unknown_label(label: &str, known: &[String]) -> String {
    let label = quote(label);
    if known.is_empty() {
        return format!(
            "There is no memory block with the label {label}; this agent has no memory blocks."
        );
    }
    format!(
        "There is no memory block with the label {label}. The labels are: {}.",
        known.join(", ")
    )
}

fn text(arguments: &Map<String, Value>, name: &str) -> Result<String, String> {
    let text = match arguments.get(name) {
        Some(Value::String(text)) => text,
        Some(Value::Null) | None => return Err(format!("The argument '{name}' is missing.")),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(format!("The argument '{name}' must be a string."));
        }
    };
    if text.contains(LINE_NUMBER_BANNER) {
        return Err(format!(
            "The argument '{name}' holds the note about line numbers, which is not part of any block. Call the tool \
            again without it."
        ));
    }
    if let Some(line) = text.lines().find(|line| is_numbered(line)) {
        return Err(format!(
            "The argument '{name}' holds a line number, in the line {}. Line numbers are shown for orientation and \
            are not part of any block. Call the tool again without them.",
            quote(line)
        ));
    }
    Ok(text.clone())
}

/// Whether a line begins as a numbered line does: `12→ text`.
fn is_numbered(line: &str) -> bool {
    let line = line.trim_start();
    let rest = line.trim_start_matches(|char: char| char.is_ascii_digit());
    let after = rest.strip_prefix('→').filter(|_| rest.len() < line.len());
    // An arrow between two words, as in `2→3`, is not a line number.
    after.is_some_and(|after| after.is_empty() || after.starts_with([' ', '\t']))
}

/// Models write numbers as `3`, `3.0` and `"3"`; all of them are understood.
fn insert_line(arguments: &Map<String, Value>) -> Result<i64, String> {
    let line = match arguments.get("insert_line") {
        None | Some(Value::Null) => Some(-1),
        Some(Value::Number(number)) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    line.ok_or_else(|| "The argument 'insert_line' must be an integer.".to_owned())
}

fn whole(number: f64) -> Option<i64> {
    // Beyond this, no block has lines, and the conversion stays exact.
    let in_range = number.fract() == 0.0 && number.abs() < 1e9;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    in_range.then_some(number as i64)
}

fn replace_all(
    label: &str,
    value: &str,
    old: &str,
    new: &str,
    limit: u64,
) -> Result<String, String> {
    let (value, old) = locate(value, old);
    if old.is_empty() {
        return Err("The argument 'old_content' is empty; give the text to replace.".to_owned());
    }
    let count = value.matches(&old).count();
    if count == 0 {
        return Err(format!(
            "The text {} was not found in memory block '{label}'. It must be given exactly as it stands there.",
            quote(&old)
        ));
    }
    // Known before it is built: many short matches and a long text would fill the memory.
    let bytes =
        (value.len() - count * old.len()).saturating_add(count.saturating_mul(new.len())) as u64;
    // No character has more than four bytes.
    if bytes / 4 > limit {
        return Err(too_long(label, bytes / 4, limit));
    }
    Ok(value.replace(&old, new))
}

fn replace_once(label: &str, value: &str, old: &str, new: &str) -> Result<String, String> {
    let (value, old) = locate(value, old);
    if old.is_empty() {
        return Err(
            "No replacement was performed, because the argument 'old_string' is empty.".to_owned()
        );
    }
    let starts: Vec<usize> = value.match_indices(&old).map(|(at, _)| at).collect();
    match starts[..] {
        [] => Err(format!(
            "No replacement was performed, because {} did not appear verbatim in memory block '{label}'.",
            quote(&old)
        )),
        [_] => Ok(value.replacen(&old, new, 1)),
        [..] => Err(format!(
            "No replacement was performed, because {} occurs {} times in memory block '{label}', in lines {:?}. Take \
            in more of what is around it, so that it occurs once.",
            quote(&old),
            starts.len(),
            lines_of(&value, &starts)
        )),
    }
}

/// The value and the text to look for in it, in the form in which they may match: as they are, or with tabs expanded
/// in both, because a model may have copied a tab as the spaces it looks like.
fn locate(value: &str, old: &str) -> (String, String) {
    if value.contains(old) || !(value.contains('\t') || old.contains('\t')) {
        (value.to_owned(), old.to_owned())
    } else {
        (expand_tabs(value), expand_tabs(old))
    }
}

/// Numbers, from 1, of the first ten lines in which matches start, each once.
fn lines_of(value: &str, starts: &[usize]) -> Vec<usize> {
    let mut lines = Vec::new();
    let (mut line, mut passed) = (1, 0);
    for &start in starts {
        line += value[passed..start].matches('\n').count();
        passed = start;
        if lines.last() != Some(&line) {
            lines.push(line);
        }
        if lines.len() == 10 {
            break;
        }
    }
    lines
}

fn insert(value: &str, text: &str, line: i64) -> Result<String, String> {
    let mut lines: Vec<&str> =
        if value.is_empty() { Vec::new() } else { value.split('\n').collect() };
    let at = match line {
        -1 => Some(lines.len()),
        _ => usize::try_from(line).ok().filter(|&at| at <= lines.len()),
    };
    let Some(at) = at else {
        return Err(format!(
            "The argument 'insert_line' is {line}, which is not a place in this block: it must be within [0, {}], or \
            -1 for the end.",
            lines.len()
        ));
    };
    lines.insert(at, text);
    Ok(lines.join("\n"))
}

/// Tabs as the spaces up to the next tab stop of their line.
fn expand_tabs(text: &str) -> String {
    if !text.contains('\t') {
        return text.to_owned();
    }
    let mut expanded = String::with_capacity(text.len() + TAB_COLUMNS);
    let mut column = 0;
    for char in text.chars() {
        match char {
            '\t' => {
                let spaces = TAB_COLUMNS - column % TAB_COLUMNS;
                expanded.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            '\n' | '\r' => {
                expanded.push(char);
                column = 0;
            }
            _ => {
                expanded.push(char);
                column += 1;
            }
        }
    }
    expanded
}

fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARS) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{text}'"),
    }
}

#[cfg(test)]
mod tests;
