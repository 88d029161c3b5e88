//! The JSON schema of a tool, from its Python source: by parsing, never by executing it.
//!
//! Executing a source to look at its function would run a stranger's code before anybody asked for it, outside the cage.
//! So what only a running interpreter knows (a hint from a package, a default that is computed) is refused with the line
//! where it stands, and the client gives the schema itself.
//!
//! A given `json_schema` wins; else the parameters come from `args_json_schema`, else from the function.

mod arguments;
mod check;
mod class;
mod constant;
mod docstring;
mod error;
mod function;
mod given;
mod hint;
mod names;
mod notes;
mod parse;
mod shape;
mod typescript;

use serde_json::{Value, json};

pub use crate::cage::Language;
pub use check::check_arguments;
pub use error::SchemaError;
use function::Function;
use given::Explicit;
use parse::Module;

/// Bytes of source that are looked at. Tools are a few thousand, which takes under a millisecond; the worst that this many
/// can hold takes most of a second.
pub const MAX_SOURCE: usize = 1024 * 1024;
/// Characters of a tool's name, the contract's bound.
pub const MAX_NAME: usize = 48;
/// Types in one schema. Providers refuse long before; the bound keeps classes that name one another from growing without end.
pub const MAX_SCHEMA: usize = 5000;

/// What the client says about a tool beside its source.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'g> {
    /// The whole schema.
    pub json_schema: Option<&'g Value>,
    /// The schema of the arguments, as pydantic makes it.
    pub args_json_schema: Option<&'g Value>,
    /// Which function is the tool. A `json_schema` names it by itself.
    pub name: Option<&'g str>,
    /// What the tool does; wins over the docstring.
    pub description: Option<&'g str>,
}

/// What a model is told of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// The name it calls, which is the function's.
    pub name: String,
    /// What it does. Empty only where a client gave a `json_schema` and nobody said it.
    pub description: String,
    /// `{name, description, parameters}`.
    pub json_schema: Value,
}

/// The signature of a tool. It computes and does not wait: see [`MAX_SOURCE`] for how long.
///
/// # Errors
/// Says what is wrong with the source or with what was given, where, and what to do.
pub fn derive(
    source: &str,
    language: Language,
    given: Given<'_>,
) -> Result<Signature, SchemaError> {
    if source.len() > MAX_SOURCE {
        return Err(SchemaError::TooLong { bytes: source.len() });
    }
    let explicit = given.json_schema.map(Explicit::read).transpose()?;
    match (language, explicit) {
        (Language::TypeScript, None) => Err(SchemaError::TypeScriptSchema),
        (Language::TypeScript, Some(explicit)) => {
            typescript::check(source, explicit.name)?;
            Ok(explicit_signature(&explicit, &given, None))
        }
        (Language::Python, Some(explicit)) => {
            let module = Module::parse(source)?;
            let function = Function::find(&module, Some(explicit.name))?;
            let documented = function.docs.map(|docs| docs.description);
            Ok(explicit_signature(&explicit, &given, documented))
        }
        (Language::Python, None) => from_source(source, &given),
    }
}

fn from_source(source: &str, given: &Given<'_>) -> Result<Signature, SchemaError> {
    let module = Module::parse(source)?;
    let function = Function::find(&module, given.name)?;
    let name = function.name()?;
    let mut described = said(given.description);
    let parameters = match given.args_json_schema {
        Some(schema) => {
            if function.docs.is_none() {
                described = described.or(arguments::description(schema));
            }
            arguments::parameters(schema)?
        }
        None => {
            // A source without any docstring is told that, not that its first parameter lacks a description.
            function.description(described)?;
            function.parameters()?
        }
    };
    let description = function.description(described)?;
    let json_schema = json!({ "name": name, "description": description, "parameters": parameters });
    Ok(Signature { name: name.to_owned(), description, json_schema })
}

fn explicit_signature(
    explicit: &Explicit<'_>,
    given: &Given<'_>,
    documented: Option<String>,
) -> Signature {
    let own = explicit.description.map(str::to_owned);
    let asked = said(given.description).map(str::to_owned);
    let description = asked.or(own.clone()).or(documented).unwrap_or_default();
    let json_schema = explicit.complete(own.as_ref().unwrap_or(&description));
    Signature { name: explicit.name.to_owned(), description, json_schema }
}

fn said(description: Option<&str>) -> Option<&str> {
    description.filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests;
