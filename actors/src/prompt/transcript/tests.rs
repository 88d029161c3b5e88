//! What becomes of stored messages on their way to a model.

use proptest::prelude::*;
use retold_events::{MessageId, Timestamp};
use retold_models::{Message as Sent, Part as SentPart};
use uuid::Uuid;

use super::*;

fn message(role: Role, content: Vec<Part>) -> Message {
    Message {
        id: MessageId::from_uuid(Uuid::nil()),
        role,
        content,
        name: None,
        otid: None,
        sender: None,
        model: None,
        tool_calls: Vec::new(),
        tool_returns: Vec::new(),
        step: None,
        run: None,
        conversation: None,
        created_at: Timestamp::from_micros(0),
        tokens: 0,
        is_err: false,
        interrupted: false,
    }
}

fn text(text: &str) -> Part {
    Part::Text { text: text.to_owned() }
}

fn says(role: Role, said: &str) -> Message {
    message(role, vec![text(said)])
}

fn calls(ids: &[&str]) -> Message {
    let call = |&id: &&str| ToolCall {
        id: id.to_owned(),
        name: "look".to_owned(),
        arguments: "{}".to_owned(),
    };
    Message { tool_calls: ids.iter().map(call).collect(), ..message(Role::Assistant, vec![]) }
}

fn returns(ids: &[&str]) -> Message {
    let returned = |&id: &&str| ToolReturn {
        call_id: id.to_owned(),
        name: "look".to_owned(),
        status: ReturnStatus::Success,
        content: format!("return of {id}"),
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    Message { tool_returns: ids.iter().map(returned).collect(), ..message(Role::Tool, vec![]) }
}

/// One word for each message, to compare whole histories.
fn shape(history: &[Message]) -> Vec<String> {
    let word = |sent: Sent<'_>| match sent {
        Sent::System(text) => format!("system {text}"),
        Sent::User(parts) => format!("user {}", parts.len()),
        Sent::Assistant { parts, calls } => {
            let ids: Vec<&str> = calls.iter().map(|call| call.id).collect();
            format!("assistant {} {}", parts.len(), ids.join("+"))
        }
        Sent::Tool { call_id, content, is_error } => {
            format!("tool {call_id} {content}{}", if is_error { " error" } else { "" })
        }
    };
    to_model(history.iter()).into_iter().map(word).collect()
}

#[test]
fn every_role_is_told_as_itself_and_a_summary_as_the_user() {
    let picture = Part::Image(Image::Url { url: "https://x".to_owned() });
    let history = [
        says(Role::Summary, "before"),
        message(Role::User, vec![text("hi"), picture]),
        says(Role::System, "note"),
        says(Role::Assistant, "hello"),
    ];
    assert_eq!(shape(&history), ["user 1", "user 2", "system note", "assistant 1 "]);
}

#[test]
fn thoughts_go_back_with_their_signature() {
    let history = [message(
        Role::Assistant,
        vec![
            Part::Reasoning { text: "hm".to_owned(), signature: Some("sig".to_owned()) },
            Part::RedactedReasoning { data: "xyz".to_owned() },
            text("yes"),
        ],
    )];
    let sent = to_model(history.iter());
    let [Sent::Assistant { parts, .. }] = &sent[..] else { panic!("{sent:?}") };
    assert!(matches!(parts[0], SentPart::Reasoning { text: "hm", signature: Some("sig") }));
    assert!(matches!(parts[1], SentPart::RedactedReasoning("xyz")));
    assert!(matches!(parts[2], SentPart::Text("yes")));
}

#[test]
fn a_call_is_followed_by_its_returns_in_the_order_of_the_calls() {
    let history = [calls(&["1", "2"]), returns(&["2", "1"]), says(Role::Assistant, "ok")];
    assert_eq!(
        shape(&history),
        ["assistant 0 1+2", "tool 1 return of 1", "tool 2 return of 2", "assistant 1 "]
    );
}

#[test]
fn a_failed_return_is_an_error() {
    let mut failed = returns(&["1"]);
    failed.tool_returns[0].status = ReturnStatus::Error;
    assert_eq!(shape(&[calls(&["1"]), failed])[1], "tool 1 return of 1 error");
}

#[test]
fn a_call_without_a_return_gets_one() {
    let missing = "tool 2 no result was recorded error";
    let history = [calls(&["1", "2"]), returns(&["1"]), says(Role::User, "hi")];
    assert_eq!(shape(&history), ["assistant 0 1+2", "tool 1 return of 1", missing, "user 1"]);
    assert_eq!(shape(&[calls(&["2"])]), ["assistant 0 2", missing]);
    // What came after the model spoke again is too late.
    let late = [calls(&["2"]), says(Role::Assistant, "hi"), returns(&["2"])];
    assert_eq!(shape(&late), ["assistant 0 2", missing, "assistant 1 "]);
}

#[test]
fn a_return_is_taken_to_its_call_over_what_somebody_wrote_meanwhile() {
    let history = [calls(&["2"]), says(Role::User, "hi"), returns(&["2"])];
    assert_eq!(shape(&history), ["assistant 0 2", "tool 2 return of 2", "user 1"]);
}

#[test]
fn calls_that_waited_are_of_one_answer_with_those_beside_them() {
    let waiting = Message { role: Role::Approval, ..calls(&["2"]) };
    let history = [calls(&["1"]), waiting.clone(), returns(&["2", "1"])];
    assert_eq!(shape(&history), ["assistant 0 1+2", "tool 1 return of 1", "tool 2 return of 2"]);
    assert_eq!(shape(&[waiting, returns(&["2"])]), ["assistant 0 2", "tool 2 return of 2"]);
}

#[test]
fn a_return_without_a_call_is_left_out() {
    assert_eq!(shape(&[returns(&["1"]), says(Role::User, "hi")]), ["user 1"]);
    let history = [calls(&["1"]), returns(&["1", "1", "9"])];
    assert_eq!(shape(&history), ["assistant 0 1", "tool 1 return of 1"]);
}

#[test]
fn calls_of_one_id_get_a_return_each() {
    let history = [calls(&["1", "1"]), returns(&["1"])];
    let missing = "tool 1 no result was recorded error";
    assert_eq!(shape(&history), ["assistant 0 1+1", "tool 1 return of 1", missing]);
}

#[test]
fn messages_with_nothing_in_them_are_left_out() {
    let thought = Part::Reasoning { text: "hm".to_owned(), signature: None };
    let history = [
        message(Role::Assistant, vec![]),
        says(Role::Assistant, " \n"),
        message(Role::Assistant, vec![thought]),
        says(Role::User, ""),
        says(Role::System, ""),
    ];
    assert!(shape(&history).is_empty());
}

#[test]
fn a_transcript_tells_what_was_said_called_and_returned() {
    let cut_short = Message { interrupted: true, ..says(Role::Assistant, "we") };
    let history = [
        says(Role::Summary, "before"),
        says(Role::User, "hi"),
        calls(&["1"]),
        returns(&["1"]),
        cut_short,
    ];
    assert_eq!(
        render_for_summary(history.iter(), 1000),
        "earlier summary: before\nuser: hi\nassistant calls look: {}\nlook returns: return of 1\n\
        assistant (cut short): we"
    );
}

#[test]
fn a_long_message_is_cut_and_marked() {
    let history = [says(Role::User, &"x".repeat(10_000))];
    let rendered = render_for_summary(history.iter(), 100_000);
    assert!(rendered.ends_with("x [… cut]") && rendered.len() < 5000, "{}", rendered.len());
}

#[test]
fn a_long_transcript_loses_its_middle() {
    let history: Vec<Message> =
        (0..100).map(|number| says(Role::User, &format!("message {number}"))).collect();
    let rendered = render_for_summary(history.iter(), 400);
    assert!(rendered.chars().count() <= 400, "{rendered}");
    assert!(rendered.starts_with("user: message 0\n"), "{rendered}");
    assert!(rendered.ends_with("\nuser: message 99"), "{rendered}");
    assert!(rendered.contains("entries left out"), "{rendered}");
}

fn any_history() -> impl Strategy<Value = Vec<Message>> {
    let id = || prop::sample::select(vec!["1", "2", "3"]);
    let ids = move || prop::collection::vec(id(), 0..3);
    let any_message = prop_oneof![
        "[ab ]{0,3}".prop_map(|said| says(Role::User, &said)),
        "[ab ]{0,3}".prop_map(|said| says(Role::Assistant, &said)),
        ids().prop_map(|ids| calls(&ids)),
        ids().prop_map(|ids| returns(&ids)),
    ];
    prop::collection::vec(any_message, 0..12)
}

proptest! {
    #[test]
    fn whatever_is_stored_a_provider_finds_each_call_with_its_return(history in any_history()) {
        let sent = to_model(history.iter());
        let mut awaited: Vec<&str> = Vec::new();
        for message in &sent {
            match message {
                Sent::Tool { call_id, .. } => prop_assert_eq!(awaited.remove(0), *call_id),
                Sent::Assistant { parts, calls } => {
                    prop_assert!(awaited.is_empty());
                    prop_assert!(!parts.is_empty() || !calls.is_empty());
                    awaited = calls.iter().map(|call| call.id).collect();
                }
                Sent::User(parts) => {
                    prop_assert!(awaited.is_empty());
                    prop_assert!(!parts.is_empty());
                }
                Sent::System(_) => prop_assert!(awaited.is_empty()),
            }
        }
        prop_assert!(awaited.is_empty());
    }

    #[test]
    fn a_transcript_keeps_its_bound(history in any_history(), max_chars in 0_usize..300) {
        prop_assert!(render_for_summary(history.iter(), max_chars).chars().count() <= max_chars);
    }
}
