//! What a search understands, finds and tells.

use retold_events::{MessageId, Part};
use serde_json::json;
use uuid::Uuid;

use super::*;

/// 2025-03-14T08:30:00Z.
const AT: Timestamp = Timestamp::from_micros(1_741_941_000_000_000);

fn message(role: Role, text: &str) -> Message {
    Message {
        id: MessageId::from_uuid(Uuid::nil()),
        role,
        content: vec![Part::Text { text: text.to_owned() }],
        name: None,
        otid: None,
        sender: None,
        model: None,
        tool_calls: Vec::new(),
        tool_returns: Vec::new(),
        step: None,
        run: None,
        conversation: None,
        created_at: AT,
        tokens: 0,
        is_err: false,
        interrupted: false,
    }
}

fn calls(name: &str, arguments: &Value) -> Message {
    let call =
        ToolCall { id: "1".to_owned(), name: name.to_owned(), arguments: arguments.to_string() };
    Message { tool_calls: vec![call], ..message(Role::Assistant, "") }
}

fn parsed(arguments: Value) -> Result<SearchQuery, String> {
    parse(&arguments.to_string(), "Europe/Berlin")
}

fn stamp(text: &str) -> Option<Timestamp> {
    let stamp: jiff::Timestamp = text.parse().unwrap();
    Some(Timestamp::from_micros(stamp.as_microsecond()))
}

#[test]
fn without_arguments_the_latest_five_are_wanted() {
    let all = SearchQuery { query: None, roles: vec![], limit: 5, start: None, end: None };
    assert_eq!(parsed(json!({})), Ok(all.clone()));
    assert_eq!(parse("not json", "UTC"), Ok(all.clone()));
    let nulls =
        json!({"query": null, "roles": null, "limit": null, "start_date": null, "end_date": ""});
    assert_eq!(parsed(nulls), Ok(all));
}

#[test]
fn roles_and_limits_are_read_as_models_write_them() {
    let query =
        parsed(json!({"query": " tea ", "roles": ["user", "assistant"], "limit": 7})).unwrap();
    assert_eq!(query.query.as_deref(), Some("tea"));
    assert_eq!(query.roles, [Role::User, Role::Assistant]);
    assert_eq!(query.limit, 7);
    assert_eq!(parsed(json!({"roles": "user"})).unwrap().roles, [Role::User]);
    for (limit, read) in [(json!("3"), 3), (json!(0), 1), (json!(-4), 1), (json!(1e9), 100)] {
        assert_eq!(parsed(json!({"limit": limit})).unwrap().limit, read);
    }
    assert!(parsed(json!({"limit": 1.5})).unwrap_err().contains("'limit'"));
    assert!(parsed(json!({"roles": ["robot"]})).unwrap_err().contains("'roles'"));
    assert!(parsed(json!({"query": 3})).unwrap_err().contains("'query'"));
}

#[test]
fn dates_without_a_zone_are_in_the_zone_of_the_agent() {
    let query =
        parsed(json!({"start_date": "2025-03-14T09:30", "end_date": "2025-03-14 10:00:30"}))
            .unwrap();
    assert_eq!(query.start, stamp("2025-03-14T08:30:00Z"));
    assert_eq!(query.end, stamp("2025-03-14T09:00:30Z"));
    let query = parsed(
        json!({"start_date": "2025-03-14T09:30:00Z", "end_date": "2025-03-14T09:30:00-05:00"}),
    )
    .unwrap();
    assert_eq!(query.start, stamp("2025-03-14T09:30:00Z"));
    assert_eq!(query.end, stamp("2025-03-14T14:30:00Z"));
}

#[test]
fn a_date_alone_means_the_whole_day() {
    let query = parsed(json!({"start_date": "2025-03-14", "end_date": "2025-03-14"})).unwrap();
    assert_eq!(query.start, stamp("2025-03-13T23:00:00Z"));
    assert_eq!(query.end, stamp("2025-03-14T22:59:59.999999Z"));
    // The day the clocks go forward has 23 hours.
    let query = parsed(json!({"start_date": "2025-03-30", "end_date": "2025-03-30"})).unwrap();
    assert_eq!(query.start, stamp("2025-03-29T23:00:00Z"));
    assert_eq!(query.end, stamp("2025-03-30T21:59:59.999999Z"));
}

#[test]
fn a_bad_date_is_an_error_that_quotes_it() {
    for bad in ["yesterday", "2025-13-01", "2025-02-30T10:00", "14.03.2025", "T"] {
        for name in ["start_date", "end_date"] {
            let error = parsed(json!({ name: bad })).unwrap_err();
            assert!(error.contains(name) && error.contains(bad), "{error}");
        }
    }
}

#[test]
fn messages_that_say_nothing_are_no_results() {
    for nothing in [
        message(Role::User, " "),
        message(Role::User, r#"{"type": "heartbeat", "reason": "tea"}"#),
        calls("memory_insert", &json!({"new_string": "tea"})),
    ] {
        assert_eq!(said(&nothing), None);
        assert!(render(&[nothing], AT, "UTC").contains("No results found."));
    }
    assert!(said(&message(Role::User, r#"{"type": "tea"}"#)).is_some());
}

#[test]
fn what_was_said_by_send_message_is_a_result() {
    let call = calls("send_message", &json!({"message": "Your tea is ready."}));
    assert_eq!(said(&call).as_deref(), Some("Your tea is ready."));
}

#[test]
fn results_are_told_with_local_times() {
    let results = [message(Role::User, "tea"), message(Role::Assistant, "\"coffee\"")];
    let now = Timestamp::from_micros(AT.as_micros() + 5 * 60_000_000);
    let rendered: Value = serde_json::from_str(&render(&results, now, "Europe/Berlin")).unwrap();
    let hit = |role, content| {
        json!({
            "timestamp": "2025-03-14T09:30:00+01:00",
            "time_ago": "5m ago",
            "role": role,
            "content": content,
        })
    };
    let results = [hit("user", "tea"), hit("assistant", "\"coffee\"")];
    assert_eq!(rendered, json!({"message": "Showing 2 results:", "results": results}));
}

#[test]
fn finding_nothing_is_said() {
    assert_eq!(render(&[], AT, "UTC"), r#"{"message":"No results found.","results":[]}"#);
}

#[test]
fn how_long_ago_is_told_in_the_largest_unit_that_fits() {
    let ago =
        |seconds: i64| time_ago(Timestamp::from_micros(AT.as_micros() + seconds * 1_000_000), AT);
    assert_eq!(ago(-5), "0s ago");
    assert_eq!(ago(59), "59s ago");
    assert_eq!(ago(60), "1m ago");
    assert_eq!(ago(3599), "59m ago");
    assert_eq!(ago(7200), "2h ago");
    assert_eq!(ago(86_400 * 400), "400d ago");
}
