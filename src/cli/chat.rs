//! `retold chat`: finds a server or embeds one, and hands the terminal over.

use std::{
    io::{stderr, stdout},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tokio::{
    io::{BufReader, stdin},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{Exit, Process, block_on, complain, say, start_log};
use crate::{
    chat::{Conversation, Ending, Style, Terminal, is_server, talk},
    config::{Config, Origin, Secret},
    server::Server,
};

/// How long a server on this machine may take to say that it is there.
const PROBE: Duration = Duration::from_millis(500);

/// Presses of Ctrl-C that may wait to be heard; two already mean to leave.
const INTERRUPTS: usize = 4;

/// SIGINT.
const INTERRUPT: u8 = 2;

/// Talks to an agent.
pub(super) fn run(
    config: &Config,
    agent: String,
    model: Option<String>,
    process: &Process,
) -> Exit {
    // An embedded server's usual messages would run through the conversation.
    start_log(if config.log.is_set() { &config.log.value } else { "warn" }, process);
    block_on(async {
        match running_server(config).await {
            Some(url) => {
                let password = config
                    .password
                    .as_ref()
                    .filter(|password| password.origin != Origin::Generated);
                let password = password.map(|password| password.value.clone());
                converse(&Conversation { url, password, agent, model }, process).await
            }
            None => embedded(config, agent, model, process).await,
        }
    })
}

/// The server that was named, or one that answers on the configured port. A data directory given on the command line
/// asks for that directory, which a server found by chance need not have.
async fn running_server(config: &Config) -> Option<String> {
    if let Some(url) = &config.url {
        return Some(url.value.clone());
    }
    if matches!(config.data_dir.origin, Origin::Flag(_)) || config.port.value == 0 {
        return None;
    }
    let host = match config.host.value {
        IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(any) if any.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host @ (IpAddr::V4(_) | IpAddr::V6(_)) => host,
    };
    let url = format!("http://{}", std::net::SocketAddr::new(host, config.port.value));
    is_server(&url, PROBE).await.then_some(url)
}

/// Starts a server inside this process, talks to it, and lets it end properly.
async fn embedded(
    config: &Config,
    agent: String,
    model: Option<String>,
    process: &Process,
) -> Exit {
    let password = Secret::new((process.make_password)());
    let config = config.clone().embedded(password.clone());
    let server = match Server::start(&config).await {
        Ok(server) => server,
        Err(error) => {
            if !error.is_data_dir() {
                return complain(&error, Exit::Failed);
            }
            let exit = complain(&error, Exit::DataDir);
            say("if a server is running on that data directory, talk to it with --url URL");
            return exit;
        }
    };
    let url = format!("http://{}", server.address());
    let conversation = Conversation { url, password: Some(password), agent, model };
    let exit = tokio::select! {
        exit = converse(&conversation, process) => exit,
        why = server.failed() => {
            say(format_args!("the storage failed: {why}"));
            return Exit::Failed;
        }
    };
    // Whoever leaves in the middle of an answer does not wait for it.
    server.drain(Duration::ZERO).await;
    server.stop().await;
    exit
}

async fn converse(conversation: &Conversation, process: &Process) -> Exit {
    let mut interrupts = match interrupts() {
        Ok(interrupts) => interrupts,
        Err(error) => return complain(&error, Exit::Failed),
    };
    let mut terminal = Terminal {
        input: BufReader::new(stdin()),
        answers: stdout(),
        asides: stderr(),
        interrupts: &mut interrupts,
        style: Style { color: process.may_color() },
        interactive: process.stdin_is_terminal,
    };
    match talk(conversation, &mut terminal).await {
        Ok(Ending::Done) => Exit::Done,
        Ok(Ending::Failed) => Exit::Failed,
        Ok(Ending::Interrupted) => Exit::Signal(INTERRUPT),
        Err(error) => complain(&error, Exit::Failed),
    }
}

/// Ctrl-C as a queue. Presses past its bound say nothing new.
fn interrupts() -> std::io::Result<mpsc::Receiver<()>> {
    let mut signal = signal(SignalKind::interrupt())?;
    let (sender, receiver) = mpsc::channel(INTERRUPTS);
    tokio::spawn(async move {
        while signal.recv().await.is_some() && !sender.is_closed() {
            let _ = sender.try_send(());
        }
    });
    Ok(receiver)
}
