//! Type hints as JSON schemas.
//!
//! What a provider cannot be told (a union of several types, keys of any name, a tuple of any length) is refused rather
//! than widened: a model that is shown less than the function wants calls it wrongly, and nobody learns why.

use std::cell::{Cell, RefCell};

use ruff_python_ast::{Expr, ExprSubscript, Operator};
use ruff_text_size::{Ranged, TextRange};
use serde_json::{Value, json};

use super::{
    MAX_SCHEMA, SchemaError, constant,
    names::Names,
    notes::Notes,
    parse::{self, Module},
    shape::{Hint, TUPLE, array, enumeration, no_schema, object, of, plain, size},
};

/// How deep types may be nested in one another. Providers stop far earlier.
const MAX_NESTING: usize = 32;
/// Characters of a hint that an error shows.
const SHOWN: usize = 80;

/// Whose hint is read, for errors.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) line: usize,
    /// "parameter `x` of `f`", "field `y` of class `C`".
    pub(super) what: String,
}

/// Where a hint stands: whose it is, the text its ranges refer to, and how deep it is inside others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) subject: &'p Subject,
    text: &'p str,
    pub(super) depth: usize,
}

impl<'p> Place<'p> {
    pub(super) fn refuse(&self, range: TextRange, problem: impl Into<String>) -> SchemaError {
        let text = self.text.get(range.start().to_usize()..range.end().to_usize());
        let words: Vec<&str> = text.unwrap_or_default().split_whitespace().collect();
        let mut hint = words.join(" ");
        if hint.chars().count() > SHOWN {
            hint = hint.chars().take(SHOWN).chain("...".chars()).collect();
        }
        let Subject { line, what } = self.subject;
        SchemaError::Unsupported {
            line: *line,
            subject: what.clone(),
            hint,
            problem: problem.into(),
        }
    }

    fn inner(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

/// Reads the hints of one module.
#[derive(Debug)]
pub(super) struct Reader<'m> {
    pub(super) module: &'m Module<'m>,
    pub(super) names: Names<'m>,
    /// Classes whose fields are being read, outermost first.
    pub(super) open: RefCell<Vec<&'m str>>,
    types: Cell<usize>,
}

impl<'m> Reader<'m> {
    pub(super) fn new(module: &'m Module<'m>) -> Self {
        let names = Names::of(&module.body);
        Self { module, names, open: RefCell::default(), types: Cell::new(0) }
    }

    /// The schema of a hint that stands in the module. `depth` counts the types around it.
    pub(super) fn read(
        &self,
        hint: &Expr,
        subject: &Subject,
        depth: usize,
    ) -> Result<Hint, SchemaError> {
        self.hint(hint, Place { subject, text: self.module.source, depth })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "over expressions: the others are no types")]
    fn hint(&self, hint: &Expr, at: Place<'_>) -> Result<Hint, SchemaError> {
        self.count(at, 1)?;
        if at.depth > MAX_NESTING {
            return Err(at.refuse(
                hint.range(),
                format!("which nests types more than {MAX_NESTING} deep; make it flatter"),
            ));
        }
        match hint {
            Expr::NoneLiteral(_) => Ok(Hint { optional: true, ..plain("null") }),
            Expr::Name(_) | Expr::Attribute(_) => self.named(hint, at),
            Expr::Subscript(subscript) => self.generic(subscript, at),
            Expr::BinOp(union) if union.op == Operator::BitOr => {
                self.union(&members(hint), hint.range(), at)
            }
            Expr::StringLiteral(literal) => {
                let text = literal.value.to_str().trim();
                self.count(at, text.len() / 256)?;
                let inner = parse::expression(text).ok_or_else(|| {
                    at.refuse(hint.range(), "which is no type; correct the text between the quotes")
                })?;
                self.hint(&inner, Place { text, ..at.inner() })
            }
            _ => Err(at.refuse(hint.range(), "which is no type; give one")),
        }
    }

    /// Counts types, and what costs as much as one.
    pub(super) fn count(&self, at: Place<'_>, more: usize) -> Result<(), SchemaError> {
        self.types.set(self.types.get().saturating_add(more));
        if self.types.get() > MAX_SCHEMA {
            let Subject { line, what } = at.subject;
            return Err(SchemaError::TooLarge { line: *line, subject: what.clone() });
        }
        Ok(())
    }

    fn named(&self, hint: &Expr, at: Place<'_>) -> Result<Hint, SchemaError> {
        if let Some(name) = hint.as_name_expr() {
            if let Some(class) = self.names.class(&name.id) {
                return self.class(class, hint, at);
            }
            if let Some(value) = self.names.value(&name.id) {
                return self.alias(value, at);
            }
        }
        let name = self.names.original(hint).unwrap_or_default();
        match name {
            "str" => Ok(plain("string")),
            "int" => Ok(plain("integer")),
            "float" => Ok(plain("number")),
            "bool" => Ok(plain("boolean")),
            "dict" | "Dict" => Ok(plain("object")),
            "list" | "List" => Ok(array(plain("string").schema)),
            _ => Err(at.refuse(hint.range(), no_schema(name))),
        }
    }

    /// What a name of the module was set to: a type, or `NewType("Name", type)`.
    fn alias(&self, value: &Expr, at: Place<'_>) -> Result<Hint, SchemaError> {
        let at = Place { text: self.module.source, ..at.inner() };
        if let Some(call) = value.as_call_expr()
            && self.names.original(&call.func) == Some("NewType")
            && let Some(base) = call.arguments.args.get(1)
        {
            return self.hint(base, at);
        }
        self.hint(value, at)
    }

    fn generic(&self, hint: &ExprSubscript, at: Place<'_>) -> Result<Hint, SchemaError> {
        let arguments: Vec<&Expr> = match hint.slice.as_tuple_expr() {
            Some(tuple) if !tuple.parenthesized => tuple.elts.iter().collect(),
            Some(_) | None => vec![&hint.slice],
        };
        self.count(at, arguments.len())?;
        let first = || arguments.first().copied().filter(|_| arguments.len() == 1);
        let refuse = |problem: &str| Err(at.refuse(hint.range(), problem));
        let name = self.names.original(&hint.value).unwrap_or_default();
        match name {
            "Optional" | "Required" | "NotRequired" | "ReadOnly" | "Final" => match first() {
                Some(inner) => {
                    let hint = self.hint(inner, at.inner())?;
                    let optional = hint.optional || matches!(name, "Optional" | "NotRequired");
                    Ok(Hint { optional, ..hint })
                }
                None => refuse("which takes exactly one type; write one between its brackets"),
            },
            "Union" => self.union(&arguments, hint.range(), at),
            "list" | "List" => match first() {
                Some(item) => Ok(array(self.hint(item, at.inner())?.schema)),
                None => refuse("which takes exactly one type; write one between its brackets"),
            },
            "tuple" | "Tuple" => self.tuple(hint, &arguments, at),
            "dict" | "Dict" => refuse(
                "whose keys a model cannot be told; write plain `dict`, or a pydantic model that names the keys",
            ),
            "Literal" => self.literal(hint, &arguments, at),
            "Annotated" => self.annotated(hint, &arguments, at),
            _ => Err(at.refuse(hint.range(), no_schema(name))),
        }
    }

    fn union(
        &self,
        members: &[&Expr],
        range: TextRange,
        at: Place<'_>,
    ) -> Result<Hint, SchemaError> {
        let (none, types): (Vec<&Expr>, Vec<&Expr>) =
            members.iter().copied().partition(|member| member.is_none_literal_expr());
        match types.as_slice() {
            [] => Ok(Hint { optional: true, ..plain("null") }),
            [one] => {
                let hint = self.hint(one, at.inner())?;
                Ok(Hint { optional: hint.optional || !none.is_empty(), ..hint })
            }
            _ => Err(at.refuse(
                range,
                "a union of several types; choose one of them, or `Optional[...]` of one",
            )),
        }
    }

    fn tuple(
        &self,
        hint: &ExprSubscript,
        items: &[&Expr],
        at: Place<'_>,
    ) -> Result<Hint, SchemaError> {
        if items.iter().any(|item| item.is_ellipsis_literal_expr() || item.is_tuple_expr()) {
            return Err(at.refuse(hint.range(), TUPLE));
        }
        let mut schemas = Vec::new();
        for item in items {
            schemas.push(Value::Object(self.hint(item, at.inner())?.schema));
        }
        // Each is there twice, and so would be twice as large with every tuple around it.
        self.count(at, schemas.iter().map(size).sum())?;
        let mut kinds: Vec<&Value> = Vec::new();
        for schema in &schemas {
            if !kinds.contains(&schema) {
                kinds.push(schema);
            }
        }
        // Providers want `items` of every array, and not all of them know `prefixItems`.
        let any = match kinds.as_slice() {
            [one] => (*one).clone(),
            several => json!({ "anyOf": several }),
        };
        let count = schemas.len();
        let schema = json!({
            "type": "array", "items": any, "prefixItems": schemas, "minItems": count, "maxItems": count,
        });
        Ok(of(object(schema)))
    }

    fn literal(
        &self,
        hint: &ExprSubscript,
        arguments: &[&Expr],
        at: Place<'_>,
    ) -> Result<Hint, SchemaError> {
        let scalar = |argument: &&Expr| constant::scalar(argument, &self.names);
        match arguments.iter().map(scalar).collect::<Option<Vec<Value>>>() {
            Some(values) => Ok(enumeration(values).unwrap_or_else(|| plain("null"))),
            None => Err(at.refuse(
                hint.range(),
                "whose values must be texts, numbers or booleans; write them out",
            )),
        }
    }

    fn annotated(
        &self,
        hint: &ExprSubscript,
        arguments: &[&Expr],
        at: Place<'_>,
    ) -> Result<Hint, SchemaError> {
        let Some((inner, notes)) = arguments.split_first() else {
            return Err(at.refuse(hint.range(), no_schema("Annotated")));
        };
        let mut hint = self.hint(inner, at.inner())?;
        for note in notes {
            let said = self.notes(note);
            let kept = hint.notes;
            hint.notes = Notes {
                description: said.description.or(kept.description),
                alias: said.alias.or(kept.alias),
                default: said.default.or(kept.default),
            };
        }
        Ok(hint)
    }
}

/// The members of `a | b | c`.
fn members(hint: &Expr) -> Vec<&Expr> {
    let mut members = Vec::new();
    let mut rest = hint;
    while let Expr::BinOp(union) = rest
        && union.op == Operator::BitOr
    {
        members.push(&*union.right);
        rest = &union.left;
    }
    members.push(rest);
    members.reverse();
    members
}
