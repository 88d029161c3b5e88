//! Traces for OpenTelemetry, as a collector gets them.

use std::time::Duration;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use reqwest::Method;
use retold::{
    config::{Config, Flags, Inputs},
    server::Server,
};
use retold_models::{
    ModelErrorKind,
    testing::{Reply, Say, ScriptedUpstream},
};
use serde_json::{Value, json};

use crate::support::{PATIENCE, World, config, message, reply, text};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn collector(replies: impl IntoIterator<Item = Reply>) -> ScriptedUpstream {
    ScriptedUpstream::start(replies).await.expect("a free port")
}

fn taken() -> Reply {
    Reply::whole(200, "application/x-protobuf", "")
}

/// Settings as the environment gives them, on any free port.
fn settings(variables: &[(&str, &str)]) -> Config {
    let mut read = Config::load(&Inputs {
        flags: Flags::default(),
        environment: [("HOME", "/")].iter().chain(variables).copied().collect(),
        directory: "/nonexistent".into(),
        generated_password: String::new(),
    })
    .expect("the settings are valid");
    read.port = config().port;
    read
}

async fn world_with(collector: &ScriptedUpstream, variables: &[(&str, &str)]) -> World {
    let url = collector.base_url();
    let all: Vec<(&str, &str)> =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str())].iter().chain(variables).copied().collect();
    World::with(settings(&all)).await
}

/// Stops a server, which sends what it has, and gives what the collector got.
async fn stopped(world: World, collector: &ScriptedUpstream) -> Vec<Span> {
    let World { server, .. } = world;
    server.drain(PATIENCE).await;
    server.stop().await;
    spans(collector)
}

fn spans(collector: &ScriptedUpstream) -> Vec<Span> {
    let requests = collector.requests();
    let decoded = requests.iter().map(|request| {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/traces"));
        assert_eq!(request.headers["content-type"], "application/x-protobuf");
        ExportTraceServiceRequest::decode(request.body.clone()).expect("an export request")
    });
    decoded
        .flat_map(|request| request.resource_spans)
        .flat_map(|spans| spans.scope_spans)
        .flat_map(|spans| spans.spans)
        .collect()
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    fn json_of(value: &Any) -> Value {
        match value {
            Any::StringValue(text) => text.as_str().into(),
            Any::IntValue(number) => (*number).into(),
            Any::ArrayValue(list) => {
                list.values.iter().filter_map(|it| it.value.as_ref()).map(json_of).collect()
            }
            Any::BoolValue(_)
            | Any::DoubleValue(_)
            | Any::KvlistValue(_)
            | Any::BytesValue(_)
            | Any::StringValueStrindex(_) => panic!("{value:?} is of no use here"),
        }
    }
    found.value.as_ref()?.value.as_ref().map(json_of)
}

/// An attribute of a span, `Null` for none.
fn told(span: &Span, key: &str) -> Value {
    attribute(&span.attributes, key).unwrap_or_default()
}

/// An attribute that is JSON as text.
fn told_json(span: &Span, key: &str) -> Value {
    serde_json::from_str(text(&told(span, key))).expect("it is JSON")
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap_or_else(|| panic!("no {name} in {spans:?}"));
    assert!(found.next().is_none(), "{name} comes twice");
    span
}

/// An agent called Ada, and her answer to one message in two steps: a tool, then words.
async fn two_steps(world: &World, headers: &[(&str, &str)]) -> String {
    world.model(
        "ada",
        [
            Say::call("call-1", "core_memory_append", r#"{"label":"human","content":"likes tea"}"#),
            Say::answer("noted, tea"),
        ],
    );
    let agent = world
        .agent_with(json!({
            "name": "ada", "model": "test/ada", "agent_type": "letta_v1_agent",
            "system": "be brief and kind",
            "memory_blocks": [{ "label": "human", "value": "a guest" }],
            "include_base_tools": false, "tools": ["core_memory_append"],
        }))
        .await;
    let mut request = world
        .ask(Method::POST, &format!("/v1/agents/{agent}/messages"))
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = reply(request.body(message("I like secret tea").to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    agent
}

#[tokio::test]
async fn a_run_is_a_span_with_its_model_calls_and_tools_below() {
    let collector = collector([taken()]).await;
    let names = [
        ("OTEL_SERVICE_NAME", "retold-test"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=ci"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=very%20secret"),
    ];
    let world = world_with(&collector, &names).await;
    let agent = two_steps(&world, &[]).await;
    let spans = stopped(world, &collector).await;
    assert_eq!(spans.len(), 4, "{spans:?}");

    let run = named(&spans, "invoke_agent ada");
    assert_eq!(run.kind, SpanKind::Internal as i32);
    assert!(run.parent_span_id.is_empty() && run.trace_id.len() == 16 && run.span_id.len() == 8);
    for (key, value) in [
        ("gen_ai.operation.name", json!("invoke_agent")),
        ("gen_ai.provider.name", json!("test")),
        ("gen_ai.request.model", json!("ada")),
        ("gen_ai.agent.id", json!(agent)),
        ("gen_ai.agent.name", json!("ada")),
        ("gen_ai.conversation.id", json!(agent)),
        ("gen_ai.usage.input_tokens", json!(20)),
        ("gen_ai.usage.output_tokens", json!(10)),
        ("retold.run.stop_reason", json!("end_turn")),
        ("error.type", Value::Null),
    ] {
        assert_eq!(told(run, key), value, "{key}");
    }
    assert!(text(&told(run, "retold.run.id")).starts_with("run-"));
    assert_eq!(run.status, None);

    let chats: Vec<&Span> = spans.iter().filter(|span| span.name == "chat ada").collect();
    assert_eq!(chats.len(), 2);
    for (chat, finish) in chats.iter().zip(["tool_call", "stop"]) {
        assert_eq!(chat.kind, SpanKind::Client as i32);
        assert_eq!(told(chat, "gen_ai.operation.name"), "chat");
        assert_eq!(told(chat, "gen_ai.usage.input_tokens"), 10);
        assert_eq!(told(chat, "gen_ai.response.finish_reasons"), json!([finish]));
    }
    let tool = named(&spans, "execute_tool core_memory_append");
    assert_eq!(told(tool, "gen_ai.tool.name"), "core_memory_append");
    assert_eq!(told(tool, "gen_ai.tool.call.id"), "call-1");
    for below in spans.iter().filter(|span| span.name != run.name) {
        assert_eq!((&below.trace_id, &below.parent_span_id), (&run.trace_id, &run.span_id));
        assert!(run.start_time_unix_nano <= below.start_time_unix_nano, "{below:?}");
        assert!(below.start_time_unix_nano <= below.end_time_unix_nano);
        assert!(below.end_time_unix_nano <= run.end_time_unix_nano, "{below:?} {run:?}");
    }
    let mut ids: Vec<&Vec<u8>> = spans.iter().map(|span| &span.span_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each has an id of its own");

    let request = &collector.requests()[0];
    assert_eq!(request.headers["x-key"], "very secret");
    let export = ExportTraceServiceRequest::decode(request.body.clone()).unwrap();
    let resource = export.resource_spans[0].resource.clone().unwrap().attributes;
    assert_eq!(attribute(&resource, "service.name"), Some(json!("retold-test")));
    assert_eq!(attribute(&resource, "deployment.environment.name"), Some(json!("ci")));
    let bytes = String::from_utf8_lossy(&request.body).into_owned();
    for said in ["secret tea", "likes tea", "noted, tea", "be brief", "a guest"] {
        assert!(!bytes.contains(said), "{said} was not asked for");
    }
}

#[tokio::test]
async fn what_was_said_is_exported_when_it_is_asked_for() {
    let collector = collector([taken()]).await;
    let opted_in = [("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")];
    let world = world_with(&collector, &opted_in).await;
    two_steps(&world, &[]).await;
    let spans = stopped(world, &collector).await;

    let run = named(&spans, "invoke_agent ada");
    let input = told_json(run, "gen_ai.input.messages");
    assert_eq!(input.as_array().map(Vec::len), Some(1));
    assert_eq!(input[0]["role"], "user");
    assert_eq!(input[0]["parts"], json!([{ "type": "text", "content": "I like secret tea" }]));
    let output = told_json(run, "gen_ai.output.messages");
    assert_eq!(output[0]["parts"][0]["content"], "noted, tea");
    assert_eq!(output[0]["finish_reason"], "stop");
    let system = told_json(run, "gen_ai.system_instructions");
    assert!(text(&system[0]["content"]).contains("be brief and kind"), "{system}");

    let chats: Vec<&Span> = spans.iter().filter(|span| span.name == "chat ada").collect();
    assert_eq!(told_json(chats[0], "gen_ai.input.messages"), input);
    let call = &told_json(chats[0], "gen_ai.output.messages")[0]["parts"][0];
    assert_eq!((&call["type"], &call["id"]), (&json!("tool_call"), &json!("call-1")));
    assert_eq!(call["arguments"]["content"], "likes tea");
    // With its next call the model gets what the tool returned.
    let returned = told_json(chats[1], "gen_ai.input.messages");
    assert_eq!(
        (returned.as_array().map(Vec::len), &returned[0]["role"]),
        (Some(1), &json!("tool"))
    );
    assert_eq!(returned[0]["parts"][0]["type"], "tool_call_response");

    let tool = named(&spans, "execute_tool core_memory_append");
    assert_eq!(told_json(tool, "gen_ai.tool.call.arguments")["label"], "human");
    assert!(text(&told(tool, "gen_ai.tool.call.result")).contains("likes tea"));
}

#[tokio::test]
async fn a_failure_is_told_by_its_kind() {
    let collector = collector([taken()]).await;
    let world = world_with(&collector, &[]).await;
    world.model("down", [Say::failure(ModelErrorKind::RateLimit, "too many requests")]);
    let agent = world.agent("down").await;
    assert_eq!(world.say(&agent, "hi").await.status, 429);
    let spans = stopped(world, &collector).await;
    assert_eq!(spans.len(), 2);
    for span in &spans {
        assert_eq!(told(span, "error.type"), "llm_rate_limit", "{span:?}");
        let status = span.status.clone().unwrap();
        assert_eq!(
            (status.code, status.message.as_str()),
            (StatusCode::Error as i32, "too many requests")
        );
    }
}

#[tokio::test]
async fn a_run_belongs_to_the_trace_that_its_request_names() {
    let collector = collector([taken()]).await;
    let world = world_with(&collector, &[]).await;
    two_steps(&world, &[("traceparent", PARENT), ("tracestate", "vendor=1")]).await;
    let spans = stopped(world, &collector).await;
    let run = named(&spans, "invoke_agent ada");
    assert_eq!(hex(&run.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&run.parent_span_id), "b7ad6b7169203331");
    assert_eq!(run.trace_state, "vendor=1");
    assert!(spans.iter().all(|span| span.trace_id == run.trace_id));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn what_its_caller_does_not_record_is_not_exported() {
    let collector = collector([taken()]).await;
    let world = world_with(&collector, &[]).await;
    let unsampled = PARENT.replace("-01", "-00");
    two_steps(&world, &[("traceparent", &unsampled)]).await;
    assert!(stopped(world, &collector).await.is_empty());
}

#[tokio::test]
async fn without_a_collector_nobody_is_told_anything() {
    let collector = collector([taken()]).await;
    let disabled = [("OTEL_SDK_DISABLED", "true")];
    let world = world_with(&collector, &disabled).await;
    let agent = two_steps(&world, &[("traceparent", PARENT)]).await;
    assert_eq!(world.get(&format!("/v1/agents/{agent}")).await.status, 200);
    assert!(!world.get("/metrics").await.text.contains("retold_otlp"));
    stopped(world, &collector).await;
    assert_eq!(collector.connections(), 0);
}

/// A number of a server's, by name.
async fn number(world: &World, name: &str) -> f64 {
    let all = world.get("/metrics").await.text;
    let line = all.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
}

/// Waits until a number is at least so much.
async fn reaches(world: &World, name: &str, wanted: f64) {
    let begun = std::time::Instant::now();
    while number(world, name).await < wanted {
        assert!(begun.elapsed() < PATIENCE, "{name} does not reach {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let busy = Reply::whole_with(503, "text/plain", &[("retry-after", "0")], "later");
    let collector = collector([busy, taken(), Reply::whole(400, "text/plain", "never")]).await;
    let world = world_with(&collector, &[]).await;
    let agent = world.agent("echo").await;
    world.say(&agent, "one").await.ok();
    reaches(&world, "retold_otlp_spans_exported_total", 2.0).await;
    assert_eq!(number(&world, "retold_otlp_requests_failed_total").await, 1.0);
    world.say(&agent, "two").await.ok();
    reaches(&world, "retold_otlp_spans_dropped_total", 2.0).await;
    assert_eq!(number(&world, "retold_otlp_spans_exported_total").await, 2.0);
    stopped(world, &collector).await;
    let bodies: Vec<_> = collector.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies.len(), 3);
    assert_eq!(bodies[0], bodies[1], "what is sent again is the same");
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_nobody() {
    let collector = collector([Reply::default().hang(), Reply::default().hang()]).await;
    let world = world_with(&collector, &[]).await;
    let agent = world.agent("echo").await;
    world.say(&agent, "one").await.ok();
    tokio::time::timeout(PATIENCE, collector.received(1)).await.expect("it is asked");
    for _ in 0..20 {
        world.say(&agent, "and on").await.ok();
    }
    let World { server, .. } = world;
    tokio::time::timeout(PATIENCE, server.stop()).await.expect("a stop does not wait for it");
}

#[tokio::test]
async fn a_dead_collector_costs_no_trace_even_across_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there any more.
    let dead = collector([]).await.base_url();
    let first = start(dir.path(), &dead).await;
    let client = reqwest::Client::new();
    let base = format!("http://{}", first.address());
    let made = client.post(format!("{base}/v1/agents")).json(&json!({ "name": "ada" }));
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    let path = format!("{base}/v1/agents/{}/messages", text(&made["id"]));
    let said = client.post(path).json(&message("hi")).send().await.unwrap();
    assert_eq!(said.status(), 200);
    first.drain(PATIENCE).await;
    first.stop().await;

    let alive = collector([taken(), taken()]).await;
    let second = start(dir.path(), &alive.base_url()).await;
    second.stop().await;
    let sent = spans(&alive);
    assert_eq!(told(named(&sent, "invoke_agent ada"), "retold.run.stop_reason"), "end_turn");
    let third = start(dir.path(), &alive.base_url()).await;
    third.stop().await;
    assert_eq!(alive.requests().len(), 1, "what was sent is not sent again");
}

async fn start(dir: &std::path::Path, collector: &str) -> Server {
    let mut config = settings(&[("OTEL_EXPORTER_OTLP_ENDPOINT", collector)]);
    config.data_dir.value = dir.to_owned();
    // `Err` means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Server::start(&config, None).await.expect("the server starts")
}
