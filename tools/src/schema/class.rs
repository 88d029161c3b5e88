//! Classes of the source as JSON schemas: pydantic models, dataclasses, typed dictionaries and enumerations.

use ruff_python_ast::{Expr, Stmt, StmtAnnAssign, StmtClassDef};
use ruff_text_size::Ranged;
use serde_json::{Map, Value, json};

use super::{
    SchemaError, constant,
    docstring::{self, Docstring},
    hint::{Place, Reader, Subject},
    notes::Notes,
    shape::{Hint, enumeration, object, of},
};

/// Classes a class may inherit from, one after the other.
const MAX_BASES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Dataclass,
    TypedDict,
    Enum,
}

/// One field of a class.
struct Field {
    /// As the constructor takes it.
    name: String,
    schema: Map<String, Value>,
    needed: bool,
}

impl<'m> Reader<'m> {
    /// The schema of a class that a hint names.
    pub(super) fn class(
        &self,
        class: &'m StmtClassDef,
        hint: &Expr,
        at: Place<'_>,
    ) -> Result<Hint, SchemaError> {
        let name = class.name.as_str();
        let lineage = self.lineage(class);
        for class in &lineage {
            self.count(at, class.range().len().to_usize() / 256)?;
        }
        let Some(kind) = lineage.iter().rev().find_map(|class| self.kind(class)) else {
            return Err(at.refuse(
                hint.range(),
                "a class that is neither a pydantic model, a dataclass, a TypedDict nor an Enum; make it one",
            ));
        };
        if kind == Kind::Enum {
            return self.values(class).ok_or_else(|| {
                at.refuse(
                    hint.range(),
                    "an Enum whose values are not written out; give each member a text or number",
                )
            });
        }
        if self.open.borrow().contains(&name) {
            return Err(at.refuse(
                hint.range(),
                "a class that contains itself; a schema must end, so write out the levels that are needed",
            ));
        }
        self.open.borrow_mut().push(name);
        let schema = self.fields(&lineage, kind, at.depth + 1);
        self.open.borrow_mut().pop();
        schema.map(of)
    }

    /// What a class is by itself, by its bases or its decorator; `None` when it is nothing a model could send.
    fn kind(&self, class: &StmtClassDef) -> Option<Kind> {
        for decorator in &class.decorator_list {
            let function = decorator
                .expression
                .as_call_expr()
                .map_or(&decorator.expression, |call| &*call.func);
            if self.names.original(function) == Some("dataclass") {
                return Some(Kind::Dataclass);
            }
        }
        class.bases().iter().find_map(|base| match self.names.original(base)? {
            "BaseModel" => Some(Kind::Model),
            "TypedDict" => Some(Kind::TypedDict),
            "Enum" | "IntEnum" | "StrEnum" => Some(Kind::Enum),
            _ => None,
        })
    }

    /// The class of the source that an expression names.
    fn base(&self, base: &Expr) -> Option<&'m StmtClassDef> {
        base.as_name_expr().and_then(|name| self.names.class(&name.id))
    }

    fn values(&self, class: &StmtClassDef) -> Option<Hint> {
        let members = class.body.iter().filter_map(assigned).map(|(_, value)| value);
        let values: Option<Vec<Value>> =
            members.map(|value| constant::scalar(value, &self.names)).collect();
        enumeration(values?)
    }

    /// The schema of the fields of a class and of those it inherits from, itself the last of them.
    fn fields(
        &self,
        lineage: &[&StmtClassDef],
        kind: Kind,
        depth: usize,
    ) -> Result<Map<String, Value>, SchemaError> {
        let docs = lineage.last().and_then(|class| docstring::of(&class.body));
        let docs = docs.map(docstring::read).unwrap_or_default();
        let mut properties = Map::new();
        let mut required: Vec<String> = Vec::new();
        for class in lineage {
            for field in class.body.iter().filter_map(field) {
                let Some(Field { name, schema, needed }) =
                    self.field(class, field, kind, &docs, depth)?
                else {
                    continue;
                };
                required.retain(|known| *known != name);
                if needed {
                    required.push(name.clone());
                }
                properties.insert(name, Value::Object(schema));
            }
        }
        let mut schema =
            object(json!({ "type": "object", "properties": properties, "required": required }));
        if !docs.description.is_empty() {
            schema.insert("description".to_owned(), Value::String(docs.description));
        }
        Ok(schema)
    }

    /// A class after those of the source it inherits from.
    fn lineage(&self, class: &'m StmtClassDef) -> Vec<&'m StmtClassDef> {
        let mut lineage = vec![class];
        let mut next = 0;
        while let Some(class) = lineage.get(next).copied() {
            for base in class.bases().iter().filter_map(|base| self.base(base)) {
                if lineage.len() < MAX_BASES && !lineage.iter().any(|known| known.name == base.name)
                {
                    lineage.push(base);
                }
            }
            next += 1;
        }
        lineage.reverse();
        lineage
    }

    /// One field; `None` for what is none.
    fn field(
        &self,
        class: &StmtClassDef,
        (name, field): (&str, &StmtAnnAssign),
        kind: Kind,
        docs: &Docstring,
        depth: usize,
    ) -> Result<Option<Field>, SchemaError> {
        if name.starts_with('_')
            || name == "model_config"
            || self.is_class_variable(&field.annotation)
        {
            return Ok(None);
        }
        let what = format!("field `{name}` of class `{}`", class.name);
        let subject = Subject { line: self.module.line(field.start()), what };
        let hint = self.read(&field.annotation, &subject, depth)?;
        let said = field.value.as_deref().map(|value| self.said(value)).unwrap_or_default();
        let default = said.default.or(hint.notes.default);
        let needed = match kind {
            Kind::TypedDict => {
                let marker = field
                    .annotation
                    .as_subscript_expr()
                    .and_then(|hint| self.names.original(&hint.value));
                marker == Some("Required")
                    || (!is_false(class, "total")
                        && marker != Some("NotRequired")
                        && !hint.optional)
            }
            Kind::Model | Kind::Dataclass | Kind::Enum => default.is_none() && !hint.optional,
        };
        let description = said.description.or(hint.notes.description);
        let description = description.or_else(|| docs.parameters.get(name).cloned());
        let name = said.alias.or(hint.notes.alias).unwrap_or_else(|| name.to_owned());
        let schema = finish(hint.schema, default.flatten(), description);
        Ok(Some(Field { name, schema, needed }))
    }

    /// What the right side of a field or parameter says: `Field(...)`, or its default.
    pub(super) fn said(&self, value: &Expr) -> Notes {
        match value.as_call_expr() {
            Some(call) if matches!(self.names.original(&call.func), Some("Field" | "field")) => {
                self.notes(value)
            }
            Some(_) | None => Notes {
                default: Some(constant::value(value, &self.names))
                    .filter(|_| !value.is_ellipsis_literal_expr()),
                ..Notes::default()
            },
        }
    }

    fn is_class_variable(&self, annotation: &Expr) -> bool {
        let name = annotation.as_subscript_expr().map_or(annotation, |hint| &hint.value);
        matches!(self.names.original(name), Some("ClassVar" | "InitVar"))
    }
}

/// A property with its default, where it has one that is not `null`, and its description last.
pub(super) fn finish(
    mut schema: Map<String, Value>,
    default: Option<Value>,
    description: Option<String>,
) -> Map<String, Value> {
    if let Some(default) = default.filter(|default| !default.is_null()) {
        schema.insert("default".to_owned(), default);
    }
    let own = schema.shift_remove("description");
    if let Some(description) = description.map(Value::String).or(own) {
        schema.insert("description".to_owned(), description);
    }
    schema
}

/// The value of a member of an enumeration.
pub(super) fn member<'m>(class: &'m StmtClassDef, name: &str) -> Option<&'m Expr> {
    class.body.iter().filter_map(assigned).find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn assigned(statement: &Stmt) -> Option<(&str, &Expr)> {
    let assign = statement.as_assign_stmt()?;
    let name = assign.targets.first()?.as_name_expr()?.id.as_str();
    (!name.starts_with('_')).then_some((name, &*assign.value))
}

fn field(statement: &Stmt) -> Option<(&str, &StmtAnnAssign)> {
    let field = statement.as_ann_assign_stmt()?;
    Some((field.target.as_name_expr()?.id.as_str(), field))
}

fn is_false(class: &StmtClassDef, keyword: &str) -> bool {
    let named = |argument: &&ruff_python_ast::Keyword| {
        argument.arg.as_ref().is_some_and(|arg| arg.as_str() == keyword)
    };
    class
        .keywords()
        .iter()
        .find(named)
        .and_then(|argument| argument.value.as_boolean_literal_expr())
        .is_some_and(|literal| !literal.value)
}
