//! What is shown of a request is the request.

use crate::{
    Message, Part, ProviderKind,
    harness::{KEY, SHORT, collect, model, schema, upstream, user},
    testing::{Reply, prompt},
};

#[tokio::test]
async fn a_request_is_shown_as_it_is_sent() {
    for kind in [ProviderKind::OpenAi, ProviderKind::Ollama, ProviderKind::Anthropic] {
        let upstream = upstream([Reply::json(500, "{}")]).await;
        let tools = [schema("find", r#"{"type":"object"}"#)];
        let asked = crate::Prompt { tools: &tools, ..prompt("be kind", vec![user("hi")]) };
        let model = model(&upstream, kind, SHORT);
        let shown = model.request(&asked).expect("a provider has a form of its own");
        assert_eq!(upstream.requests().len(), 0, "showing calls nobody");
        collect(model.stream(&asked)).await;
        assert_eq!(shown.get().as_bytes(), upstream.requests()[0].body, "{kind:?}");
    }
}

#[tokio::test]
async fn a_key_in_a_message_is_struck_out() {
    let upstream = upstream([]).await;
    let said = format!("my key is {KEY}, keep it");
    let asked = prompt("", vec![Message::User(vec![Part::Text(&said)])]);
    for kind in [ProviderKind::Vllm, ProviderKind::Anthropic] {
        let shown = model(&upstream, kind, SHORT).request(&asked).expect("it has a form");
        assert!(!shown.get().contains(KEY), "{shown}");
        assert!(shown.get().contains("my key is [key], keep it"), "{shown}");
    }
}
