//! Discovery against scripted providers, and how handles become models.

use std::{sync::Arc, time::Duration};

use crate::{
    Catalog, ModelInfo, ProviderConfig, ProviderKind, REHEARSAL_HANDLE, ResolveError, Secret,
    harness::{KEY, SHORT, collect, text, upstream, user},
    testing::{Reply, Say, ScriptedModel, ScriptedUpstream, model_info, prompt},
};

fn catalog(providers: &[(ProviderKind, &ScriptedUpstream)]) -> Catalog {
    let configs = providers
        .iter()
        .map(|&(kind, upstream)| {
            ProviderConfig::new(kind, upstream.base_url(), Some(Secret::new(KEY)))
        })
        .collect();
    Catalog::new(configs, SHORT)
}

async fn listed(kind: ProviderKind, routes: &[(&str, Reply)]) -> Catalog {
    let upstream = upstream([]).await;
    for (path, reply) in routes {
        upstream.route(path, reply.clone());
    }
    let catalog = catalog(&[(kind, &upstream)]);
    catalog.refresh().await;
    catalog
}

fn info(catalog: &Catalog, handle: &str) -> ModelInfo {
    catalog
        .models()
        .iter()
        .find(|info| info.handle == handle)
        .unwrap_or_else(|| panic!("{:?}", catalog.models()))
        .clone()
}

fn handles(catalog: &Catalog) -> Vec<String> {
    catalog.models().iter().map(|info| info.handle.clone()).collect()
}

#[tokio::test]
async fn a_catalog_without_providers_has_the_rehearsal_model() {
    let catalog = Catalog::new(vec![], SHORT);
    assert_eq!(handles(&catalog), [REHEARSAL_HANDLE]);
    assert!(catalog.resolve(REHEARSAL_HANDLE).is_ok() && catalog.embeddings().is_empty());
}

#[tokio::test]
async fn openai_like_listings_are_split_into_chat_and_embedding_models() {
    let body = r#"{"data":[{"id":"Qwen/Qwen3-8B","max_model_len":4096},{"id":"text-embedding-3-large"},{"id":"gpt-4o"},{"no":"id"}]}"#;
    let catalog = listed(ProviderKind::Vllm, &[("/v1/models", Reply::json(200, body))]).await;
    let qwen = info(&catalog, "vllm/Qwen/Qwen3-8B");
    assert_eq!(
        (qwen.context_window, qwen.provider_type, qwen.endpoint_type),
        (4096, "vllm", "vllm")
    );
    assert_eq!(info(&catalog, "vllm/gpt-4o").context_window, 128_000);
    let embeddings = catalog.embeddings();
    assert_eq!(
        (embeddings.len(), embeddings[0].handle.as_str(), embeddings[0].dim),
        (1, "vllm/text-embedding-3-large", 3072)
    );
    assert_eq!(catalog.status()[0].models, Some(3));
}

#[tokio::test]
async fn openrouter_says_windows_limits_and_pictures() {
    let body = r#"{"data":[{"id":"a/b","context_length":1000000,"top_provider":{"max_completion_tokens":5000},"architecture":{"input_modalities":["text","image"]},"supported_parameters":["tools","reasoning"]}]}"#;
    let model = info(
        &listed(ProviderKind::OpenRouter, &[("/v1/models", Reply::json(200, body))]).await,
        "openrouter/a/b",
    );
    assert_eq!((model.context_window, model.max_output_tokens), (1_000_000, Some(5000)));
    assert!(model.supports_images && model.native_reasoning);
}

#[tokio::test]
async fn ollama_is_listed_natively_and_asked_for_each_window() {
    let tags = r#"{"models":[{"name":"llama3:8b","model":"llama3:8b"}]}"#;
    let show = r#"{"model_info":{"llama.context_length":32768,"llama.embedding_length":4096},"capabilities":["completion","tools","vision"]}"#;
    let catalog = listed(
        ProviderKind::Ollama,
        &[("/api/tags", Reply::json(200, tags)), ("/api/show", Reply::json(200, show))],
    )
    .await;
    let llama = info(&catalog, "ollama/llama3:8b");
    assert_eq!((llama.context_window, llama.supports_images), (32_768, true));
    let set =
        r#"{"parameters":"stop \"x\"\nnum_ctx 2048","model_info":{"llama.context_length":32768}}"#;
    let catalog = listed(
        ProviderKind::Ollama,
        &[("/api/tags", Reply::json(200, tags)), ("/api/show", Reply::json(200, set))],
    )
    .await;
    assert_eq!(
        info(&catalog, "ollama/llama3:8b").context_window,
        2048,
        "what the model file sets wins"
    );
    let catalog = listed(ProviderKind::Ollama, &[("/api/tags", Reply::json(200, tags))]).await;
    assert_eq!(
        info(&catalog, "ollama/llama3:8b").context_window,
        8192,
        "a guess for local models is low"
    );
    let embeds = r#"{"model_info":{"bert.embedding_length":768},"capabilities":["embedding"]}"#;
    let catalog = listed(
        ProviderKind::Ollama,
        &[("/api/tags", Reply::json(200, tags)), ("/api/show", Reply::json(200, embeds))],
    )
    .await;
    assert_eq!(catalog.embeddings()[0].dim, 768);
    let none =
        listed(ProviderKind::Ollama, &[("/api/tags", Reply::json(200, r#"{"models":null}"#))])
            .await;
    assert_eq!(none.status()[0].models, Some(0));
}

#[tokio::test]
async fn lm_studio_is_listed_natively_or_else_in_the_common_way() {
    let native = r#"{"data":[{"id":"m","type":"vlm","max_context_length":40000,"loaded_context_length":5000},{"id":"e","type":"embeddings"}]}"#;
    let catalog =
        listed(ProviderKind::LmStudio, &[("/api/v0/models", Reply::json(200, native))]).await;
    let model = info(&catalog, "lmstudio_openai/m");
    assert_eq!((model.context_window, model.supports_images), (5000, true));
    assert_eq!(catalog.embeddings()[0].endpoint_type, "lmstudio");
    let common = listed(
        ProviderKind::LmStudio,
        &[
            ("/api/v0/models", Reply::json(404, "{}")),
            ("/v1/models", Reply::json(200, r#"{"data":[{"id":"m"}]}"#)),
        ],
    )
    .await;
    assert_eq!(info(&common, "lmstudio_openai/m").context_window, 8192);
}

#[tokio::test]
async fn anthropic_is_listed_and_known_models_stand_in_where_listing_is_refused() {
    let body = r#"{"data":[{"type":"model","id":"claude-sonnet-4-5-20250929","display_name":"x"}],"has_more":false}"#;
    let catalog =
        listed(ProviderKind::Anthropic, &[("/v1/models?limit=1000", Reply::json(200, body))]).await;
    let claude = info(&catalog, "anthropic/claude-sonnet-4-5-20250929");
    assert_eq!(
        (claude.context_window, claude.max_output_tokens, claude.native_reasoning),
        (200_000, Some(64_000), true)
    );
    let refused =
        listed(ProviderKind::Anthropic, &[("/v1/models?limit=1000", Reply::json(404, "{}"))]).await;
    assert!(handles(&refused).len() > 3 && refused.status()[0].error.is_none());
    let locked =
        listed(ProviderKind::Anthropic, &[("/v1/models?limit=1000", Reply::json(401, "{}"))]).await;
    assert!(
        locked.status()[0].error.as_ref().is_some_and(|error| error.contains("ANTHROPIC_API_KEY"))
    );
}

#[tokio::test]
async fn a_provider_that_fails_keeps_its_last_list_and_its_error_is_told() {
    let upstream =
        upstream([Reply::json(200, r#"{"data":[{"id":"m"}]}"#), Reply::json(500, KEY)]).await;
    let catalog = catalog(&[(ProviderKind::Vllm, &upstream)]);
    catalog.refresh().await;
    assert_eq!((catalog.status()[0].models, catalog.status()[0].error.clone()), (Some(1), None));
    catalog.refresh().await;
    let status = &catalog.status()[0];
    assert!(status.models == Some(1) && status.error.is_some());
    assert!(!format!("{status:?} {catalog:?}").contains(KEY));
    assert!(catalog.resolve("vllm/m").is_ok());
}

#[tokio::test]
async fn a_listing_that_is_too_long_or_no_listing_is_an_error() {
    let flood = Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .flood([b' '; 65536], 64 << 20);
    for reply in [
        flood,
        Reply::whole(200, "text/html", "<p>hi</p>"),
        Reply::json(200, "{}"),
        Reply::json(200, "[]7"),
    ] {
        let catalog = listed(ProviderKind::Vllm, &[("/v1/models", reply)]).await;
        assert!(catalog.status()[0].error.is_some() && catalog.status()[0].models.is_none());
    }
}

#[tokio::test]
async fn a_handle_resolves_to_a_model_that_calls_its_provider() {
    let upstream = upstream([]).await;
    upstream.route("/v1/models", Reply::json(200, r#"{"data":[{"id":"a/m"}]}"#));
    upstream.route(
        "/v1/chat/completions",
        Reply::stream(&[
            r#"{"choices":[{"delta":{"content":"hello"},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ]),
    );
    let catalog = catalog(&[(ProviderKind::Vllm, &upstream)]);
    catalog.refresh().await;
    for handle in ["vllm/a/m", "a/m"] {
        let (model, info) = catalog.resolve(handle).unwrap();
        assert_eq!(info.handle, "vllm/a/m", "a bare name that only one provider has is enough");
        let (chunks, _) = collect(model.stream(&prompt("", vec![user("hi")]))).await;
        assert_eq!(text(&chunks), "hello");
    }
    assert_eq!(upstream.requests().last().unwrap().json()["model"], "a/m");
}

#[tokio::test]
async fn a_handle_that_leads_nowhere_says_what_there_is() {
    let body = r#"{"data":[{"id":"gpt-4o"},{"id":"gpt-4o-mini"},{"id":"other"}]}"#;
    let (one, two) = (upstream([]).await, upstream([]).await);
    one.route("/v1/models", Reply::json(200, body));
    two.route("/v1/models", Reply::json(200, body));
    let catalog = catalog(&[(ProviderKind::OpenAi, &one), (ProviderKind::Vllm, &two)]);
    catalog.refresh().await;
    let error = |handle: &str| catalog.resolve(handle).unwrap_err();
    let unknown = error("openai/gpt-4-o");
    assert!(
        matches!(&unknown, ResolveError::UnknownModel { nearest, .. } if nearest[0] == "openai/gpt-4o"),
        "{unknown:?}"
    );
    let expected = ResolveError::UnknownProvider {
        handle: "acme/x".to_owned(),
        provider: "acme".to_owned(),
        known: vec!["openai".to_owned(), "vllm".to_owned(), "retold".to_owned()],
    };
    assert_eq!(error("acme/x"), expected);
    let matches = vec!["openai/gpt-4o".to_owned(), "vllm/gpt-4o".to_owned()];
    assert_eq!(error("gpt-4o"), ResolveError::BadForm { handle: "gpt-4o".to_owned(), matches });
    for handle in ["", "/", "openai/", "nothing", "retold/other"] {
        assert!(!error(handle).to_string().is_empty());
    }
    assert!(error("openai/gpt-4-o").to_string().contains("did you mean openai/gpt-4o"));
}

#[tokio::test]
async fn a_provider_that_never_gave_a_list_takes_any_name_with_a_default_window() {
    let upstream = upstream([]).await; // answers 500 to everything
    let catalog = catalog(&[(ProviderKind::OpenAi, &upstream), (ProviderKind::Ollama, &upstream)]);
    for refreshed in [false, true] {
        if refreshed {
            catalog.refresh().await;
        }
        let window = |handle: &str| catalog.resolve(handle).unwrap().1.context_window;
        assert_eq!(
            (window("openai/gpt-4.1"), window("openai/new"), window("ollama/x")),
            (1_047_576, 128_000, 8192)
        );
    }
}

#[tokio::test]
async fn an_unknown_handle_refreshes_its_provider_once_for_all_who_ask() {
    let upstream = upstream([Reply::json(200, r#"{"data":[]}"#)]).await;
    let catalog = catalog(&[(ProviderKind::Vllm, &upstream)]);
    catalog.refresh().await;
    upstream.route("/v1/models", Reply::json(200, r#"{"data":[{"id":"new"}]}"#));
    tokio::time::pause(); // only now: a paused clock would time real sockets out
    tokio::time::advance(crate::limits::REFRESH_PAUSE).await;
    tokio::time::resume();
    let asked = (0..20).map(|_| catalog.resolve_or_refresh("vllm/new"));
    for outcome in futures_util::future::join_all(asked).await {
        assert!(outcome.is_ok());
    }
    assert_eq!(upstream.requests().len(), 2, "one refresh for twenty questions");
    assert!(catalog.resolve_or_refresh("vllm/newer").await.is_err());
    assert_eq!(upstream.requests().len(), 2, "not again so soon");
}

#[tokio::test]
async fn a_slow_provider_delays_no_other() {
    let (slow, quick) = (upstream([Reply::default().hang()]).await, upstream([]).await);
    quick.route("/v1/models", Reply::json(200, r#"{"data":[{"id":"m"}]}"#));
    let catalog = Arc::new(catalog(&[(ProviderKind::OpenAi, &slow), (ProviderKind::Vllm, &quick)]));
    let refreshing = tokio::spawn({
        let catalog = Arc::clone(&catalog);
        async move { catalog.refresh().await }
    });
    slow.received(1).await;
    quick.received(1).await;
    let found =
        tokio::time::timeout(Duration::from_secs(2), catalog.resolve_or_refresh("vllm/m")).await;
    assert!(found.unwrap().is_ok());
    refreshing.abort();
}

#[tokio::test]
async fn a_model_registered_directly_is_found_listed_and_replaced() {
    let catalog = Catalog::new(vec![], SHORT);
    for answer in ["one", "two"] {
        let model = ScriptedModel::new([Say::answer(answer)]);
        catalog.insert("test/scripted", Arc::new(model.clone()), model_info("test/scripted"));
        let (found, info) = catalog.resolve_or_refresh("test/scripted").await.unwrap();
        assert_eq!(info.handle, "test/scripted");
        let (chunks, _) = collect(found.stream(&prompt("sys", vec![user("hi")]))).await;
        assert_eq!(text(&chunks), answer);
        assert_eq!(
            (model.prompts()[0].system.as_str(), model.prompts()[0].last_text()),
            ("sys", "hi")
        );
    }
    assert_eq!(handles(&catalog), [REHEARSAL_HANDLE, "test/scripted"]);
}

#[tokio::test]
async fn a_scripted_model_notices_that_its_stream_was_dropped() {
    let model = ScriptedModel::new([vec![Say::text("a"), Say::Hang]]);
    let mut stream = crate::Model::stream(&model, &prompt("", vec![user("hi")]));
    futures_util::StreamExt::next(&mut stream).await;
    assert_eq!(model.dropped(), 0);
    drop(stream);
    model.cancelled(1).await;
    let (_, error) = collect(crate::Model::stream(&model, &prompt("", vec![]))).await;
    assert!(error.is_some(), "a call without a script fails");
}
