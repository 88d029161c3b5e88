//! Whether arguments fit a schema: those that a tool rule fills in beforehand, and those of a call.
//!
//! Small on purpose. It looks at what schemas of tools have: types, members, items, values; patterns and bounds are the
//! function's own affair.

use std::cell::Cell;
use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

/// How deep arguments are looked into. Deeper ones are left to the function.
const MAX_DEPTH: usize = 64;
/// Comparisons that a check may take. Choices of choices could take for ever; what is left then is the function's affair.
const MAX_STEPS: usize = 200_000;
/// Bytes of a name or value that a refusal repeats.
const SHOWN: usize = 100;
/// Names that a refusal lists.
const NAMED: usize = 10;
/// Values that a refusal lists.
const LISTED: usize = 50;

/// Checks the arguments of a call against the schema of its tool, in either form: `{name, description, parameters}`, or
/// the parameters alone.
///
/// # Errors
/// A sentence that names the argument and what it should be.
pub fn check_arguments(json_schema: &Value, arguments: &Value) -> Result<(), String> {
    let root = json_schema
        .get("parameters")
        .filter(|parameters| parameters.is_object())
        .unwrap_or(json_schema);
    let Some(given) = arguments.as_object() else {
        return Err(format!("the arguments must be an object, not {}", kind(arguments)));
    };
    let check = Check { root, left: Cell::new(MAX_STEPS), quiet: Cell::new(false) };
    check.members(root, given, &Path::Whole, MAX_DEPTH)
}

/// Where a value is among the arguments.
enum Path<'p> {
    Whole,
    Member(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        match self {
            Path::Whole => {}
            Path::Member(outer, name) => {
                outer.write(text);
                if !matches!(outer, Path::Whole) {
                    text.push('.');
                }
                text.push_str(&shown(name));
            }
            Path::Item(outer, number) => {
                outer.write(text);
                text.push_str(&format!("[{number}]"));
            }
        }
    }
}

struct Check<'s> {
    root: &'s Value,
    left: Cell<usize>,
    /// Nobody reads what is said now: a choice is being looked for, and there is something to say about it already.
    quiet: Cell<bool>,
}

impl<'s> Check<'s> {
    fn value(
        &self,
        schema: &'s Value,
        value: &Value,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), String> {
        let Some(depth) = depth.checked_sub(1).filter(|_| self.spend(1)) else { return Ok(()) };
        let schema = self.resolve(schema);
        let members =
            |key: &str| schema.get(key).map_or(0, |value| value.as_array().map_or(0, Vec::len));
        if !self.spend(members("enum") + members("required") + members("type")) {
            return Ok(());
        }
        if let Some(types) = schema.get("type") {
            self.has_type(types, value, path)?;
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array)
            && !values.contains(value)
        {
            return self.refuse(|| {
                format!("argument `{}` must be one of {}", path.text(), listed(values))
            });
        }
        if let Some(expected) = schema.get("const").filter(|expected| *expected != value) {
            return self
                .refuse(|| format!("argument `{}` must be {}", path.text(), shown(expected)));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(choices) = schema.get(key).and_then(Value::as_array) {
                self.choice(choices, value, path, depth)?;
            }
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.value(part, value, path, depth)?;
        }
        match value {
            Value::Object(members) => self.members(schema, members, path, depth),
            Value::Array(items) => self.items(schema, items, path, depth),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    /// Whether there are that many steps left.
    fn spend(&self, steps: usize) -> bool {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// What is said of a value that does not fit, when anybody reads it.
    fn refuse(&self, says: impl FnOnce() -> String) -> Result<(), String> {
        Err(if self.quiet.get() { String::new() } else { says() })
    }

    /// What a reference within the schema names. A reference that leads nowhere allows everything, and so does one that is
    /// not followed because no steps are left.
    fn resolve(&self, mut schema: &'s Value) -> &'s Value {
        for _ in 0..MAX_DEPTH {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
                return schema;
            };
            if !self.spend(1 + reference.len() / 64) {
                return &Value::Null;
            }
            match reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => schema = target,
                None => return &Value::Null,
            }
        }
        &Value::Null
    }

    /// The first choice that fits, or what is wrong with the first: that is the type itself where another is `null`.
    fn choice(
        &self,
        choices: &'s [Value],
        value: &Value,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), String> {
        let Some((first, others)) = choices.split_first() else { return Ok(()) };
        let Err(problem) = self.value(first, value, path, depth) else { return Ok(()) };
        let was_quiet = self.quiet.replace(true);
        let fits = others.iter().any(|choice| self.value(choice, value, path, depth).is_ok());
        self.quiet.set(was_quiet);
        if fits { Ok(()) } else { Err(problem) }
    }

    fn members(
        &self,
        schema: &'s Value,
        given: &Map<String, Value>,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), String> {
        let known = schema.get("properties").and_then(Value::as_object);
        for name in schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !given.contains_key(name) {
                let path = Path::Member(path, name);
                return self.refuse(|| format!("argument `{}` is missing", path.text()));
            }
        }
        for (name, value) in given {
            let path = Path::Member(path, name);
            match (known.and_then(|known| known.get(name)), schema.get("additionalProperties")) {
                (Some(schema), _) => self.value(schema, value, &path, depth)?,
                (None, Some(Value::Bool(true))) => {}
                (None, Some(others @ Value::Object(_))) => {
                    self.value(others, value, &path, depth)?
                }
                // An object without properties is a plain dict, except where it is the tool's own parameters.
                (None, None) if known.is_none() && depth < MAX_DEPTH => {}
                (None, _) => return self.refuse(|| unknown(&path, known)),
            }
        }
        Ok(())
    }

    fn items(
        &self,
        schema: &'s Value,
        items: &[Value],
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), String> {
        let count = |key: &str| {
            schema.get(key).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok())
        };
        if count("minItems").is_some_and(|least| items.len() < least)
            || count("maxItems").is_some_and(|most| items.len() > most)
        {
            return self.refuse(|| {
                let (path, count) = (path.text(), items.len());
                format!("argument `{path}` has {count} items, which is too few or too many")
            });
        }
        let each = schema.get("prefixItems").and_then(Value::as_array);
        for (number, item) in items.iter().enumerate() {
            let own = each.and_then(|each| each.get(number)).or_else(|| schema.get("items"));
            if let Some(schema) = own {
                self.value(schema, item, &Path::Item(path, number), depth)?;
            }
        }
        Ok(())
    }

    fn has_type(&self, types: &Value, value: &Value, path: &Path<'_>) -> Result<(), String> {
        let types = match types {
            Value::String(_) => std::slice::from_ref(types),
            Value::Array(several) => several.as_slice(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Ok(()),
        };
        let mut names = types.iter().filter_map(Value::as_str).peekable();
        if names.peek().is_none() || names.any(|name| is_a(name, value)) {
            return Ok(());
        }
        self.refuse(|| {
            let names = types.iter().filter_map(Value::as_str).take(LISTED).map(shown);
            let names = names.collect::<Vec<_>>().join(" or ");
            format!("argument `{}` must be {names}, not {}", path.text(), kind(value))
        })
    }
}

fn unknown(path: &Path<'_>, known: Option<&Map<String, Value>>) -> String {
    let names: Vec<String> =
        known.into_iter().flatten().take(NAMED).map(|(name, _)| shown(name)).collect();
    let names = super::error::list(names.iter().map(String::as_str));
    let takes = match known.map_or(0, Map::len) {
        0 => "none are taken".to_owned(),
        count if count > NAMED => format!("there are {names} and {} more", count - NAMED),
        _ => format!("there are {names}"),
    };
    format!("argument `{}` is not known; {takes}", path.text())
}

/// Values as a refusal lists them.
fn listed(values: &[Value]) -> String {
    let shown: Vec<String> = values.iter().take(LISTED).map(shown).collect();
    match values.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A name or value as far as a refusal repeats it. No more of it than that is written.
fn shown(what: impl fmt::Display) -> String {
    let mut shown = Shown(String::new());
    let is_whole = write!(shown, "{what}").is_ok();
    if is_whole { shown.0 } else { shown.0 + "..." }
}

struct Shown(String);

impl fmt::Write for Shown {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = SHOWN - self.0.len();
        let end = if text.len() > room { text.floor_char_boundary(room) } else { text.len() };
        self.0.push_str(&text[..end]);
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "integer" => {
            value.is_i64()
                || value.is_u64()
                || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "number" => value.is_number(),
        other => other == kind(value),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
