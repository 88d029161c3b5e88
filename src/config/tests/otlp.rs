//! Where traces go, by the standard's variables and by our own.

use super::*;

#[test]
fn without_a_collector_nothing_is_exported() {
    assert!(env(&[("OTEL_SERVICE_NAME", "mine")]).otlp().is_none());
    let disabled =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_SDK_DISABLED", "true")];
    assert!(env(&disabled).otlp().is_none());
}

#[test]
fn the_standards_variables_are_honoured_and_ours_come_first() {
    let standard = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20key, x-team=search"),
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod"),
        ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY"),
    ];
    let otlp = env(&standard).otlp().unwrap();
    assert_eq!(otlp.traces_url, "http://c:4318/v1/traces");
    let headers: Vec<_> =
        otlp.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("authorization", "Bearer key"), ("x-team", "search")]);
    assert_eq!(otlp.service_name, "mine");
    let attribute = ("deployment.environment.name".to_owned(), "prod".to_owned());
    assert_eq!(otlp.resource_attributes, [attribute]);
    assert!(otlp.content);

    let ours = [standard[0], ("RETOLD_OTLP_ENDPOINT", "http://ours")];
    assert_eq!(env(&ours).otlp().unwrap().traces_url, "http://ours/v1/traces");
    let whole = [standard[0], ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/x")];
    assert_eq!(env(&whole).otlp().unwrap().traces_url, "http://c/x");
    assert!(!env(&ours).otlp().unwrap().content, "only by opting in");
}

#[test]
fn what_is_no_list_of_headers_is_refused_without_being_shown() {
    for bad in ["secret", "=secret", "a b=secret", "a=%zz", "a=%0asecret"] {
        let said = refusal(&[], &[("OTEL_EXPORTER_OTLP_HEADERS", bad)], "");
        assert!(said.contains("OTEL_EXPORTER_OTLP_HEADERS") && !said.contains("secret"), "{said}");
    }
}

#[test]
fn a_protocol_that_is_not_spoken_is_noted() {
    let variables = [
        ("LETTA_OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    let notes = env(&variables).notes;
    assert!(
        notes.len() == 2 && notes[0].contains("grpc") && notes[1].contains("4318"),
        "{notes:?}"
    );
}
