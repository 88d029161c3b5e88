//! The API description says what is sent.

use utoipa::{PartialSchema, ToSchema};

use super::*;

/// The properties a schema names.
fn properties<T: ToSchema>() -> Vec<String> {
    let schema = serde_json::to_value(<T as PartialSchema>::schema()).unwrap();
    schema["properties"]
        .as_object()
        .map(|members| members.keys().cloned().collect())
        .unwrap_or_default()
}

fn members(value: &impl Serialize) -> Vec<String> {
    serde_json::to_value(value).unwrap().as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_description_of_an_answer_names_what_is_sent_in_its_order() {
    let view = view(&new_agent(plain("letta_v1_agent")).unwrap());
    assert_eq!(properties::<AgentState>(), members(&AgentState::new(&view, Relations::ALL)));
    let row = run_row(json!({"input": "hi"}), Call::Blocking);
    assert_eq!(properties::<Run>(), members(&Run::new(&row, None)));
    assert_eq!(properties::<Model>(), members(&Model::from(&openai())));
    assert_eq!(properties::<Tool>(), members(&Tool::from(&retold_actors::tool::builtins()[0])));
    assert_eq!(properties::<Block>(), members(&Block::from(&view.blocks[0])));
}

#[test]
fn the_description_of_a_message_tells_the_types_apart() {
    let schema = serde_json::to_value(<LettaMessage as PartialSchema>::schema()).unwrap();
    assert!(schema["oneOf"].as_array().is_some_and(|kinds| kinds.len() == 11), "{schema}");
    let user = serde_json::to_value(<UserMessage as PartialSchema>::schema()).unwrap();
    let reference = &user["properties"]["message_type"]["$ref"];
    assert_eq!(reference, "#/components/schemas/UserMessageType", "{user}");
    let constant = serde_json::to_value(<UserMessageType as PartialSchema>::schema()).unwrap();
    assert_eq!(constant["enum"], json!(["user_message"]), "{constant}");
}
