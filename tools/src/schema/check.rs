//! Whether arguments fit a schema: those that a tool rule fills in beforehand, and those of a call.
//!
//! Small on purpose. It looks at what schemas of tools have: types, members, items, values; patterns and bounds are the
//! function's own affair.

use std::cell::Cell;

use serde_json::{Map, Value};

/// How deep arguments are looked into. Deeper ones are left to the function.
const MAX_DEPTH: usize = 64;
/// Comparisons that a check may take. Choices of choices could take for ever; what is left then is the function's affair.
const MAX_STEPS: usize = 200_000;

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
    Check { root, left: Cell::new(MAX_STEPS) }.members(root, given, &Path::Whole, MAX_DEPTH)
}

/// Where a value is among the arguments.
enum Path<'p> {
    Whole,
    Member(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn text(&self) -> String {
        match self {
            Path::Whole => String::new(),
            Path::Member(Path::Whole, name) => (*name).to_owned(),
            Path::Member(outer, name) => format!("{}.{name}", outer.text()),
            Path::Item(outer, number) => format!("{}[{number}]", outer.text()),
        }
    }
}

struct Check<'s> {
    root: &'s Value,
    left: Cell<usize>,
}

impl<'s> Check<'s> {
    fn value(
        &self,
        schema: &'s Value,
        value: &Value,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), String> {
        let members =
            |key: &str| schema.get(key).map_or(0, |value| value.as_array().map_or(0, Vec::len));
        let Some(depth) =
            depth.checked_sub(1).filter(|_| self.spend(1 + members("enum") + members("required")))
        else {
            return Ok(());
        };
        let schema = self.resolve(schema);
        if let Some(types) = schema.get("type") {
            has_type(types, value, path)?;
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array)
            && !values.contains(value)
        {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            return Err(format!("argument `{}` must be one of {}", path.text(), values.join(", ")));
        }
        if let Some(expected) = schema.get("const").filter(|expected| *expected != value) {
            return Err(format!("argument `{}` must be {expected}", path.text()));
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

    /// What a reference within the schema names. A reference that leads nowhere allows everything.
    fn resolve(&self, mut schema: &'s Value) -> &'s Value {
        for _ in 0..MAX_DEPTH {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else {
                return schema;
            };
            match reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => schema = target,
                None => return &Value::Null,
            }
        }
        &Value::Null
    }

    /// The first choice that fits, or what is wrong with the last: that is the type itself where another is `null`.
    fn choice(
        &self,
        choices: &'s [Value],
        value: &Value,
        path: &Path<'_>,
        depth: usize,
    ) -> Result<(), String> {
        let mut refused = None;
        for choice in choices {
            match self.value(choice, value, path, depth) {
                Ok(()) => return Ok(()),
                Err(problem) => {
                    refused.get_or_insert(problem);
                }
            }
        }
        refused.map_or(Ok(()), Err)
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
                return Err(format!("argument `{}` is missing", Path::Member(path, name).text()));
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
                (None, _) => return Err(unknown(&path, known)),
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
            return Err(format!(
                "argument `{}` has {} items, which is too few or too many",
                path.text(),
                items.len()
            ));
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
}

fn unknown(path: &Path<'_>, known: Option<&Map<String, Value>>) -> String {
    let known = super::error::list(known.into_iter().flatten().map(|(name, _)| name.as_str()));
    let takes =
        if known.is_empty() { "none are taken".to_owned() } else { format!("there are {known}") };
    format!("argument `{}` is not known; {takes}", path.text())
}

fn has_type(types: &Value, value: &Value, path: &Path<'_>) -> Result<(), String> {
    let types: Vec<&str> = match types {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Ok(()),
    };
    if types.is_empty() || types.iter().any(|name| is_a(name, value)) {
        return Ok(());
    }
    Err(format!("argument `{}` must be {}, not {}", path.text(), types.join(" or "), kind(value)))
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
