//! The numbers of the server, for Prometheus and whatever reads its form. Guarded by the password as everything else is:
//! they tell how much a server is used and by which models. A scraper sends it as its bearer token.

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, error::ApiError, openapi::ReadErrors};
use crate::meters::Form;

const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(metrics))
}

/// The numbers of the server, in the text form of Prometheus, or as OpenMetrics where that is asked for.
#[utoipa::path(get, path = "/metrics", tag = "server", operation_id = "metrics",
    responses((status = 200, description = "The numbers", content(
        (String = "text/plain; version=0.0.4; charset=utf-8"),
        (String = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    )), ReadErrors))]
async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let form = wanted(&headers);
    let meters = app.meters.clone();
    let text = tokio::task::spawn_blocking(move || meters.text(form)).await;
    let text = text.map_err(|_| ApiError::Internal)?;
    let content_type = match form {
        Form::Plain => PLAIN,
        Form::OpenMetrics => OPEN_METRICS,
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], text).into_response())
}

/// The form that a scraper asks for. Prometheus names OpenMetrics first when it can read it; who names nothing, a person
/// among them, gets the older one.
fn wanted(headers: &HeaderMap) -> Form {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(','));
    if types.any(|kind| kind.trim_start().starts_with("application/openmetrics-text")) {
        Form::OpenMetrics
    } else {
        Form::Plain
    }
}

/// The template of the path that a request matched, as its answer carries it out to where requests are counted.
#[derive(Debug, Clone)]
pub(super) struct Template(MatchedPath);

impl Template {
    /// The template of the request that was answered so.
    pub(super) fn of(response: &Response) -> Option<&str> {
        response.extensions().get::<Self>().map(|template| template.0.as_str())
    }
}

/// Notes the template of the path in the answer.
pub(super) async fn note_template(request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(matched) = matched {
        response.extensions_mut().insert(Template(matched));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let of = |accept: Option<&'static str>| {
            let header = accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept)));
            wanted(&HeaderMap::from_iter(header))
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(of(Some(prometheus)), Form::OpenMetrics);
        for other in [None, Some("*/*"), Some("text/plain"), Some("text/html,application/xml")] {
            assert_eq!(of(other), Form::Plain, "{other:?}");
        }
    }
}
