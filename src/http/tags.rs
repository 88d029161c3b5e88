//! The tags of agents and blocks together.

use retold_actors::Whose;
use retold_snapshots::{past::Tables, query};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    extract::Query,
    openapi::ListErrors,
    page::{self, Page},
    past::Reader,
};
use crate::wire::{self, AsOfQuery, TagsQuery};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list))
}

/// Tags, a page at a time. Their cursors are the tags themselves.
#[utoipa::path(get, path = "/v1/tags", tag = "tags", operation_id = "list_tags",
    params(TagsQuery, wire::Page, AsOfQuery),
    responses((status = 200, description = "A page of tags", body = [String]), ListErrors))]
async fn list(reader: Reader, Query(asked): Query<TagsQuery>) -> Result<Page<String>, ApiError> {
    let order = page::order(&asked.page);
    let page = query::Page {
        after: asked.page.after,
        before: asked.page.before,
        limit: asked.page.limit,
        order,
    };
    let part = asked.query_text;
    let whose = Whose::Server(Tables::TAGS);
    let tags = reader.query(whose, move |store| query::tags(store, part.as_deref(), &page)).await?;
    Ok(Page::of(tags, String::clone, |tag| tag))
}
