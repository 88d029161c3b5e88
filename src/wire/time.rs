//! Points in time as clients see them: RFC 3339 in UTC with microseconds and `Z`.

use std::fmt;

use retold_events::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, RefOr, SchemaFormat,
        schema::{ObjectBuilder, Schema, Type},
    },
};

/// A stored time on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl Time {
    /// Reads RFC 3339 with an offset, or a date with or without a time of day, which is taken as UTC.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let at = text.parse::<jiff::Timestamp>().ok().or_else(|| {
            let naive = text.parse::<jiff::civil::DateTime>().ok()?;
            naive.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        })?;
        // The last second that can be read is one that cannot be shown: its fractions are past the end.
        let micros = jiff::Timestamp::from_microsecond(at.as_microsecond()).ok()?.as_microsecond();
        Some(Self(Timestamp::from_micros(micros)))
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A stored time outside of years -9999..=9999 can only be damage; the nearest end is shown.
        let micros = self.0.as_micros();
        let edge = if micros < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let at = jiff::Timestamp::from_microsecond(micros).unwrap_or(edge);
        write!(f, "{at:.6}")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("Input should be a valid datetime"))
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for Time {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_six_digits_and_z() {
        assert_eq!(
            Time(Timestamp::from_micros(1_750_000_000_000_000)).to_string(),
            "2025-06-15T15:06:40.000000Z"
        );
        assert!(Time(Timestamp::from_micros(i64::MIN)).to_string().starts_with('-'));
    }

    #[test]
    fn times_are_read_with_an_offset_and_without_one_as_utc() {
        let expected = Time::parse("2025-06-15T10:30:00Z");
        assert!(expected.is_some());
        for text in ["2025-06-15T12:30:00+02:00", "2025-06-15T10:30:00", "2025-06-15 10:30:00.000"]
        {
            assert_eq!(Time::parse(text), expected, "{text}");
        }
        assert_eq!(Time::parse("2025-06-15"), Time::parse("2025-06-15T00:00:00Z"));
        assert_eq!(Time::parse("yesterday"), None);
    }

    #[test]
    fn a_time_that_can_be_read_is_shown_as_the_same_time_up_to_the_last_one() {
        let last = Time::parse("9999-12-30T22:00:00Z").unwrap();
        assert_eq!(Time::parse(&last.to_string()), Some(last));
        assert_eq!(Time::parse("9999-12-30T22:00:00.999Z"), None, "it would be shown as another");
    }
}
