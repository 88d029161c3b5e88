//! What is said about a parameter or field beside its type: by `Annotated`, `Field` or `field`.

use ruff_python_ast::Expr;
use serde_json::{Value, json};

use super::{constant, hint::Reader, names::keyword};

/// What is said about a parameter or field beside its type.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) description: Option<String>,
    pub(super) alias: Option<String>,
    pub(super) default: Option<Constant>,
}

/// A default: `None` where it is no constant.
pub(super) type Constant = Option<Value>;

impl Reader<'_> {
    /// What `Field(...)`, `field(...)`, `Doc("...")` or a plain text says.
    pub(super) fn notes(&self, note: &Expr) -> Notes {
        let text = |expression: &Expr| match constant::value(expression, &self.names) {
            Some(Value::String(text)) => Some(text),
            Some(_) | None => None,
        };
        let Some(call) = note.as_call_expr() else {
            let description = note.is_string_literal_expr().then(|| text(note)).flatten();
            return Notes { description, ..Notes::default() };
        };
        let first = call.arguments.args.first();
        match self.names.original(&call.func) {
            Some("Doc") => Notes { description: first.and_then(text), ..Notes::default() },
            Some("Field" | "field") => {
                let default = first.or(keyword(call, "default"));
                let made = keyword(call, "default_factory").map(|factory| self.made(factory));
                Notes {
                    description: keyword(call, "description").and_then(text),
                    alias: keyword(call, "validation_alias")
                        .or(keyword(call, "alias"))
                        .and_then(text),
                    default: default
                        .filter(|default| !default.is_ellipsis_literal_expr())
                        .map(|default| constant::value(default, &self.names))
                        .or(made),
                }
            }
            Some(_) | None => Notes::default(),
        }
    }

    /// What a factory makes, where that is known without calling it.
    fn made(&self, factory: &Expr) -> Constant {
        match self.names.original(factory) {
            Some("list") => Some(json!([])),
            Some("dict") => Some(json!({})),
            Some(_) => None,
            None => constant::value(&factory.as_lambda_expr()?.body, &self.names),
        }
    }
}
