//! Every setting from every origin, the data directory, and what is said and never said.

mod file;
mod otlp;
mod password;
mod provider;

use std::{collections::BTreeSet, fs};

use tempfile::TempDir;

use super::*;

/// Reads a configuration from flags (by key), variables and the text of a `retold.toml`.
fn load(flags: &[(&str, &str)], env: &[(&str, &str)], file: &str) -> Result<Config, ConfigError> {
    let directory = TempDir::new().unwrap();
    if !file.is_empty() {
        fs::write(directory.path().join("retold.toml"), file).unwrap();
    }
    load_in(&directory, flags, env)
}

fn load_in(
    directory: &TempDir,
    flags: &[(&str, &str)],
    env: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let mut given = Flags::default();
    for (key, value) in flags {
        given.set(SETTINGS.iter().find(|setting| setting.key == *key).unwrap(), *value);
    }
    Config::load(&Inputs {
        flags: given,
        environment: [("HOME", "/home/ada")].iter().chain(env).copied().collect(),
        directory: directory.path().to_owned(),
        generated_password: "made-up".to_owned(),
    })
}

fn env(pairs: &[(&str, &str)]) -> Config {
    load(&[], pairs, "").unwrap()
}

fn refusal(flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str) -> String {
    load(flags, variables, file).unwrap_err().to_string()
}

fn entry(config: &Config, key: &str) -> (String, Origin) {
    let entry = config.entries().into_iter().find(|entry| entry.key == key).unwrap();
    (entry.value.text(), entry.origin)
}

/// Key; text of a flag or variable; TOML of the file; how each is shown; the default as shown.
const SAMPLES: &[(&str, &str, &str, &str, &str, &str)] = &[
    ("host", "::1", "'localhost'", "::1", "127.0.0.1", "127.0.0.1"),
    ("port", "9000", "9001", "9000", "9001", "8283"),
    ("data_dir", "/a", "'/b'", "/a", "/b", "/home/ada/.local/share/retold"),
    ("url", "http://a:1/", "'https://b'", "http://a:1", "https://b", "(unset)"),
    ("password", "secret one", "'secret two'", "(hidden)", "(hidden)", "(unset)"),
    ("secure", "true", "true", "true", "true", "false"),
    ("insecure", "true", "", "true", "", "false"),
    ("encryption_key", "any text", "", "(hidden)", "", "(unset)"),
    (
        "cors_origins",
        "http://a, http://b/",
        "['http://c']",
        "http://a,http://b",
        "http://c",
        "(none)",
    ),
    (
        "egress_allow",
        "10.0.0.0/8, MCP.corp:8080,",
        "['::1', '*']",
        "10.0.0.0/8,mcp.corp:8080",
        "::1,*",
        "(none)",
    ),
    ("default_model", "openai/gpt-4o", "'a/b/c'", "openai/gpt-4o", "a/b/c", "(unset)"),
    ("default_embedding", "a/b", "'c/d'", "a/b", "c/d", "(unset)"),
    ("llm_request_timeout", "5", "1.5", "5s", "1500ms", "60s"),
    ("llm_stream_timeout", "2m", "'90s'", "120s", "90s", "600s"),
    ("max_body_bytes", "1MiB", "2048", "1MiB", "2KiB", "16MiB"),
    ("bodies_bytes", "1MiB", "2048", "1MiB", "2KiB", "256MiB"),
    ("max_connections", "1", "2", "1", "2", "10000"),
    ("header_timeout", "1", "2", "1s", "2s", "10s"),
    ("body_timeout", "1", "2", "1s", "2s", "30s"),
    ("idle_timeout", "1", "2", "1s", "2s", "75s"),
    ("stall_timeout", "7", "'8s'", "7s", "8s", "30s"),
    ("keepalive_interval", "0.5", "'250ms'", "500ms", "250ms", "20s"),
    ("agent_queue", "1", "2", "1", "2", "32"),
    ("max_open_runs", "1", "2", "1", "2", "4096"),
    ("awake_bytes", "1gib", "'1 MB'", "1GiB", "1000000", "128MiB"),
    ("cache_bytes", "8MiB", "1", "8MiB", "1", "64MiB"),
    ("reserve_bytes", "8MiB", "1", "8MiB", "1", "(unset)"),
    ("tool_timeout", "7", "'8s'", "7s", "8s", "180s"),
    ("tool_concurrency", "1", "2", "1", "2", "8"),
    ("tool_network", "true", "true", "true", "true", "false"),
    ("tool_uncaged", "true", "true", "true", "true", "false"),
    ("mcp_stdio", "true", "true", "true", "true", "false"),
    ("mcp_timeout", "7", "'8s'", "7s", "8s", "30s"),
    ("approval_timeout", "7", "'8s'", "7s", "8s", "604800s"),
    ("drain_deadline", "0", "3", "0s", "3s", "10s"),
    (
        "otlp_endpoint",
        "http://c:4318/",
        "'http://d:4318'",
        "http://c:4318",
        "http://d:4318",
        "(unset)",
    ),
    ("otlp_traces_endpoint", "http://c/x", "'http://d/y'", "http://c/x", "http://d/y", "(unset)"),
    ("otlp_headers", "a=b", "'c=d'", "(hidden)", "(hidden)", "(unset)"),
    ("otlp_content", "true", "true", "true", "true", "false"),
    ("otel_service_name", "one", "'two'", "one", "two", "retold"),
    ("otel_resource_attributes", "a=b, c=d%20e", "'f=g'", "a=b,c=d e", "f=g", "(none)"),
    ("otel_disabled", "true", "true", "true", "true", "false"),
    ("log", "DEBUG", "'info,retold_actors=debug'", "debug", "info,retold_actors=debug", "info"),
];

#[test]
fn every_setting_obeys_flag_then_environment_then_file_then_default() {
    for &(key, text, toml, shown_text, shown_toml, default) in SAMPLES {
        let setting = SETTINGS.iter().find(|setting| setting.key == key).unwrap();
        let file = if setting.in_file { format!("{key} = {toml}") } else { String::new() };
        assert_eq!(
            entry(&env(&[]), key),
            (default.to_owned(), Origin::Default),
            "{key} by default"
        );
        if setting.in_file {
            let (shown, origin) = entry(&load(&[], &[], &file).unwrap(), key);
            assert_eq!(shown, shown_toml, "{key} from the file");
            assert!(matches!(origin, Origin::File(_)), "{key}: {origin:?}");
        }
        for name in setting.env {
            let from_env = load(&[], &[(name, text)], &file).unwrap();
            assert_eq!(
                entry(&from_env, key),
                (shown_text.to_owned(), Origin::Env((*name).to_owned())),
                "{name}"
            );
        }
        if let Some(flag) = setting.flag {
            let variables: Vec<_> =
                setting.env.iter().map(|name| (*name, toml.trim_matches('\''))).collect();
            let variables = if toml.starts_with('[') { vec![] } else { variables };
            let from_flag = load(&[(key, text)], &variables, &file).unwrap();
            assert_eq!(
                entry(&from_flag, key),
                (shown_text.to_owned(), Origin::Flag(flag)),
                "--{flag}"
            );
        }
    }
}

#[test]
fn the_samples_and_the_shown_entries_cover_the_whole_table() {
    let table: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.key).collect();
    let sampled: BTreeSet<_> =
        SAMPLES.iter().map(|sample| sample.0).chain(["config", "password_file"]).collect();
    let shown: BTreeSet<_> =
        env(&[]).entries().iter().map(|entry| entry.key).chain(["password_file"]).collect();
    assert_eq!(table, sampled);
    assert_eq!(table, shown);
}

#[test]
fn our_own_variable_wins_over_lettas() {
    for setting in SETTINGS.iter().filter(|setting| setting.env.len() > 1) {
        assert!(setting.env[0].starts_with("RETOLD_"), "{}", setting.key);
    }
    let config =
        env(&[("LETTA_DEFAULT_LLM_HANDLE", "a/letta"), ("RETOLD_DEFAULT_MODEL", "a/retold")]);
    assert_eq!(config.default_model.unwrap().value, "a/retold");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let config = env(&[
        ("RETOLD_PORT", ""),
        ("OPENAI_API_KEY", ""),
        ("LETTA_SERVER_PASSWORD", ""),
        ("LETTA_PG_URI", ""),
    ]);
    assert_eq!(config.port, Sourced::default_of(8283));
    assert!(config.providers.is_empty() && config.password.is_none() && config.notes.is_empty());
}

#[test]
fn the_defaults_need_no_environment() {
    let config = Config::with_defaults("/somewhere");
    assert_eq!(config.address().to_string(), "127.0.0.1:8283");
    assert_eq!(config.data_dir.value, Path::new("/somewhere"));
    assert!(config.check_exposure().is_ok());
}

#[test]
fn every_setting_is_in_the_documentation() {
    let table = markdown();
    for setting in SETTINGS {
        assert!(!setting.help.is_empty() && setting.help.ends_with('.'), "{}", setting.key);
        assert!(table.contains(setting.help), "{}", setting.key);
    }
}

#[test]
fn letta_s_variable_for_programs_of_mcp_says_the_opposite() {
    for (given, on) in [("true", "false"), ("false", "true"), ("0", "true")] {
        let config = env(&[("MCP_DISABLE_STDIO", given)]);
        let origin = Origin::Env("MCP_DISABLE_STDIO".to_owned());
        assert_eq!(entry(&config, "mcp_stdio"), (on.to_owned(), origin), "{given}");
    }
    let config = env(&[("MCP_DISABLE_STDIO", "true"), ("RETOLD_MCP_STDIO", "true")]);
    assert!(config.mcp_stdio.value, "our own variable is nearer");
}

#[test]
fn programs_of_mcp_get_little_of_the_environment() {
    let config = env(&[("PATH", "/bin"), ("OPENAI_API_KEY", "secret"), ("HOME", "/h")]);
    let names: Vec<&str> = config.mcp_environment.keys().map(String::as_str).collect();
    assert_eq!(names, ["HOME", "PATH"]);
}

#[test]
fn letta_dir_is_shared_with_letta() {
    let config = env(&[("LETTA_DIR", "/letta"), ("XDG_DATA_HOME", "/xdg")]);
    assert_eq!(
        entry(&config, "data_dir"),
        ("/letta/retold".to_owned(), Origin::Env("LETTA_DIR".to_owned()))
    );
}

#[test]
fn xdg_data_home_comes_before_home_and_must_be_absolute() {
    assert_eq!(env(&[("XDG_DATA_HOME", "/xdg")]).data_dir.value, Path::new("/xdg/retold"));
    assert_eq!(
        env(&[("XDG_DATA_HOME", "xdg")]).data_dir.value,
        Path::new("/home/ada/.local/share/retold")
    );
    assert!(refusal(&[], &[("HOME", "")], "").contains("give --data-dir"));
}

#[test]
fn lettas_databases_get_one_friendly_line() {
    let config = env(&[("LETTA_PG_URI", "postgres://u:pw@h/d"), ("LETTA_REDIS_HOST", "redis")]);
    assert_eq!(
        config.notes,
        ["LETTA_PG_URI, LETTA_REDIS_HOST are not needed: everything is kept in the data directory"]
    );
}

#[test]
fn a_mistyped_variable_is_noted() {
    let config = env(&[("RETOLD_PROT", "1")]);
    assert_eq!(
        config.notes,
        ["the variable RETOLD_PROT means nothing here; did you mean `RETOLD_PORT`?"]
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_an_error() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};
    let environment = Environment::from_iter([("RETOLD_PORT", OsString::from_vec(vec![0xff]))]);
    assert_eq!(
        environment.get("RETOLD_PORT").unwrap_err().to_string(),
        "the variable RETOLD_PORT is not valid UTF-8"
    );
}

#[test]
fn no_secret_is_ever_shown() {
    let variables = [
        ("RETOLD_PASSWORD", "pass-secret"),
        ("OPENAI_API_KEY", "key-secret"),
        ("OPENAI_BASE_URL", "http://user:url-secret@h/v1"),
        ("RETOLD_URL", "http://user:other-secret@h"),
    ];
    let config = env(&variables);
    let json = config.to_json();
    for shown in [config.to_text(), json.to_string()] {
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("OPENAI_API_KEY") && shown.contains("RETOLD_PASSWORD"), "{shown}");
    }
    assert_eq!(json["settings"]["port"], serde_json::json!({ "value": 8283, "origin": "default" }));
    assert!(!format!("{:?}", config.password).contains("pass-secret"));
    assert!(!refusal(&[], &[("OPENAI_BASE_URL", "ftp://u:url-secret@h")], "").contains("secret@"));
}
