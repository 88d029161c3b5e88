//! The archive of a server at work, as one stream.
//!
//! It is of one moment, which the log names between two groups; runs go on meanwhile. Pages are read on blocking threads
//! as the client takes them, so that a slow one costs a page of memory and nobody's time. A stream that ends without its
//! end frame, because the log cannot be read or the server stops, is broken off so that no client takes it for whole.

use std::io;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::stream;
use retold_actors::{Clock as _, Refusal, SystemClock};
use retold_events::{
    Position,
    store::archive::{ArchiveError, Archiver, Moment, Since},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, error::ApiError, extract::Query, openapi::ArchiveErrors, trace::RequestId};
use crate::wire::BackupQuery;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(backup))
}

/// An archive of everything the server remembers, as of the moment of the request, for `retold backup`.
///
/// A stream of frames, each with a checksum, of which the last one says that all was told. It goes on while agents are
/// at work. With `after` and `chain` it tells only what an earlier archive has not.
#[utoipa::path(get, path = "/v1/admin/backup", tag = "server", operation_id = "backup", params(BackupQuery),
    responses((status = 200, description = "The archive", body = String, content_type = "application/octet-stream"),
        ArchiveErrors))]
async fn backup(
    State(app): State<App>,
    Query(asked): Query<BackupQuery>,
) -> Result<Response, ApiError> {
    let since = Since {
        position: Position(asked.after.unwrap_or(0)),
        chain: asked.chain.unwrap_or_default(),
    };
    let checked = app.host.read(move |store| Ok(since.check(store))).await?;
    checked.map_err(refused)?;
    let moment = app.host.log().at_rest(Moment::now).await.map_err(Refusal::from)?;
    tracing::info!(position = moment.head.position.0, since = since.position.0, "backup");
    let now = SystemClock.now();
    let archiver = Archiver::new(moment, since, now, env!("CARGO_PKG_VERSION"));
    let pages = stream::unfold(Some((app, archiver)), |telling| async move {
        let (app, archiver) = telling?;
        match next(&app, archiver).await {
            Ok((archiver, page)) => page.map(|page| (Ok(page), Some((app, archiver)))),
            Err(error) => {
                let trace_id = RequestId::current();
                tracing::warn!(%error, trace_id, "a backup broke off");
                Some((Err(error), None))
            }
        }
    });
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(([content_type], Body::from_stream(pages)).into_response())
}

/// The next page; `None` after the last.
async fn next(app: &App, mut archiver: Archiver) -> io::Result<(Archiver, Option<Bytes>)> {
    let read = app.host.read(move |store| {
        let page = archiver.next(store)?;
        Ok((archiver, page))
    });
    tokio::select! {
        read = read => read.map_err(io::Error::other),
        () = app.leaving.cancelled() => Err(io::Error::other("the server is shutting down")),
    }
}

fn refused(error: ArchiveError) -> ApiError {
    if let ArchiveError::OtherHistory { position, .. } = error {
        return Refusal::Conflict(format!(
            "what happened up to position {position} is not this server's history: it is of another data directory, or \
             of one that went another way"
        ))
        .into();
    }
    if let ArchiveError::Store(error) = error {
        return Refusal::from(error).into();
    }
    ApiError::internal(&error)
}
