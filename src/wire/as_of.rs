//! The moment at which a reader wants to see things.

use retold_actors::AsOf;
use retold_events::Position;
use utoipa::IntoParams;

use super::{
    Time,
    query::{Pairs, QueryProblem},
};

/// The name of the parameter.
pub const AS_OF: &str = "as_of";

/// The moment at which a reader wants to see things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AsOfQuery {
    /// Answers as the server stood at a moment: after the event at this position of the log (a whole number from 1 on),
    /// or after the last event not later than this time (RFC 3339). The header `Retold-As-Of` names the position.
    #[param(value_type = Option<String>, required = false, example = "2026-08-01T12:00:00Z")]
    pub as_of: Option<AsOf>,
}

impl AsOfQuery {
    /// Whether a query names a moment, be it one or not.
    #[must_use]
    pub fn is_among(pairs: &[(String, String)]) -> bool {
        !Pairs(pairs).list(AS_OF).is_empty()
    }

    /// Reads `as_of` out of the query of any reading route. An empty one is not taken for none: its reader would be shown
    /// the present for the past.
    ///
    /// # Errors
    /// [`QueryProblem`] when it is neither a position nor a time.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let given = Pairs(pairs).list(AS_OF);
        let as_of = given.last().map(|text| moment(text).ok_or_else(problem)).transpose()?;
        Ok(Self { as_of })
    }
}

/// Digits are a position, also where they could be a year.
pub(super) fn moment(text: &str) -> Option<AsOf> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(|position| AsOf::Position(Position(position)));
    }
    // A plus sign that nobody encoded arrives as a space.
    let time = Time::parse(text).or_else(|| Time::parse(&text.replace(' ', "+")))?;
    Some(AsOf::Time(time.0))
}

/// What a moment looks like, for whoever sent something else.
pub(super) const EXPECTED: &str = "Input should be a position in the log (a whole number from 1 on) or a time \
    (RFC 3339, such as 2026-08-01T12:00:00Z)";

fn problem() -> QueryProblem {
    QueryProblem::new(AS_OF, EXPECTED)
}

#[cfg(test)]
mod tests {
    use retold_events::Timestamp;

    use super::*;

    fn read(values: &[&str]) -> Result<Option<AsOf>, QueryProblem> {
        let pairs: Vec<(String, String)> =
            values.iter().map(|value| (AS_OF.to_owned(), (*value).to_owned())).collect();
        AsOfQuery::from_pairs(&pairs).map(|query| query.as_of)
    }

    #[test]
    fn digits_are_a_position_and_anything_else_a_time() {
        let at = |micros| Ok(Some(AsOf::Time(Timestamp::from_micros(micros))));
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["17"]), Ok(Some(AsOf::Position(Position(17)))));
        assert_eq!(read(&["2026"]), Ok(Some(AsOf::Position(Position(2026)))));
        assert_eq!(read(&["1970-01-01T00:00:01Z"]), at(1_000_000));
        assert_eq!(read(&["1970-01-01T01:00:01+01:00"]), at(1_000_000));
        assert_eq!(read(&["1970-01-01T01:00:01 01:00"]), at(1_000_000), "a plus sign as a space");
        assert_eq!(read(&["1970-01-02"]), at(86_400_000_000));
        assert_eq!(read(&["1", "2"]), Ok(Some(AsOf::Position(Position(2)))), "the last one counts");
    }

    #[test]
    fn what_is_neither_is_refused_and_told_both_forms() {
        for bad in ["", " ", "yesterday", "-1", "1.5", "99999999999999999999", "+7", "0x10"] {
            let problem = read(&[bad]).expect_err(bad);
            assert_eq!(problem.loc, "as_of");
            assert!(problem.msg.contains("position") && problem.msg.contains("RFC 3339"), "{bad}");
        }
    }
}
