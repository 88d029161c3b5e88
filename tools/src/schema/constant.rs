//! Python constants as JSON: defaults, the values of `Literal`, the members of an enumeration.

use ruff_python_ast::{Expr, ExprStringLiteral, Number, UnaryOp};
use serde_json::{Map, Number as JsonNumber, Value};

use super::names::Names;

/// How far values may be nested and names stand for names.
const MAX_DEPTH: usize = 32;

/// The value of an expression, when it is a constant that JSON can say.
pub(super) fn value(expression: &Expr, names: &Names<'_>) -> Option<Value> {
    read(expression, names, MAX_DEPTH)
}

/// The same where it is neither a list nor an object.
pub(super) fn scalar(expression: &Expr, names: &Names<'_>) -> Option<Value> {
    value(expression, names).filter(|value| !value.is_array() && !value.is_object())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "over expressions: the others are no constants")]
fn read(expression: &Expr, names: &Names<'_>, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    names.spend(1)?;
    let all = |items: &[Expr]| -> Option<Value> {
        items.iter().map(|item| read(item, names, depth)).collect()
    };
    match expression {
        Expr::NoneLiteral(_) => Some(Value::Null),
        Expr::BooleanLiteral(literal) => Some(Value::Bool(literal.value)),
        Expr::StringLiteral(literal) => text(literal, names).map(Value::String),
        Expr::NumberLiteral(literal) => number(&literal.value, false),
        Expr::UnaryOp(unary) => match (unary.op, &*unary.operand) {
            (UnaryOp::USub, Expr::NumberLiteral(literal)) => number(&literal.value, true),
            (UnaryOp::UAdd, Expr::NumberLiteral(literal)) => number(&literal.value, false),
            _ => None,
        },
        Expr::List(list) => all(&list.elts),
        Expr::Tuple(tuple) => all(&tuple.elts),
        Expr::Dict(dict) => {
            let mut object = Map::new();
            for item in &dict.items {
                let key = item.key.as_ref()?.as_string_literal_expr()?;
                object.insert(text(key, names)?, read(&item.value, names, depth)?);
            }
            Some(Value::Object(object))
        }
        Expr::Name(name) => read(names.value(&name.id)?, names, depth),
        Expr::Attribute(attribute) => {
            // `Color.RED` and `Color.RED.value`.
            let member = match &*attribute.value {
                Expr::Attribute(inner) if attribute.attr.as_str() == "value" => inner,
                _ => attribute,
            };
            let class = names.class(&member.value.as_name_expr()?.id)?;
            names.spend(class.body.len() / 64)?;
            let value = super::class::member(class, &member.attr)?;
            read(value, names, depth)
        }
        _ => None,
    }
}

fn text(literal: &ExprStringLiteral, names: &Names<'_>) -> Option<String> {
    let text = literal.value.to_str();
    names.spend(text.len() / 64)?;
    Some(text.to_owned())
}

fn number(number: &Number, negative: bool) -> Option<Value> {
    match number {
        Number::Int(int) if negative => int.as_i64().and_then(i64::checked_neg).map(Value::from),
        Number::Int(int) => int.as_u64().map(Value::from),
        Number::Float(float) => {
            JsonNumber::from_f64(if negative { -float } else { *float }).map(Value::Number)
        }
        Number::Complex { .. } => None,
    }
}
