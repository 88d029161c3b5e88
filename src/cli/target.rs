//! Which server a command talks to, and with what password.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use super::{Exit, Process, start_log, voice::Voice};
use crate::{
    chat::is_server,
    client::Client,
    config::{Config, Origin, Secret},
};

/// How long a server on this machine may take to say that it is there.
const PROBE: Duration = Duration::from_millis(500);

/// The server that was named, or one that answers on the configured port. A data directory given on the command line
/// asks for that directory, which a server that the environment names, or that is found by chance, need not have.
pub(super) async fn running_server(config: &Config) -> Option<String> {
    let wants_directory = matches!(config.data_dir.origin, Origin::Flag(_));
    match &config.url {
        Some(url) if matches!(url.origin, Origin::Flag(_)) || !wants_directory => {
            return Some(url.value.clone());
        }
        Some(_) | None if wants_directory || config.port.value == 0 => return None,
        Some(_) | None => {}
    }
    let url = local_url(config);
    is_server(&url, PROBE).await.then_some(url)
}

/// Where a server of this configuration would be reached from this machine.
fn local_url(config: &Config) -> String {
    let host = match config.host.value {
        IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(any) if any.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host @ (IpAddr::V4(_) | IpAddr::V6(_)) => host,
    };
    format!("http://{}", SocketAddr::new(host, config.port.value))
}

/// The password for a server that is running: one that was made up is nobody's.
pub(super) fn password(config: &Config) -> Option<Secret> {
    let set = config.password.as_ref().filter(|password| password.origin != Origin::Generated);
    set.map(|password| password.value.clone())
}

/// A client of the running server, or what to exit with when there is none.
pub(super) async fn client(
    config: &Config,
    process: &Process,
    voice: Voice,
) -> Result<Client, Exit> {
    // What is printed is the server's to say; of this program only trouble is told.
    start_log(if config.log.is_set() { &config.log.value } else { "warn" }, process);
    let Some(url) = running_server(config).await else {
        let why = format!(
            "no server answers at {}; start one with `retold serve`, or name one with --url",
            local_url(config)
        );
        return Err(voice.refuse(why, Exit::Failed));
    };
    Client::new(&url, password(config)).map_err(|error| voice.complain(&error, Exit::Failed))
}
