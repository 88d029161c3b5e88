//! Telling the end of a run to the address its client gave: one POST, once.
//!
//! The address is judged when it is given ([`check`]) and again when it is called, because what is open, or where its name
//! leads, may have changed meanwhile. What is found then is the callback's error, which the run keeps.

use std::{sync::OnceLock, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use reqwest::header;
use retold_actors::{CallbackResult, Callbacks, Host};
use retold_snapshots::row::RunRow;
use retold_tools::egress::{Client, Egress, EgressError, Redirects};

use super::{past::Reader, turn};
use crate::wire::{CallbackBody, Problem};

/// How long an address may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest description of a failure that is kept.
const LONGEST_ERROR: usize = 500;

/// Calls addresses.
#[derive(Debug)]
pub(crate) struct Caller {
    egress: Egress,
    client: OnceLock<Result<Client, String>>,
}

impl Caller {
    /// Nothing is opened before the first call.
    pub(crate) fn new(egress: Egress) -> Self {
        Self { egress, client: OnceLock::new() }
    }

    fn client(&self) -> Result<Client, String> {
        self.client.get_or_init(|| build(&self.egress).map_err(|error| error.to_string())).clone()
    }
}

/// Judges the address of a callback when it is given.
///
/// # Errors
/// [`Problem::Unprocessable`] for one that cannot be called.
pub(super) fn check(egress: &Egress, url: &str) -> Result<(), Problem> {
    let judged = egress.check(url).map_err(|error| format!("callback_url: {error}"));
    judged.map(|_| ()).map_err(Problem::Unprocessable)
}

fn build(egress: &Egress) -> Result<Client, EgressError> {
    // A redirect would send the answer to a place nobody named.
    egress.client(Redirects::Never, |builder| builder.timeout(TIMEOUT))
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
    post(&client?, url, body).await
}

async fn post(client: &Client, url: &str, body: Vec<u8>) -> Result<u16, String> {
    let request = client.post(url).map_err(|error| error.to_string())?;
    let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
    let response = request.send().await.map_err(|error| text_of(&error))?;
    Ok(response.status().as_u16())
}

/// An error with its causes, without the address: that may hold a secret, and is in the run already.
fn text_of(error: &reqwest::Error) -> String {
    if let Some(refusal) = EgressError::within(error) {
        return refusal.to_string();
    }
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

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Arc};

    use retold_tools::egress::{LookingUp, Lookup};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Every name leads to this machine.
    struct Inside;

    impl Lookup for Inside {
        fn addresses(&self, _name: &str) -> LookingUp {
            Box::pin(std::future::ready(Ok(vec![Ipv4Addr::LOCALHOST.into()])))
        }
    }

    #[tokio::test]
    async fn an_address_is_judged_again_when_it_is_called_and_its_redirects_are_not_followed() {
        let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://hook.example:{}/?hidden", canary.local_addr().unwrap().port());
        let egress = Egress::with_lookup("".parse().unwrap(), Arc::new(Inside));
        assert_eq!(check(&egress, &url), Ok(()), "nobody is asked when it is given");
        let refusal = post(&build(&egress).unwrap(), &url, Vec::new()).await.unwrap_err();
        assert!(refusal.starts_with("`hook.example` resolves to a loopback address"), "{refusal}");
        // As for a run that was accepted while the address was open.
        let literal = format!("http://{}/?hidden", canary.local_addr().unwrap());
        let refusal = post(&build(&egress).unwrap(), &literal, Vec::new()).await.unwrap_err();
        assert!(refusal.starts_with("`127.0.0.1` is a loopback address"), "{refusal}");
        // The first that is heard is the call that is open; its answer leads on and is the last.
        let egress = Egress::with_lookup("hook.example".parse().unwrap(), Arc::new(Inside));
        let client = build(&egress).unwrap();
        let moved = async {
            let (mut socket, _) = canary.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let answer = "HTTP/1.1 307 Moved\r\nlocation: /on\r\ncontent-length: 0\r\n\r\n";
            socket.write_all(answer.as_bytes()).await.unwrap();
            socket
        };
        let (answered, _socket) = tokio::join!(post(&client, &url, Vec::new()), moved);
        assert_eq!(answered, Ok(307));
    }
}
