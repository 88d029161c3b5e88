//! The numbers: in a form that every scraper reads, with labels that are few, and true.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use reqwest::Method;
use retold::config::{Config, Environment, Flags, Inputs};
use retold_models::testing::Say;
use serde_json::json;

use crate::support::{PATIENCE, World, config, message, reply, text};

/// Samples by name and labels, as they stand in the text.
type Samples = BTreeMap<String, f64>;

/// One family of a text: what its samples are.
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
}

/// Reads a text in Prometheus's form, strictly: a description before its samples, each family once, each sample once.
fn parsed(text: &str) -> Samples {
    assert!(text.ends_with('\n') && !text.contains("\n\n"), "lines, each with its end");
    let (mut samples, mut families) = (Samples::new(), BTreeSet::new());
    let mut family = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a name and a text");
            assert!(help.len() > 8 && help.ends_with('.'), "{line}");
            let kind = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")));
            let kind = kind.unwrap_or_else(|| panic!("{name} has no type"));
            check_name(name, kind);
            assert!(families.insert(name), "{name} comes twice");
            family = Some(Family { name, kind });
            continue;
        }
        let family = family.as_ref().unwrap_or_else(|| panic!("{line} comes before a description"));
        let (sample, value) = line.rsplit_once(' ').expect("a sample and a value");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line} has no number"));
        check_sample(family, sample);
        assert!(samples.insert(sample.to_owned(), value).is_none(), "{sample} comes twice");
    }
    check_histograms(&samples);
    samples
}

fn check_name(name: &str, kind: &str) {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    assert!(name.bytes().all(is_plain), "{name}");
    assert!(name.starts_with("retold_") || name.starts_with("process_"), "{name}");
    assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} is a {kind}");
    assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
    for unit in ["_ms", "_millis", "_micros", "_nanos", "_ns", "_kb", "_mb", "_kib", "_mib"] {
        assert!(!name.contains(unit), "{name} is in no base unit");
    }
    if kind == "histogram" {
        let units = ["_seconds", "_bytes", "_commits", "_events", "_items"];
        assert!(units.iter().any(|unit| name.ends_with(unit)), "{name} says no unit");
    }
}

fn check_sample(family: &Family<'_>, sample: &str) {
    let (name, labels) = match sample.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("labels have an end")),
        None => (sample, ""),
    };
    let suffixes: &[&str] =
        if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
    let rest = name.strip_prefix(family.name);
    assert!(
        rest.is_some_and(|rest| suffixes.contains(&rest)),
        "{sample} is not of {}",
        family.name
    );
    for label in labels.split("\",").filter(|label| !label.is_empty()) {
        let (key, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{sample}"));
        let known = [
            "le",
            "status",
            "outcome",
            "source",
            "model",
            "kind",
            "state",
            "route",
            "method",
            "transport",
            "version",
        ];
        assert!(known.contains(&key), "{sample} has a label nobody thought about");
        assert!(value.trim_end_matches('"').len() < 100, "{sample}");
    }
}

fn check_histograms(samples: &Samples) {
    let mut last: Option<(String, f64)> = None;
    for (sample, count) in samples.iter().filter(|(sample, _)| sample.ends_with("le=\"+Inf\"}")) {
        let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
        let labels = labels.trim_end_matches("le=\"+Inf\"}").trim_end_matches(',');
        let name = sample.split_once("_bucket{").expect("only buckets have bounds").0;
        let total = if labels.is_empty() {
            format!("{name}_count")
        } else {
            format!("{name}_count{{{labels}}}")
        };
        assert_eq!(samples.get(&total), Some(count), "{total}");
        last = Some((total, *count));
    }
    assert!(last.is_some(), "there are histograms");
}

async fn numbers(world: &World) -> Samples {
    let reply = world.get("/metrics").await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    parsed(&reply.text)
}

/// The sample, 0 when there is none yet.
fn of(samples: &Samples, name: &str) -> f64 {
    samples.get(name).copied().unwrap_or(0.0)
}

/// Reads the numbers until one of them is as it should be.
async fn until(world: &World, name: &str, wanted: f64) -> Samples {
    let begun = std::time::Instant::now();
    loop {
        let samples = numbers(world).await;
        if of(&samples, name) == wanted {
            return samples;
        }
        assert!(begun.elapsed() < PATIENCE, "{name} is {}, not {wanted}", of(&samples, name));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_turn_is_counted_wherever_it_went() {
    let world = World::new().await;
    let before = numbers(&world).await;
    let agent = world.agent("echo").await;
    world.say(&agent, "hi").await.ok();
    let mut stream = world.stream_tokens(&agent, "and again").await;
    stream.rest().await;
    // A run's end is counted before its last bytes are read, an answer after they were sent.
    let after = until(&world, "retold_stream_followers{transport=\"sse\"}", 0.0).await;
    let rise = |name: &str| of(&after, name) - of(&before, name);
    for (name, by) in [
        ("retold_runs_accepted_total", 2.0),
        ("retold_runs_ended_total{status=\"completed\"}", 2.0),
        ("retold_runs_ended_total{status=\"failed\"}", 0.0),
        ("retold_run_seconds_count", 2.0),
        ("retold_run_first_output_seconds_count", 2.0),
        ("retold_steps_total{outcome=\"success\"}", 2.0),
        ("retold_model_calls_total{model=\"test/echo\",outcome=\"success\"}", 2.0),
        ("retold_model_call_seconds_count{model=\"test/echo\"}", 2.0),
        ("retold_model_first_chunk_seconds_count{model=\"test/echo\"}", 2.0),
        ("retold_tokens_total{model=\"test/echo\",kind=\"prompt\"}", 20.0),
        ("retold_tokens_total{model=\"test/echo\",kind=\"completion\"}", 10.0),
        ("retold_http_requests_total{method=\"POST\",route=\"/v1/agents\",status=\"200\"}", 1.0),
        (
            "retold_http_requests_total{method=\"POST\",route=\"/v1/agents/{agent_id}/messages\",status=\"200\"}",
            1.0,
        ),
        ("retold_agent_activation_seconds_count", 1.0),
        ("retold_runs_open{state=\"running\"}", 0.0),
        ("retold_model_calls_open", 0.0),
        ("retold_log_waiting_commits", 0.0),
        ("retold_log_waiting_events", 0.0),
    ] {
        assert_eq!(rise(name), by, "{name}");
    }
    for name in [
        "retold_log_commit_seconds_count",
        "retold_log_write_seconds_count",
        "retold_log_group_events_sum",
        "retold_log_group_bytes_sum",
        "retold_log_position",
    ] {
        assert!(rise(name) > 0.0, "{name}");
    }
    let reads = rise("retold_stream_reads_total{source=\"ring\"}")
        + rise("retold_stream_reads_total{source=\"log\"}");
    assert!(reads >= 2.0, "who follows a run reads");
    assert_eq!(of(&after, "retold_agents_awake"), 1.0);
    assert_eq!(of(&after, "retold_runs_open_limit"), 4096.0);
    let version = format!("retold_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(of(&after, &version), 1.0);
    assert!(of(&after, "process_resident_memory_bytes") > 1e6);
    assert!(of(&after, "process_start_time_seconds") > 1.7e9);
    assert!(of(&after, "process_cpu_seconds_total") > 0.0);
    assert!(of(&after, "process_open_fds") > 3.0);
}

#[tokio::test]
async fn open_runs_are_counted_by_their_state_and_a_cancel_by_how_long_it_took() {
    let world = World::new().await;
    let model = world.model("silent", [vec![Say::Hang]]);
    let agent = world.agent("silent").await;
    let path = format!("/v1/agents/{agent}/messages/async");
    for _ in 0..2 {
        world.post(&path, message("hi")).await.ok();
    }
    model.called(1).await;
    let during = numbers(&world).await;
    for (name, count) in [
        ("retold_runs_open{state=\"running\"}", 1.0),
        ("retold_runs_open{state=\"waiting\"}", 1.0),
        ("retold_runs_open{state=\"cancelling\"}", 0.0),
        ("retold_agent_queue_longest", 2.0),
        ("retold_model_calls_open", 1.0),
        ("retold_cancel_seconds_count", 0.0),
    ] {
        assert_eq!(of(&during, name), count, "{name}");
    }
    world.post(&format!("/v1/agents/{agent}/messages/cancel"), json!({})).await.ok();
    model.cancelled(1).await;
    let dropped = "retold_model_calls_total{model=\"test/silent\",outcome=\"dropped\"}";
    let after = until(&world, dropped, 1.0).await;
    for (name, count) in [
        ("retold_runs_open{state=\"running\"}", 0.0),
        ("retold_runs_open{state=\"waiting\"}", 0.0),
        ("retold_runs_ended_total{status=\"cancelled\"}", 2.0),
        ("retold_steps_total{outcome=\"cancelled\"}", 1.0),
        ("retold_cancel_seconds_count", 1.0),
        ("retold_model_calls_open", 0.0),
    ] {
        assert_eq!(of(&after, name), count, "{name}");
    }
}

#[tokio::test]
async fn nothing_that_a_client_makes_up_becomes_a_label() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let mut body = message("hi");
    body["override_model"] = "test/made-up".into();
    assert_eq!(world.post(&format!("/v1/agents/{agent}/messages"), body).await.status, 404);
    let brew = Method::from_bytes(b"BREW").unwrap();
    assert_eq!(reply(world.ask(brew, "/v1/agents")).await.status, 405);
    assert_eq!(world.get("/v1/made-up/path").await.status, 404);
    world.say(&agent, "hi").await.ok();
    let answer = world.get("/metrics").await;
    let samples = parsed(&answer.text);
    for made_up in ["made-up", "BREW", agent.as_str(), agent.trim_start_matches("agent-")] {
        assert!(!answer.text.contains(made_up), "{made_up} is in the numbers");
    }
    let uuids = answer.text.split(|c: char| !c.is_ascii_hexdigit() && c != '-');
    assert_eq!(uuids.filter(|word| word.len() >= 32).count(), 0, "no id of anything");
    let unmatched = "retold_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"}";
    assert_eq!(of(&samples, unmatched), 1.0);
    let other: Vec<&String> =
        samples.keys().filter(|name| name.contains("method=\"other\"")).collect();
    assert!(!other.is_empty());
}

#[tokio::test]
async fn a_client_that_follows_is_counted_while_it_does() {
    let world = World::new().await;
    let model = world.model("silent", [vec![Say::text("a"), Say::Hang]]);
    let agent = world.agent("silent").await;
    let mut stream = world.stream_tokens(&agent, "hi").await;
    stream.until("assistant_message").await;
    model.called(1).await;
    let followers = "retold_stream_followers{transport=\"sse\"}";
    let during = until(&world, followers, 1.0).await;
    assert_eq!(of(&during, "retold_stream_resume_items_count"), 1.0);
    drop(stream);
    until(&world, followers, 0.0).await;
}

#[tokio::test]
async fn two_servers_in_a_process_count_for_themselves() {
    let (one, other) = (World::new().await, World::new().await);
    let agent = one.agent("echo").await;
    one.say(&agent, "hi").await.ok();
    assert_eq!(of(&numbers(&one).await, "retold_runs_accepted_total"), 1.0);
    let others = numbers(&other).await;
    assert_eq!(of(&others, "retold_runs_accepted_total"), 0.0);
    assert_eq!(of(&others, "retold_agents_awake"), 0.0);
}

#[tokio::test]
async fn who_asks_for_open_metrics_gets_it_and_others_the_older_form() {
    let world = World::new().await;
    let asked = world.ask(Method::GET, "/metrics").header(
        "accept",
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    );
    let open = reply(asked).await;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(content_type));
    assert!(open.text.ends_with("\n# EOF\n"));
    assert!(
        open.text.contains("# TYPE retold_runs_accepted counter\nretold_runs_accepted_total 0")
    );
    numbers(&world).await;
}

#[tokio::test]
async fn the_numbers_need_the_password_as_everything_does() {
    let mut guarded = Config::load(&Inputs {
        flags: Flags::default(),
        environment: Environment::from_iter([("HOME", "/"), ("RETOLD_PASSWORD", "secret")]),
        directory: "/nonexistent".into(),
        generated_password: String::new(),
    })
    .unwrap();
    guarded.port = config().port;
    let world = World::with(guarded).await;
    let refused = world.get("/metrics").await;
    assert_eq!((refused.status, text(&refused.body["code"])), (401, "unauthorized"));
    let scraped = reply(world.ask(Method::GET, "/metrics").bearer_auth("secret")).await;
    assert_eq!(scraped.status, 200);
    assert!(!scraped.text.contains("secret"));
}

#[tokio::test]
async fn a_store_on_the_disk_tells_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut on_disk = Config::with_defaults(dir.path());
    on_disk.port.value = 0;
    // `Err` means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = retold::server::Server::start(&on_disk, None).await.unwrap();
    let text = reqwest::get(format!("http://{}/metrics", server.address()));
    let samples = parsed(&text.await.unwrap().text().await.unwrap());
    assert!(of(&samples, "retold_store_bytes") > 0.0);
    assert!(of(&samples, "retold_store_free_bytes") > 0.0);
    server.stop().await;
}
