//! Notes of the server to the model, in the packed form clients know, and times as models read them.

use jiff::tz::TimeZone;
use retold_events::Timestamp;
use serde::Serialize;

/// The zone of this IANA name; UTC where there is none.
pub(crate) fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// A stored time as jiff has it. Times beyond jiff's range, in the year 9999, are its nearest.
pub(crate) fn instant(at: Timestamp) -> jiff::Timestamp {
    let nearest = if at.as_micros() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or(nearest)
}

/// A time as a model reads it: `2025-03-14 09:30:00 AM CET+0100`.
pub(crate) fn local_time(at: Timestamp, timezone: &str) -> String {
    instant(at).to_zoned(zone(timezone)).strftime("%Y-%m-%d %I:%M:%S %p %Z%z").to_string()
}

/// A user message that lets an agent of an older type go on: JSON text of the type `heartbeat`.
pub(crate) fn heartbeat(reason: &str, at: Timestamp, timezone: &str) -> String {
    #[derive(Serialize)]
    struct Heartbeat<'a> {
        r#type: &'static str,
        reason: &'a str,
        time: String,
    }
    let time = local_time(at, timezone);
    serde_json::to_string(&Heartbeat { r#type: "heartbeat", reason, time }).expect("texts are JSON")
}

/// The user message that tells an agent of an older type of its first visitor: JSON text of the type `login`.
pub(crate) fn login(at: Timestamp, timezone: &str) -> String {
    #[derive(Serialize)]
    struct Login {
        r#type: &'static str,
        last_login: &'static str,
        time: String,
    }
    let time = local_time(at, timezone);
    serde_json::to_string(&Login { r#type: "login", last_login: "never before", time })
        .expect("texts are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1_741_941_000_000_000);

    #[test]
    fn times_are_in_the_zone_of_the_agent() {
        assert_eq!(local_time(AT, "Europe/Berlin"), "2025-03-14 09:30:00 AM CET+0100");
        assert_eq!(local_time(AT, "UTC"), "2025-03-14 08:30:00 AM UTC+0000");
    }

    #[test]
    fn an_unknown_zone_is_utc() {
        assert_eq!(local_time(AT, "Middle/Earth"), local_time(AT, "UTC"));
        assert_eq!(local_time(AT, ""), local_time(AT, "UTC"));
    }

    #[test]
    fn every_time_has_a_text() {
        for micros in [i64::MIN, -1, 0, i64::MAX] {
            assert!(!local_time(Timestamp::from_micros(micros), "Asia/Tokyo").is_empty());
        }
    }

    #[test]
    fn notes_are_packed() {
        assert_eq!(
            heartbeat("a \"reason\"", AT, "UTC"),
            r#"{"type":"heartbeat","reason":"a \"reason\"","time":"2025-03-14 08:30:00 AM UTC+0000"}"#
        );
        assert!(login(AT, "UTC").starts_with(r#"{"type":"login","#));
    }
}
