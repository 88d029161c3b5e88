//! Every setting from every origin, the Letta names, and what is refused.

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

fn load_in(directory: &TempDir, flags: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Config, ConfigError> {
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
    ("cors_origins", "http://a, http://b/", "['http://c']", "http://a,http://b", "http://c", "(none)"),
    ("default_model", "openai/gpt-4o", "'a/b/c'", "openai/gpt-4o", "a/b/c", "(unset)"),
    ("default_embedding", "a/b", "'c/d'", "a/b", "c/d", "(unset)"),
    ("llm_request_timeout", "5", "1.5", "5s", "1500ms", "60s"),
    ("llm_stream_timeout", "2m", "'90s'", "120s", "90s", "600s"),
    ("max_body_bytes", "1MiB", "2048", "1MiB", "2KiB", "16MiB"),
    ("header_timeout", "1", "2", "1s", "2s", "10s"),
    ("body_timeout", "1", "2", "1s", "2s", "30s"),
    ("idle_timeout", "1", "2", "1s", "2s", "75s"),
    ("keepalive_interval", "0.5", "'250ms'", "500ms", "250ms", "20s"),
    ("agent_queue", "1", "2", "1", "2", "32"),
    ("max_open_runs", "1", "2", "1", "2", "4096"),
    ("awake_bytes", "1gib", "'1 MB'", "1GiB", "1000000", "128MiB"),
    ("cache_bytes", "8MiB", "1", "8MiB", "1", "64MiB"),
    ("reserve_bytes", "8MiB", "1", "8MiB", "1", "(unset)"),
    ("drain_deadline", "0", "3", "0s", "3s", "10s"),
    ("log", "DEBUG", "'info,retold_actors=debug'", "debug", "info,retold_actors=debug", "info"),
];

#[test]
fn every_setting_obeys_flag_then_environment_then_file_then_default() {
    for &(key, text, toml, shown_text, shown_toml, default) in SAMPLES {
        let setting = SETTINGS.iter().find(|setting| setting.key == key).unwrap();
        let file = if setting.in_file { format!("{key} = {toml}") } else { String::new() };
        assert_eq!(entry(&env(&[]), key), (default.to_owned(), Origin::Default), "{key} by default");
        if setting.in_file {
            let (shown, origin) = entry(&load(&[], &[], &file).unwrap(), key);
            assert_eq!(shown, shown_toml, "{key} from the file");
            assert!(matches!(origin, Origin::File(_)), "{key}: {origin:?}");
        }
        for name in setting.env {
            let from_env = load(&[], &[(name, text)], &file).unwrap();
            assert_eq!(entry(&from_env, key), (shown_text.to_owned(), Origin::Env((*name).to_owned())), "{name}");
        }
        if let Some(flag) = setting.flag {
            let variables: Vec<_> = setting.env.iter().map(|name| (*name, toml.trim_matches('\''))).collect();
            let variables = if toml.starts_with('[') { vec![] } else { variables };
            let from_flag = load(&[(key, text)], &variables, &file).unwrap();
            assert_eq!(entry(&from_flag, key), (shown_text.to_owned(), Origin::Flag(flag)), "--{flag}");
        }
    }
}

#[test]
fn the_samples_and_the_shown_entries_cover_the_whole_table() {
    let table: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.key).collect();
    let sampled: BTreeSet<_> = SAMPLES.iter().map(|sample| sample.0).chain(["config", "password_file"]).collect();
    let shown: BTreeSet<_> = env(&[]).entries().iter().map(|entry| entry.key).chain(["password_file"]).collect();
    assert_eq!(table, sampled);
    assert_eq!(table, shown);
}

#[test]
fn our_own_variable_wins_over_lettas() {
    for setting in SETTINGS.iter().filter(|setting| setting.env.len() > 1) {
        assert!(setting.env[0].starts_with("RETOLD_"), "{}", setting.key);
    }
    let config = env(&[("LETTA_DEFAULT_LLM_HANDLE", "a/letta"), ("RETOLD_DEFAULT_MODEL", "a/retold")]);
    assert_eq!(config.default_model.unwrap().value, "a/retold");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let config = env(&[("RETOLD_PORT", ""), ("OPENAI_API_KEY", ""), ("LETTA_SERVER_PASSWORD", ""), ("LETTA_PG_URI", "")]);
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

// The file.

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    assert_eq!(refusal(&[], &[], "prot = 1"), "unknown key `prot` in retold.toml; did you mean `port`?");
    assert_eq!(refusal(&[], &[], "data-dir = 'x'"), "unknown key `data-dir` in retold.toml; did you mean `data_dir`?");
    assert_eq!(refusal(&[], &[], "[provider.openai]"), "unknown key `provider` in retold.toml; did you mean `providers`?");
    assert_eq!(refusal(&[], &[], "frobnicate = 1"), "unknown key `frobnicate` in retold.toml");
}

#[test]
fn an_unknown_key_of_a_provider_is_an_error_too() {
    let file = "[providers.openai]\nbase_ulr = 'http://x'";
    let expected = "unknown key `providers.openai.base_ulr` in retold.toml; did you mean `base_url`?";
    assert_eq!(refusal(&[], &[], file), expected);
}

#[test]
fn a_key_that_is_only_a_flag_says_so() {
    assert_eq!(refusal(&[], &[], "insecure = true"), "`insecure` cannot be set in retold.toml; give the flag --insecure");
}

#[test]
fn wrong_types_and_ranges_are_errors_that_say_what_would_be_right() {
    let cases = [
        ("port = true", "`port` in retold.toml is true, but must be a port number from 0 to 65535"),
        ("port = '8283'", "`port` in retold.toml is \"8283\", but must be a port number from 0 to 65535"),
        ("port = 70000", "`port` in retold.toml is 70000, but must be a port number from 0 to 65535"),
        ("secure = 'yes'", "`secure` in retold.toml is \"yes\", but must be true or false"),
        ("agent_queue = 0", "`agent_queue` in retold.toml is 0, but must be a whole number from 1 to 1000000"),
        ("password = 7", "`password` in retold.toml is a integer that does not fit, but must be text that is not empty"),
    ];
    for (file, expected) in cases {
        assert_eq!(refusal(&[], &[], file), expected);
    }
    for file in ["header_timeout = 0", "max_body_bytes = -1", "cors_origins = ['example.com']", "log = 'inof'", "host = 5"] {
        assert!(refusal(&[], &[], file).contains(", but must be "), "{file}");
    }
    assert!(refusal(&[("port", "x")], &[], "").starts_with("--port is `x`, but must be"));
    assert!(refusal(&[], &[("RETOLD_PORT", "x")], "").starts_with("RETOLD_PORT is `x`, but must be"));
    assert!(refusal(&[], &[("RETOLD_HEADER_TIMEOUT", "1e300")], "").contains("must be"));
    assert!(refusal(&[], &[("RETOLD_MAX_BODY_BYTES", "99999999999GiB")], "").contains("must be"));
}

#[test]
fn a_file_that_is_not_toml_is_named_with_the_line() {
    let message = refusal(&[], &[], "port = \n");
    assert!(message.starts_with("retold.toml is not valid TOML: ") && message.contains("line 1"), "{message}");
}

#[test]
fn a_named_file_must_exist_and_the_usual_one_need_not() {
    assert!(load(&[], &[], "").is_ok());
    assert_eq!(refusal(&[("config", "other.toml")], &[], ""), "cannot read other.toml");
}

#[test]
fn the_flag_names_the_file_before_the_variable_does() {
    let directory = TempDir::new().unwrap();
    for (name, port) in [("a.toml", 1), ("b.toml", 2), ("retold.toml", 3)] {
        fs::write(directory.path().join(name), format!("port = {port}")).unwrap();
    }
    let by_flag = load_in(&directory, &[("config", "a.toml")], &[("RETOLD_CONFIG", "b.toml")]).unwrap();
    assert_eq!((by_flag.port.value, by_flag.file.unwrap().origin), (1, Origin::Flag("config")));
    let by_variable = load_in(&directory, &[], &[("RETOLD_CONFIG", "b.toml")]).unwrap();
    assert_eq!((by_variable.port.value, by_variable.file.unwrap().origin), (2, Origin::Env("RETOLD_CONFIG".to_owned())));
    assert_eq!(load_in(&directory, &[], &[]).unwrap().port.value, 3);
}

#[test]
fn paths_of_the_file_are_taken_from_its_own_directory() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("conf.toml");
    fs::write(&path, "data_dir = 'data'").unwrap();
    let config = load_in(&directory, &[("config", path.to_str().unwrap())], &[]).unwrap();
    assert_eq!(config.data_dir.value, directory.path().join("data"));
}

// The data directory.

#[test]
fn letta_dir_is_shared_with_letta() {
    let config = env(&[("LETTA_DIR", "/letta"), ("XDG_DATA_HOME", "/xdg")]);
    assert_eq!(entry(&config, "data_dir"), ("/letta/retold".to_owned(), Origin::Env("LETTA_DIR".to_owned())));
}

#[test]
fn xdg_data_home_comes_before_home_and_must_be_absolute() {
    assert_eq!(env(&[("XDG_DATA_HOME", "/xdg")]).data_dir.value, Path::new("/xdg/retold"));
    assert_eq!(env(&[("XDG_DATA_HOME", "xdg")]).data_dir.value, Path::new("/home/ada/.local/share/retold"));
    assert!(refusal(&[], &[("HOME", "")], "").contains("give --data-dir"));
}

// The password.

fn password(config: &Config) -> Option<(&str, &Origin)> {
    config.password.as_ref().map(|password| (password.value.expose(), &password.origin))
}

#[test]
fn secure_without_a_password_makes_one_up() {
    for config in [load(&[("secure", "true")], &[], "").unwrap(), env(&[("LETTA_SERVER_SECURE", "true")])] {
        assert_eq!(password(&config), Some(("made-up", &Origin::Generated)));
    }
}

#[test]
fn a_password_of_ours_is_demanded_by_itself() {
    assert_eq!(env(&[("RETOLD_PASSWORD", "p"), ("RETOLD_SECURE", "false")]).password.unwrap().value.expose(), "p");
    assert_eq!(load(&[], &[], "password = 'q'").unwrap().password.unwrap().value.expose(), "q");
}

#[test]
fn lettas_password_is_demanded_unless_secure_is_denied_outright() {
    let name = Origin::Env("LETTA_SERVER_PASSWORD".to_owned());
    let alone = env(&[("LETTA_SERVER_PASSWORD", "p")]);
    assert_eq!(password(&alone), Some(("p", &name)));
    assert!(alone.notes[0].contains("demanded even without"), "{:?}", alone.notes);
    let secure = env(&[("LETTA_SERVER_PASSWORD", "p"), ("LETTA_SERVER_SECURE", "true")]);
    assert_eq!((password(&secure), secure.notes.len()), (Some(("p", &name)), 0));
    let open = env(&[("LETTA_SERVER_PASSWORD", "p"), ("LETTA_SERVER_SECURE", "false")]);
    assert_eq!(password(&open), None);
    assert!(open.notes[0].contains("not demanded"), "{:?}", open.notes);
}

#[test]
fn a_password_file_is_read_and_must_not_be_empty() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("pw");
    fs::write(&path, "from-file\n").unwrap();
    let named = path.to_str().unwrap();
    let by_flag = load(&[("password_file", named)], &[("RETOLD_PASSWORD", "other")], "").unwrap();
    assert_eq!(password(&by_flag), Some(("from-file", &Origin::Flag("password-file"))));
    let by_variable = env(&[("RETOLD_PASSWORD_FILE", named), ("LETTA_SERVER_PASSWORD", "other")]);
    assert_eq!(by_variable.password.unwrap().value.expose(), "from-file");
    let by_file = load(&[], &[], &format!("password_file = '{named}'")).unwrap();
    assert_eq!(by_file.password.unwrap().value.expose(), "from-file");
    assert!(refusal(&[], &[], &format!("password_file = '{named}'\npassword = 'x'")).contains("sets both"));
    fs::write(&path, " \n").unwrap();
    assert!(refusal(&[("password_file", named)], &[], "").ends_with("is empty"));
    assert!(refusal(&[("password_file", "/no/such/file")], &[], "").starts_with("cannot read the password file"));
}

#[test]
fn listening_beyond_loopback_without_a_password_is_refused_with_three_ways_out() {
    let message = load(&[("host", "0.0.0.0")], &[], "").unwrap().check_exposure().unwrap_err().to_string();
    for way in ["0.0.0.0:8283", "RETOLD_PASSWORD", "127.0.0.1", "--insecure"] {
        assert!(message.contains(way), "{message}");
    }
    for ways in [("insecure", "true"), ("secure", "true"), ("host", "::1")] {
        assert!(load(&[("host", "0.0.0.0"), ways], &[], "").unwrap().check_exposure().is_ok(), "{ways:?}");
    }
    assert!(load(&[("host", "0.0.0.0")], &[("RETOLD_PASSWORD", "p")], "").unwrap().check_exposure().is_ok());
    assert!(load(&[("host", "192.168.1.5")], &[], "").unwrap().check_exposure().is_err());
}

#[test]
fn an_embedded_server_is_on_loopback_and_closed() {
    let config = env(&[("RETOLD_HOST", "0.0.0.0")]).embedded(Secret::new("inner"));
    assert_eq!(config.address().to_string(), "127.0.0.1:0");
    assert_eq!(config.password.unwrap().value.expose(), "inner");
}

// Providers.

#[test]
fn each_letta_variable_of_a_provider_is_honoured() {
    let cases = [
        ("OPENAI_API_KEY", "sk-1", "openai", "https://api.openai.com/v1"),
        ("OPENAI_BASE_URL", "http://h:1/v1", "openai", "http://h:1/v1"),
        ("OPENAI_API_BASE", "http://h:1/v1/", "openai", "http://h:1/v1"),
        ("ANTHROPIC_API_KEY", "sk-1", "anthropic", "https://api.anthropic.com/v1"),
        ("ANTHROPIC_BASE_URL", "http://h:2", "anthropic", "http://h:2"),
        ("OLLAMA_BASE_URL", "http://h:3", "ollama", "http://h:3"),
        ("OLLAMA_BASE_URL", "http://h:3/v1", "ollama", "http://h:3/v1"),
        ("VLLM_API_BASE", "http://h:4", "vllm", "http://h:4"),
        ("LMSTUDIO_BASE_URL", "http://h:5", "lmstudio_openai", "http://h:5"),
        ("OPENROUTER_API_KEY", "sk-1", "openrouter", "https://openrouter.ai/api/v1"),
    ];
    for (name, value, provider, base_url) in cases {
        let config = env(&[(name, value)]);
        let [found] = config.providers.as_slice() else { panic!("{name}: {:?}", config.providers) };
        assert_eq!((found.name.as_str(), found.base_url.value.as_str()), (provider, base_url), "{name}");
        assert_eq!(found.origin(), &Origin::Env(name.to_owned()));
        assert_eq!(found.api_key.is_some(), name.ends_with("_KEY"), "{name}");
        assert_eq!(config.provider_configs()[0].base_url, base_url);
    }
    let both = env(&[("OPENAI_BASE_URL", "http://new"), ("OPENAI_API_BASE", "http://old")]);
    assert_eq!(both.providers[0].base_url.value, "http://new");
}

#[test]
fn the_file_configures_providers_and_the_environment_wins() {
    let file = "[providers.openai]\nbase_url = 'http://file'\napi_key = 'key-of-file'\n\
                [providers.groq]\nkind = 'openai'\nbase_url = 'https://api.groq.com/openai/v1'\napi_key_env = 'GROQ_API_KEY'";
    let config = load(&[], &[("OPENAI_API_KEY", "key-of-env"), ("GROQ_API_KEY", "gsk")], file).unwrap();
    let [openai, groq] = config.providers.as_slice() else { panic!("{:?}", config.providers) };
    assert_eq!(openai.api_key.as_ref().unwrap().value.expose(), "key-of-env");
    assert_eq!(openai.base_url.value, "http://file");
    assert_eq!((groq.name.as_str(), groq.api_key.as_ref().unwrap().value.expose()), ("groq", "gsk"));
}

#[test]
fn an_empty_section_of_a_known_provider_configures_it() {
    let config = load(&[], &[], "[providers.lmstudio]").unwrap();
    assert_eq!(config.providers[0].base_url, Sourced::default_of("http://127.0.0.1:1234/v1".to_owned()));
}

#[test]
fn an_unknown_provider_must_say_its_kind() {
    let message = refusal(&[], &[], "[providers.opanai]\napi_key = 'x'");
    assert!(message.starts_with("[providers.opanai] in retold.toml has no `kind`; did you mean `openai`?"), "{message}");
    assert!(refusal(&[], &[], "[providers.x]\nkind = 'foo'").contains("must be one of openai"));
    assert!(refusal(&[], &[], "providers = 3").contains("a section such as"));
    assert!(refusal(&[], &[], "[providers.x]\nkind = 'openai'\nbase_url = 'nohttp'").contains("http://"));
}

#[test]
fn new_agents_rehearse_only_while_no_provider_is_configured() {
    assert_eq!(env(&[]).model_of_new_agents(), Some("retold/rehearsal"));
    assert_eq!(env(&[("OPENAI_API_KEY", "k")]).model_of_new_agents(), None);
    let chosen = env(&[("OPENAI_API_KEY", "k"), ("LETTA_DEFAULT_LLM_HANDLE", "openai/x")]);
    assert_eq!(chosen.model_of_new_agents(), Some("openai/x"));
}

// What is said about the rest of the environment.

#[test]
fn lettas_databases_get_one_friendly_line() {
    let config = env(&[("LETTA_PG_URI", "postgres://u:pw@h/d"), ("LETTA_REDIS_HOST", "redis")]);
    assert_eq!(config.notes, ["LETTA_PG_URI, LETTA_REDIS_HOST are not needed: everything is kept in the data directory"]);
}

#[test]
fn a_mistyped_variable_is_noted() {
    let config = env(&[("RETOLD_PROT", "1")]);
    assert_eq!(config.notes, ["the variable RETOLD_PROT means nothing here; did you mean `RETOLD_PORT`?"]);
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_an_error() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};
    let environment = Environment::from_iter([("RETOLD_PORT", OsString::from_vec(vec![0xff]))]);
    assert_eq!(environment.get("RETOLD_PORT").unwrap_err().to_string(), "the variable RETOLD_PORT is not valid UTF-8");
}

// Secrets.

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
