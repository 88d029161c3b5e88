//! `retold chat`: finds a server or embeds one, and hands the terminal over.

use std::{
    io::{stderr, stdout},
    time::Duration,
};

use tokio::{
    io::{BufReader, stdin},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{Exit, Process, block_on, complain, say, signals::INTERRUPT, start_log, target};
use crate::{
    chat::{Conversation, Ending, Style, Terminal, talk},
    config::{Config, Secret},
    server::Server,
};

/// Presses of Ctrl-C that may wait to be heard; two already mean to leave.
const INTERRUPTS: usize = 4;

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
        match target::running_server(config).await {
            Some(url) => {
                let password = target::password(config);
                converse(&Conversation { url, password, agent, model }, process).await
            }
            None => embedded(config, agent, model, process).await,
        }
    })
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
    let server = match Server::start(&config, Some(process.tools(&config))).await {
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
