//! Telling the end of a run to the address its client gave: one POST, once.

use std::{sync::OnceLock, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use reqwest::{Client, header, redirect};
use retold_actors::{CallbackResult, Callbacks, Host};
use retold_snapshots::row::RunRow;

use super::{past::Reader, turn};
use crate::wire::CallbackBody;

/// How long an address may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest description of a failure that is kept.
const LONGEST_ERROR: usize = 500;

/// Calls addresses.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    client: OnceLock<Result<Client, String>>,
}

impl Caller {
    /// Nothing is opened before the first call.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn client(&self) -> Result<Client, String> {
        self.client.get_or_init(|| build().map_err(|error| text_of(&error))).clone()
    }
}

fn build() -> Result<Client, reqwest::Error> {
    // `Err` means that somebody has installed a provider before, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("retold/", env!("CARGO_PKG_VERSION")))
        .timeout(TIMEOUT)
        // A redirect would send the answer to a place nobody named.
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build()
}

impl Callbacks for Caller {
    fn send(&self, host: Host, run: RunRow) -> BoxFuture<'static, CallbackResult> {
        let client = self.client();
        async move {
            match call(client, &host, &run).await {
                Ok(status) => CallbackResult { status_code: Some(status), error: None },
                Err(error) => CallbackResult { status_code: None, error: Some(error) },
            }
        }
        .boxed()
    }
}

/// Gives the status the address answered, or why it did not.
async fn call(client: Result<Client, String>, host: &Host, run: &RunRow) -> Result<u16, String> {
    let url = run.request.callback_url.as_deref().ok_or("the run has no callback address")?;
    let result = turn::result(&Reader::now(host), run)
        .await
        .map_err(|_| "the result of the run could not be read")?;
    let body = serde_json::to_vec(&CallbackBody::new(run, result.as_ref()))
        .map_err(|error| error.to_string())?;
    let request = client?.post(url).header(header::CONTENT_TYPE, "application/json").body(body);
    let response = request.send().await.map_err(|error| text_of(&error))?;
    Ok(response.status().as_u16())
}

/// An error with its causes, without the address: that may hold a secret, and is in the run already.
fn text_of(error: &reqwest::Error) -> String {
    let mut text =
        if error.is_timeout() { "no answer within 5 s".to_owned() } else { String::new() };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let separator = if text.is_empty() { "" } else { ": " };
        text = format!("{text}{separator}{inner}");
        cause = inner.source();
    }
    if text.is_empty() {
        text = "the address cannot be called".to_owned();
    }
    text.chars().take(LONGEST_ERROR).collect()
}
