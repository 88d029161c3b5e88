//! Forking an agent: what a client may say about it.

use retold_actors::AsOf;
use retold_events::Position;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, OneOfBuilder, Schema, Type},
    },
};

use super::{Problem, as_of, create_agent::check_name};

/// A fork to be made.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkAgentRequest {
    /// The moment to go on from: after the event at this position of the log, or after the last event not later than
    /// this time. Now, when absent.
    pub as_of: Option<Moment>,
    /// Its name; when absent, the name its parent had at that moment, and ` - fork`.
    pub name: Option<String>,
}

impl ForkAgentRequest {
    /// The moment and the name.
    ///
    /// # Errors
    /// [`Problem::Invalid`] when the name holds what names may not hold.
    pub fn into_parts(self) -> Result<(Option<AsOf>, Option<String>), Problem> {
        let name = self.name.filter(|name| !name.is_empty()).map(check_name).transpose()?;
        Ok((self.as_of.map(|moment| moment.0), name))
    }
}

/// A moment in a body: a position as a number or in digits, or a time as RFC 3339 writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub AsOf);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Value::deserialize(deserializer)?;
        let moment = match (given.as_u64(), given.as_str()) {
            (Some(position), _) => Some(AsOf::Position(Position(position))),
            (None, Some(text)) => as_of::moment(text),
            (None, None) => None,
        };
        moment.map(Self).ok_or_else(|| de::Error::custom(as_of::EXPECTED))
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let of = |schema_type| ObjectBuilder::new().schema_type(schema_type);
        OneOfBuilder::new().item(of(Type::Integer)).item(of(Type::String)).into()
    }
}

impl ToSchema for Moment {}

#[cfg(test)]
mod tests {
    use retold_events::Timestamp;
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<ForkAgentRequest, String> {
        serde_json::from_value(body).map_err(|error| error.to_string())
    }

    #[test]
    fn a_moment_is_a_position_or_a_time() {
        let moment = |body| read(body).unwrap().into_parts().unwrap().0;
        let position = Some(AsOf::Position(Position(17)));
        assert_eq!(moment(json!({})), None);
        assert_eq!(moment(json!({ "as_of": null })), None);
        assert_eq!(moment(json!({ "as_of": 17 })), position);
        assert_eq!(moment(json!({ "as_of": "17" })), position);
        let time = Some(AsOf::Time(Timestamp::from_micros(1_000_000)));
        assert_eq!(moment(json!({ "as_of": "1970-01-01T00:00:01Z" })), time);
        for bad in [json!(-1), json!(1.5), json!("soon"), json!(true), json!([1])] {
            let refused = read(json!({ "as_of": bad })).unwrap_err();
            assert!(refused.contains("position") && refused.contains("RFC 3339"), "{refused}");
        }
    }

    #[test]
    fn a_name_is_held_to_the_rules_of_names_and_an_empty_one_is_none() {
        let name = |name: &str| read(json!({ "name": name })).unwrap().into_parts();
        assert_eq!(name("Ada - fork"), Ok((None, Some("Ada - fork".to_owned()))));
        assert_eq!(name(""), Ok((None, None)));
        assert!(matches!(name("a/b"), Err(Problem::Invalid(_))));
    }
}
