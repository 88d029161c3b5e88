//! From status and body to the kind of error, and what a person reads.

use std::time::Duration;

use crate::{
    ModelErrorKind::{self, *},
    ProviderKind,
    harness::{KEY, hear_error},
    limits,
    testing::Reply,
};

#[tokio::test]
async fn each_status_and_wording_has_its_kind() {
    let cases: [(u16, &str, ModelErrorKind); 22] = [
        (
            401,
            r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#,
            Authentication,
        ),
        (403, r#"{"error":{"message":"forbidden"}}"#, Authentication),
        (402, r#"{"error":{"message":"Insufficient credits"}}"#, InsufficientCredits),
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}"#,
            InsufficientCredits,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
            InsufficientCredits,
        ),
        (429, r#"{"error":{"message":"slow down","type":"requests"}}"#, RateLimit),
        (408, "", Timeout),
        (504, "<html><head><title>504 Gateway Time-out</title></head></html>", Timeout),
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens","code":"context_length_exceeded"}}"#,
            ContextWindowExceeded,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            ContextWindowExceeded,
        ),
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 10 tokens","code":400}"#,
            ContextWindowExceeded,
        ),
        (
            400,
            r#"{"error":"the request exceeds the available context size"}"#,
            ContextWindowExceeded,
        ),
        (500, r#"{"error":"input is too long: context length of 4096"}"#, ContextWindowExceeded),
        (
            413,
            r#"{"error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
            ContextWindowExceeded,
        ),
        (400, r#"{"error":{"message":"unknown parameter"}}"#, BadRequest),
        (404, r#"{"error":"model 'x' not found"}"#, BadRequest),
        (422, r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, BadRequest),
        (307, "", BadRequest),
        (500, "Internal Server Error", Server),
        (503, r#"{"message":"Loading model"}"#, Server),
        (502, "<html><head><title>502 Bad Gateway</title></head></html>", Server),
        (
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            Server,
        ),
    ];
    for (status, body, kind) in cases {
        let error =
            hear_error(ProviderKind::OpenAi, Reply::whole(status, "text/plain", body)).await;
        assert_eq!(error.kind, kind, "{status} {body}");
        assert!(error.message.starts_with("openai "), "{error}");
    }
}

#[tokio::test]
async fn an_error_says_who_what_and_what_to_do() {
    let body = r#"{"error":{"message":"Incorrect API key provided."}}"#;
    let error = hear_error(ProviderKind::OpenAi, Reply::json(401, body)).await;
    assert_eq!(
        error.message,
        "openai refused the key (401): Incorrect API key provided.; check OPENAI_API_KEY"
    );
    let page = "<html><head><title>502 Bad\n Gateway</title></head><body>nginx</body></html>";
    let error = hear_error(ProviderKind::OpenAi, Reply::whole(502, "text/html", page)).await;
    assert_eq!(error.message, "openai failed (502): 502 Bad Gateway; try again");
}

#[tokio::test]
async fn a_key_that_a_provider_echoes_is_struck_out() {
    for body in [
        format!(r#"{{"error":{{"message":"bad key {KEY}"}}}}"#),
        format!("<p>{KEY}</p>"),
        KEY.repeat(3),
    ] {
        let error = hear_error(ProviderKind::OpenAi, Reply::json(401, &body)).await; // asserts it itself
        assert!(error.detail.unwrap().contains("[key]"));
    }
    let event = format!(r#"{{"error":{{"message":"bad key {KEY}","code":401}}}}"#);
    hear_error(ProviderKind::OpenAi, Reply::stream(&[&event])).await;
    hear_error(ProviderKind::OpenAi, Reply::stream(&[&format!("no json {KEY}")])).await;
    hear_error(ProviderKind::OpenAi, Reply::whole(200, "text/html", &format!("<p>{KEY}</p>")))
        .await;
}

#[tokio::test]
async fn what_the_provider_said_is_cut_on_a_character() {
    let error =
        hear_error(ProviderKind::OpenAi, Reply::whole(500, "text/plain", &"é".repeat(10_000)))
            .await;
    let detail = error.detail.unwrap();
    assert!(detail.len() <= limits::DETAIL_BYTES && detail.len() > limits::DETAIL_BYTES - 8);
}

#[tokio::test]
async fn the_wait_a_provider_asks_for_is_passed_on() {
    for (name, value, wait) in [
        ("retry-after", "7", Some(Duration::from_secs(7))),
        ("retry-after", "0.5", Some(Duration::from_millis(500))),
        ("retry-after-ms", "1500", Some(Duration::from_millis(1500))),
        ("retry-after", "99999999999", Some(Duration::from_secs(24 * 3600))),
        ("retry-after", "-1", None),
        ("retry-after", "NaN", None),
        ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT", None),
    ] {
        let reply = Reply::whole_with(429, "application/json", &[(name, value)], "{}");
        let error = hear_error(ProviderKind::OpenAi, reply).await;
        assert_eq!((error.kind, error.retry_after), (RateLimit, wait), "{name}: {value}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let reply =
        Reply::whole_with(302, "text/plain", &[("location", "http://elsewhere.example/")], "");
    let error = hear_error(ProviderKind::OpenAi, reply).await;
    assert!(error.message.contains("base URL"), "{error}");
}

#[tokio::test]
async fn bytes_that_are_no_http_are_a_connection_error() {
    let error =
        hear_error(ProviderKind::OpenAi, Reply::raw("SSH-2.0-OpenSSH_9.0\r\n").close()).await;
    assert_eq!(error.kind, Connection);
}
