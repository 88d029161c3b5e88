//! Why no schema came of what was sent. Each text is what a client reads: it names the parameter or the line, and says
//! what to do. Lines and columns count from 1, as editors count them.

use super::{
    MAX_SCHEMA, MAX_SOURCE,
    given::MAX_NESTING,
    parse::{MAX_DEPTH, MAX_SIGNS},
};

/// A tool whose schema cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// More source than is looked at.
    #[error("the source has {bytes} bytes; a tool's source may have at most {MAX_SOURCE}")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// Brackets, blocks or operators nested deeper than any reader of it could follow.
    #[error(
        "line {line}: the source is nested more than {MAX_DEPTH} levels deep here; split it up"
    )]
    TooDeep {
        /// Where the bound is passed.
        line: usize,
    },
    /// More than a reader of it could follow, if all of it were nested.
    #[error(
        "the source has {signs} operators, brackets and keywords; a tool's source may have at most {MAX_SIGNS}, so keep \
         its data elsewhere"
    )]
    TooManySigns {
        /// How many it has.
        signs: usize,
    },
    /// This machine has no memory for it now.
    #[error("there is no memory to read the source at the moment; try again")]
    NoRoom,
    /// Not Python.
    #[error("line {line}, column {column}: {message}; this is not valid Python")]
    Syntax {
        /// Where the parser stopped.
        line: usize,
        /// The character of that line.
        column: usize,
        /// What it met.
        message: String,
    },
    /// Nothing to call.
    #[error(
        "the source defines no function; write the tool as a function at the top level of the source, not as a method"
    )]
    NoFunction,
    /// The name that was asked for is not there.
    #[error(
        "the source defines no function `{name}` at its top level; it defines {found}; give one of these names"
    )]
    NotDefined {
        /// What was asked for.
        name: String,
        /// What there is, as a list for people.
        found: String,
    },
    /// A name no provider takes.
    #[error(
        "{subject} cannot be offered to a model under this name; use 1 to {most} letters, digits, `_` and `-` of ASCII"
    )]
    Name {
        /// Whose name, with its line.
        subject: String,
        /// How long it may be.
        most: usize,
    },
    /// Nothing tells what the tool does.
    #[error(
        "line {line}: function `{function}` has no docstring; say what it does in one, with an `Args:` section that \
         describes each parameter"
    )]
    NoDocstring {
        /// Where the function begins.
        line: usize,
        /// Its name.
        function: String,
    },
    /// A docstring that describes parameters, but not the tool.
    #[error(
        "line {line}: the docstring of `{function}` does not say what the function does; begin it with a sentence that does"
    )]
    NoDescription {
        /// Where the function begins.
        line: usize,
        /// Its name.
        function: String,
    },
    /// A parameter without a type.
    #[error(
        "line {line}: parameter `{parameter}` of `{function}` has no type hint; write `{parameter}: str` or another type"
    )]
    MissingHint {
        /// Where the parameter is.
        line: usize,
        /// Its function.
        function: String,
        /// Its name.
        parameter: String,
    },
    /// A parameter nobody described.
    #[error(
        "line {line}: parameter `{parameter}` of `{function}` has no description; add a line `{parameter}: ...` to the \
         `Args:` section of the docstring"
    )]
    MissingDescription {
        /// Where the parameter is.
        line: usize,
        /// Its function.
        function: String,
        /// Its name.
        parameter: String,
    },
    /// `*args`, `**kwargs`, or a parameter that cannot be given by name.
    #[error("line {line}: parameter `{parameter}` of `{function}` {problem}")]
    Parameter {
        /// Where the parameter is.
        line: usize,
        /// Its function.
        function: String,
        /// As it is written there.
        parameter: String,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
    /// A type that has no JSON schema here.
    #[error("line {line}: {subject} has the type `{hint}`, {problem}")]
    Unsupported {
        /// Where the hint is.
        line: usize,
        /// Whose hint: a parameter of a function, or a field of a class.
        subject: String,
        /// As it is written there, cut when long.
        hint: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// Types that name one another until the schema is larger than any provider takes.
    #[error(
        "line {line}: with {subject} the schema has more than {MAX_SCHEMA} types and values; make the types smaller"
    )]
    TooLarge {
        /// Where the hint is that was one too many.
        line: usize,
        /// Whose hint.
        subject: String,
    },
    /// Types within types until the schema is deeper than one that is given may be.
    #[error(
        "line {line}: the schema of `{function}` is nested more than {MAX_NESTING} levels deep; make its types flatter"
    )]
    Nested {
        /// Where the function begins.
        line: usize,
        /// Its name.
        function: String,
    },
    /// An explicit schema that is none.
    #[error("{place}: {problem}")]
    Given {
        /// Which member, from `json_schema` or `args_json_schema` on.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A TypeScript tool without a schema.
    #[error("a TypeScript tool needs its `json_schema`: it cannot be read from the source")]
    TypeScriptSchema,
    /// A TypeScript tool that exports nothing to call.
    #[error(
        "the source exports no function; write `export function {name}(...)` or `export async function {name}(...)`"
    )]
    NoExport {
        /// The name its schema has.
        name: String,
    },
    /// A TypeScript tool whose schema names another function.
    #[error(
        "the source exports no function `{name}`; it exports {found}; `json_schema` must have the name of one"
    )]
    NotExported {
        /// The name its schema has.
        name: String,
        /// What there is, as a list for people.
        found: String,
    },
}

/// Names as people list them: `` `a`, `b` ``. At most ten are shown.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 10;
    let mut names = names.peekable();
    let shown: Vec<String> = names.by_ref().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
