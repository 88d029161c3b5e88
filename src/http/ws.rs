//! The WebSocket: one connection over which a client talks to agents and follows any number of runs.
//!
//! Here is its handshake; what follows it is a [`Session`](session::Session). It reads runs exactly as an event stream
//! does ([`RunReader`](super::run_reader)), so the two transports can never tell different stories.

mod commands;
mod event_feed;
mod feed;
mod pipe;
mod session;

use axum::{
    extract::{FromRequestParts as _, Request, State, ws::WebSocketUpgrade},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use data_encoding::BASE64;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::session::Session;
use super::{
    App, auth, error::ApiError, listen::Connection, openapi::HandshakeErrors, trace::RequestId,
};

/// The protocol a client may ask for by name. It need not; a page that offers its password among the protocols must,
/// since browsers want one of them chosen, and the password is not sent back.
const PROTOCOL: &str = "retold";
/// What is read from a socket at a time: more than most frames of clients have.
const READ_BYTES: usize = 8 << 10;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(open))
}

/// A WebSocket; also at `/ws`. Text frames, one JSON object each, `type` tells which. The client sends `user_message`,
/// `resume`, `cancel`, `subscribe`, `unsubscribe`, `command` and `ping`; the server answers `agent_response_start`,
/// `agent_response`, `agent_response_error` and `agent_response_end`, or with `"format": "v1"` `run_start`, `run_event`
/// (whose `data` is what an event stream carries) and `run_end`. A browser offers the protocols `retold` and
/// `bearer.<base64url of the password>`.
#[utoipa::path(get, path = "/v1/ws", tag = "streams", operation_id = "open_websocket",
    responses((status = 101, description = "A WebSocket is spoken from here on"), HandshakeErrors))]
async fn open(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    check(request.headers())?;
    let (mut parts, _) = request.into_parts();
    let connection = parts.extensions.get::<Connection>().cloned();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let (Ok(upgrade), Some(connection)) = (upgrade, connection) else {
        return Err(ApiError::UpgradeRequired("this connection cannot become a WebSocket"));
    };
    let id = RequestId::this().unwrap_or_else(|| RequestId::of(&parts.headers, &app.request_ids));
    // The limits are those of a request's body, which a frame stands for.
    let most = usize::try_from(app.body_limits.max_bytes).unwrap_or(usize::MAX);
    let answer = upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(pipe::WRITE_BYTES)
        .max_message_size(most)
        .max_frame_size(most)
        .on_upgrade(move |socket| async move {
            connection.pace.take_over();
            let now = connection.stop.now.clone();
            let serving = id.scope(Session::new(app, socket, connection.pace.clone()).run());
            tokio::select! {
                () = serving => {}
                () = now.cancelled() => {}
            }
            // Named here, so that all of it is moved in and held until now: it is what the server counts and waits for.
            drop(connection);
        });
    Ok(answer)
}

/// Refuses what is no handshake, and says what it lacks.
fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    if !auth::is_handshake(headers) {
        return Err(ApiError::UpgradeRequired("this is the address of a WebSocket"));
    }
    let has = |name: &header::HeaderName, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    if !has(&header::CONNECTION, "upgrade") {
        return Err(ApiError::MalformedHandshake("the Connection header does not say `upgrade`"));
    }
    if !has(&header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(ApiError::UpgradeRequired("the version of the WebSocket is not 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let is_key = |key: &[u8]| BASE64.decode(key).is_ok_and(|bytes| bytes.len() == 16);
    if !key.is_some_and(is_key) {
        let says = "the Sec-WebSocket-Key header is not 16 bytes in base64";
        return Err(ApiError::MalformedHandshake(says));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn checked(headers: &[(&'static str, &'static str)]) -> Result<(), String> {
        let headers = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        check(&headers.collect()).map_err(|error| error.code())
    }

    #[test]
    fn a_handshake_is_told_what_it_lacks() {
        assert_eq!(checked(&GOOD), Ok(()));
        for (place, bad, code) in [
            (0, "h2c", "upgrade_required"),
            (1, "close", "malformed_handshake"),
            (2, "8", "upgrade_required"),
            (3, "", "malformed_handshake"),
            (3, "dGhlIHNhbXBsZQ==", "malformed_handshake"),
            (3, "not base64 at all!!!!!==", "malformed_handshake"),
        ] {
            let mut headers = GOOD;
            headers[place].1 = bad;
            assert_eq!(checked(&headers), Err(code.to_owned()), "{bad}");
            let mut fewer = GOOD.to_vec();
            fewer.remove(place);
            assert_eq!(checked(&fewer), Err(code.to_owned()), "without {}", GOOD[place].0);
        }
    }
}
