//! Attributes, as the protocol has them.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value};

/// A text.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    pair(key, Value::StringValue(value.into()))
}

/// A number.
pub(super) fn number(key: &str, value: u64) -> KeyValue {
    pair(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

/// A list of texts.
pub(super) fn texts(key: &str, values: &[&str]) -> KeyValue {
    let of = |text: &&str| AnyValue { value: Some(Value::StringValue((*text).to_owned())) };
    pair(key, Value::ArrayValue(ArrayValue { values: values.iter().map(of).collect() }))
}

fn pair(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
