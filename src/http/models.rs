//! Models and embedding models, as the providers list them.

use axum::{Json as Answer, extract::State};
use retold_models::ModelInfo;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, extract::Query, openapi::ListErrors};
use crate::wire::{EmbeddingModel, Model, ModelsQuery};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(routes!(list))
        .routes(routes!(embedding))
        .routes(routes!(embeddings))
}

/// The models that agents can speak with.
#[utoipa::path(get, path = "/v1/models", tag = "models", operation_id = "list_models",
    params(ModelsQuery),
    responses((status = 200, description = "All models", body = [Model]), ListErrors))]
async fn list(State(app): State<App>, Query(asked): Query<ModelsQuery>) -> Answer<Vec<Model>> {
    let models = app.host.catalog().models();
    // All that is configured is `base`; there are no models of a user's own.
    let wants_base =
        asked.provider_category.is_empty() || asked.provider_category.iter().any(|it| it == "base");
    let wanted = |info: &&ModelInfo| {
        wants_base
            && asked.provider_name.as_ref().is_none_or(|name| name == &info.provider_name)
            && asked.provider_type.as_ref().is_none_or(|kind| kind == info.provider_type)
    };
    Answer(models.iter().filter(wanted).map(Model::from).collect())
}

/// The models that make embeddings.
#[utoipa::path(get, path = "/v1/models/embedding", tag = "models", operation_id = "list_embedding_models",
    responses((status = 200, description = "All embedding models", body = [EmbeddingModel]), ListErrors))]
async fn embedding(State(app): State<App>) -> Answer<Vec<EmbeddingModel>> {
    Answer(app.host.catalog().embeddings().iter().map(EmbeddingModel::from).collect())
}

/// Another spelling of `/v1/models/embedding`.
#[utoipa::path(get, path = "/v1/models/embeddings", tag = "models", operation_id = "list_embeddings_models",
    responses((status = 200, description = "All embedding models", body = [EmbeddingModel]), ListErrors))]
async fn embeddings(app: State<App>) -> Answer<Vec<EmbeddingModel>> {
    embedding(app).await
}
