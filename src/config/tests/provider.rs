//! Providers from Letta's variables and from the file.

use super::*;

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
        assert_eq!(
            (found.name.as_str(), found.base_url.value.as_str()),
            (provider, base_url),
            "{name}"
        );
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
    let config =
        load(&[], &[("OPENAI_API_KEY", "key-of-env"), ("GROQ_API_KEY", "gsk")], file).unwrap();
    let [openai, groq] = config.providers.as_slice() else { panic!("{:?}", config.providers) };
    assert_eq!(openai.api_key.as_ref().unwrap().value.expose(), "key-of-env");
    assert_eq!(openai.base_url.value, "http://file");
    assert_eq!(
        (groq.name.as_str(), groq.api_key.as_ref().unwrap().value.expose()),
        ("groq", "gsk")
    );
}

#[test]
fn an_empty_section_of_a_known_provider_configures_it() {
    let config = load(&[], &[], "[providers.lmstudio]").unwrap();
    assert_eq!(
        config.providers[0].base_url,
        Sourced::default_of("http://127.0.0.1:1234/v1".to_owned())
    );
}

#[test]
fn an_unknown_provider_must_say_its_kind() {
    let message = refusal(&[], &[], "[providers.opanai]\napi_key = 'x'");
    assert!(
        message
            .starts_with("[providers.opanai] in retold.toml has no `kind`; did you mean `openai`?"),
        "{message}"
    );
    assert!(refusal(&[], &[], "[providers.x]\nkind = 'foo'").contains("must be one of openai"));
    assert!(refusal(&[], &[], "providers = 3").contains("a section such as"));
    assert!(
        refusal(&[], &[], "[providers.x]\nkind = 'openai'\nbase_url = 'nohttp'")
            .contains("http://")
    );
}

#[test]
fn new_agents_rehearse_only_while_no_provider_is_configured() {
    assert_eq!(env(&[]).model_of_new_agents(), Some("retold/rehearsal"));
    assert_eq!(env(&[("OPENAI_API_KEY", "k")]).model_of_new_agents(), None);
    let chosen = env(&[("OPENAI_API_KEY", "k"), ("LETTA_DEFAULT_LLM_HANDLE", "openai/x")]);
    assert_eq!(chosen.model_of_new_agents(), Some("openai/x"));
}
