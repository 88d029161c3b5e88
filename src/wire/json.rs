//! Free JSON of clients: kept as text in the log, sent as it came.

use retold_events::JsonText;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{AdditionalProperties, ObjectBuilder, Schema, Type},
    },
};

/// A JSON object of the client, sent verbatim.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct JsonObject(Box<RawValue>);

impl JsonObject {
    /// Stored text as it is sent. Text that is not JSON, which nobody stores, is sent as the empty object.
    #[must_use]
    pub fn stored(text: &JsonText) -> Self {
        let raw = RawValue::from_string(text.as_str().to_owned());
        Self(raw.unwrap_or_else(|_| empty_object()))
    }

    /// A value made here.
    #[must_use]
    pub fn of(value: &impl Serialize) -> Self {
        Self(serde_json::value::to_raw_value(value).unwrap_or_else(|_| empty_object()))
    }
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("two braces are JSON")
}

impl PartialSchema for JsonObject {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .into()
    }
}

impl ToSchema for JsonObject {}

/// Any value as stored text.
#[must_use]
pub(crate) fn to_text(value: &impl Serialize) -> JsonText {
    serde_json::to_string(value).map_or_else(|_| JsonText::empty_object(), JsonText::new)
}

/// Stored text read back; `None` when it is not of that form.
#[must_use]
pub(crate) fn from_text<T: DeserializeOwned>(text: &JsonText) -> Option<T> {
    serde_json::from_str(text.as_str()).ok()
}

/// Stored text read back as an object; anything else gives an empty one.
#[must_use]
pub(crate) fn map_of(text: &JsonText) -> Map<String, Value> {
    from_text(text).unwrap_or_default()
}

/// Tells an explicit `null` (`Some(None)`) from an absent member (`None`). Used with `#[serde(default)]`.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
