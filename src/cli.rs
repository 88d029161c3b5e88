//! The command line: what may be asked, and the exit codes.
//!
//! The flags of settings are made from the table in `config`; only what is no setting is declared here. Everything
//! about the process (arguments, environment, terminals, chance) comes in through [`Process`], so that `main` is the
//! only place that touches it.

mod backup;
mod chat;
mod doctor;
mod events;
mod flags;
mod progress;
mod restore;
mod retry;
mod runs;
mod serve;
mod signals;
mod target;
mod verify;
mod voice;

use std::{
    ffi::OsString, fmt::Display, io::Write, path::PathBuf, process::ExitCode, time::Instant,
};

use clap::{Args, Parser, Subcommand};

use self::{
    flags::{ChatFlags, ServeFlags},
    voice::Voice,
};
use crate::{
    caged::Caged,
    config::{Config, ConfigError, Environment, Flags, Inputs, markdown},
};

const EXIT_CODES: &str = "\
Exit codes:
  0    all went well; for serve: stopped by a signal, with every answer ended
  1    failure: the storage failed, the server cannot be reached, the answer failed, the watched run did not complete
  2    the command line or the configuration cannot be used
  3    the data directory cannot be used
  130  interrupted by Ctrl-C (chat, events tail, runs watch), or forced by a second one (serve)
  143  forced by a second SIGTERM (serve)

Data goes to standard output, everything else to standard error. NO_COLOR is honoured.";

const EXAMPLES: &str = "\
Examples:
  retold serve                               on http://127.0.0.1:8283, no key needed
  OPENAI_API_KEY=sk-... retold serve         with OpenAI's models
  RETOLD_PASSWORD=... retold serve --host 0.0.0.0
  retold chat                                talk to an agent that remembers
  echo \"hello\" | retold chat                 one message, one answer
  retold events tail                         what happens on a running server
  retold runs ls --active                    what is under way
  retold backup /backups/retold              a copy of everything, while the server works
  retold doctor                              what works here, and what is missing
  retold config show                         what is set, and who set it";

const SERVE_EXAMPLES: &str = "\
Examples:
  retold serve
  retold serve --port 9000 --data-dir ./data
  RETOLD_PASSWORD=... retold serve --host 0.0.0.0
  OLLAMA_BASE_URL=http://127.0.0.1:11434 retold serve --default-model ollama/llama3.2

Model providers are configured by their usual variables: OPENAI_API_KEY, OPENAI_BASE_URL, ANTHROPIC_API_KEY,
ANTHROPIC_BASE_URL, OLLAMA_BASE_URL, VLLM_API_BASE, LMSTUDIO_BASE_URL, OPENROUTER_API_KEY; or in the file:

  [providers.groq]
  kind = \"openai\"
  base_url = \"https://api.groq.com/openai/v1\"
  api_key_env = \"GROQ_API_KEY\"

A flag wins over a variable, a variable over the file, the file over the default. The banner on standard error begins
with `retold VERSION is ready on URL`. SIGTERM or Ctrl-C lets running answers end; a second one stops at once.";

const CHAT_EXAMPLES: &str = "\
Examples:
  retold chat
  retold chat --agent Ada --model openai/gpt-4o-mini
  retold chat --url https://retold.example.com
  echo \"what is my name?\" | retold chat

Talks to --url; else to a server on this machine's port; else starts one inside this program, on the data directory.
With --data-dir it always starts its own. When standard input is not a terminal, all of it is one message, and only the
answer is printed.";

/// A server that hosts stateful LLM agents and speaks the Letta V1 REST API.
#[derive(Debug, Parser)]
#[command(name = "retold", version, after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
#[command(arg_required_else_help = true, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    #[command(after_help = format!("{SERVE_EXAMPLES}\n\n{EXIT_CODES}"))]
    Serve(ServeFlags),
    /// Talk to an agent
    #[command(after_help = format!("{CHAT_EXAMPLES}\n\n{EXIT_CODES}"))]
    Chat(ChatArgs),
    /// Print what happened on a running server
    #[command(subcommand, after_help = format!("{}\n\n{EXIT_CODES}", events::EXAMPLES))]
    Events(events::EventsCommand),
    /// List, watch and cancel the runs of a running server
    #[command(subcommand, after_help = format!("{}\n\n{EXIT_CODES}", runs::EXAMPLES))]
    Runs(runs::RunsCommand),
    /// Back up everything a server remembers, while it works
    #[command(after_help = format!("{}\n\n{EXIT_CODES}", backup::EXAMPLES))]
    Backup(backup::BackupArgs),
    /// Make a data directory of a backup
    #[command(after_help = format!("{}\n\n{EXIT_CODES}", restore::EXAMPLES))]
    Restore(restore::RestoreArgs),
    /// Check a data directory or a backup, byte by byte
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Say what this machine gives the server, and what is missing
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::DoctorArgs),
    /// Show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Args)]
struct ChatArgs {
    /// Agent to talk to: a name, which is created if there is none, or an id
    #[arg(long, value_name = "NAME|ID", default_value = crate::chat::DEFAULT_AGENT)]
    agent: String,
    /// Model the agent should use from now on; without it the agent keeps its own [default for new agents: the server's]
    #[arg(long, value_name = "HANDLE")]
    model: Option<String>,
    #[command(flatten)]
    flags: ChatFlags,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the values in force and where each comes from; secrets are hidden
    Show {
        /// Print JSON: an object of `settings`, `providers` and `notes`
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: ServeFlags,
    },
    /// Print the table of all settings as Markdown
    Reference,
}

/// What the process was given.
#[derive(Debug)]
pub struct Process {
    /// When it began.
    pub started: Instant,
    /// The command line, the program's name first.
    pub arguments: Vec<OsString>,
    /// The program's own file.
    pub program: PathBuf,
    /// The environment.
    pub environment: Environment,
    /// The working directory.
    pub directory: PathBuf,
    /// Whether standard input is a terminal.
    pub stdin_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// Makes a password nobody can guess.
    pub make_password: fn() -> String,
}

impl Process {
    /// The cage for users' tools.
    fn tools(&self, config: &Config) -> Caged {
        Caged::new(config, self.program.clone())
    }
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
    DataDir,
    /// By a signal: 128 and its number, as shells have it.
    Signal(u8),
}

impl Exit {
    /// What the shell is told.
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::DataDir => 3,
            Self::Signal(number) => 128 + number,
        }
    }

    /// Ends the process, whatever it is doing.
    fn now(self) -> ! {
        std::process::exit(i32::from(self.code()))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Does what the command line asks.
#[must_use]
pub fn run(process: &Process) -> ExitCode {
    match Cli::try_parse_from(&process.arguments) {
        Ok(cli) => dispatch(cli.command, process).into(),
        Err(error) => {
            // Help goes to standard output and complaints to standard error; neither reader may be there.
            let _ = error.print();
            if !error.use_stderr() {
                return Exit::Done.into();
            }
            let json = process.arguments.iter().any(|argument| argument == "--json");
            Voice { json }.object(complaint(&error), Exit::Usage, serde_json::json!({}));
            Exit::Usage.into()
        }
    }
}

fn dispatch(command: Command, process: &Process) -> Exit {
    let Some((flags, voice)) = needs(&command) else { return print(&markdown()) };
    let config = match load(process, flags) {
        Ok(config) => config,
        Err(error) => return voice.complain(&error, Exit::Usage),
    };
    match command {
        Command::Serve(_) => serve::run(&config, process),
        Command::Chat(ChatArgs { agent, model, .. }) => chat::run(&config, agent, model, process),
        Command::Events(command) => events::run(&config, command, process),
        Command::Runs(command) => runs::run(&config, command, process),
        Command::Backup(args) => backup::run(&config, &args, process),
        Command::Restore(args) => restore::run(&config, &args, process),
        Command::Verify(args) => verify::run(&config, &args, process),
        Command::Doctor(args) => doctor::run(&config, &args, process),
        Command::Config(ConfigCommand::Show { json, .. }) => print(&shown(&config, json)),
        Command::Config(ConfigCommand::Reference) => print(&markdown()),
    }
}

/// The flags of settings of a command, and how it tells what went wrong; `None` for one that needs no configuration.
fn needs(command: &Command) -> Option<(Flags, Voice)> {
    let (flags, voice) = match command {
        Command::Serve(flags) => (&flags.0, Voice::PLAIN),
        Command::Chat(args) => (&args.flags.0, Voice::PLAIN),
        Command::Events(command) => (&command.flags().0, command.voice()),
        Command::Runs(command) => (&command.flags().0, command.voice()),
        Command::Backup(args) => (&args.flags.0, args.voice()),
        Command::Restore(args) => (&args.flags.0, args.voice()),
        Command::Verify(args) => (&args.flags.0, args.voice()),
        Command::Doctor(args) => (&args.flags.0, args.voice()),
        Command::Config(ConfigCommand::Show { json, flags }) => (&flags.0, Voice { json: *json }),
        Command::Config(ConfigCommand::Reference) => return None,
    };
    Some((flags.clone(), voice))
}

/// What clap says is wrong, without its advice on usage.
fn complaint(error: &clap::Error) -> String {
    let text = error.to_string();
    let said = text.split("\n\n").next().unwrap_or_default();
    said.strip_prefix("error: ").unwrap_or(said).trim().to_owned()
}

fn load(process: &Process, flags: Flags) -> Result<Config, ConfigError> {
    Config::load(&Inputs {
        flags,
        environment: process.environment.clone(),
        directory: process.directory.clone(),
        generated_password: (process.make_password)(),
    })
}

fn shown(config: &Config, json: bool) -> String {
    if json { format!("{:#}\n", config.to_json()) } else { config.to_text() }
}

/// Prints data. A reader that hung up, as `head` does, is no failure.
fn print(text: &str) -> Exit {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Exit::Done
}

/// Says what went wrong.
fn complain(error: &dyn std::error::Error, exit: Exit) -> Exit {
    say(with_causes(error));
    exit
}

/// Tells the person at the terminal. `eprintln!` would panic where nobody reads any more, and end the server.
fn say(what: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "retold: {what}");
}

/// The error's message and its causes, unless the message already holds the innermost, which is the one that tells.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    if causes.last().is_some_and(|innermost| !text.contains(innermost.as_str())) {
        text = format!("{text}: {}", causes.join(": "));
    }
    text
}

impl Process {
    /// Whether standard error may have colours.
    fn may_color(&self) -> bool {
        let dumb = self.environment.get("TERM").is_ok_and(|term| term == Some("dumb"));
        self.stderr_is_terminal && !self.environment.has("NO_COLOR") && !dumb
    }
}

/// Runs `work` on a new runtime. The runtime is left behind without waiting: a read of the terminal that nobody
/// needs any more would hold the process until the next key.
fn block_on(work: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(work);
            runtime.shutdown_background();
            exit
        }
        Err(error) => complain(&error, Exit::Failed),
    }
}

/// Sends the log to standard error.
fn start_log(filter: &str, process: &Process) {
    let subscriber = tracing_subscriber::fmt()
        // The MCP library tells errors that whoever asked is told anyway; directives of one's own win over this one.
        .with_env_filter(tracing_subscriber::EnvFilter::new(format!("rmcp=off,{filter}")))
        .with_writer(std::io::stderr)
        .with_ansi(process.may_color())
        // Complaining that nobody reads the log would panic for the same reason.
        .log_internal_errors(false);
    // `Err` means that a log is already being written, as it is in tests.
    let _ = subscriber.try_init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, clap::Error> {
        Cli::try_parse_from(["retold"].iter().chain(arguments)).map(|cli| cli.command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_settings_reach_the_configuration() {
        let Ok(Command::Serve(flags)) =
            parse(&["serve", "--port", "9", "--secure", "--data-dir=/d"])
        else {
            panic!()
        };
        let config = Config::load(&Inputs {
            flags: flags.0,
            environment: Environment::default(),
            directory: "/no/such/directory".into(),
            generated_password: "made-up".to_owned(),
        })
        .unwrap();
        assert_eq!((config.port.value, config.data_dir.value), (9, PathBuf::from("/d")));
        assert!(config.secure.value && config.password.is_some());
    }

    #[test]
    fn chat_talks_to_the_default_agent_unless_told_otherwise() {
        let Ok(Command::Chat(chat)) = parse(&["chat"]) else { panic!() };
        assert_eq!((chat.agent.as_str(), chat.model), ("default", None));
        let Ok(Command::Chat(chat)) =
            parse(&["chat", "--agent", "Ada", "--model", "a/b", "--url", "http://h"])
        else {
            panic!()
        };
        assert_eq!((chat.agent.as_str(), chat.model.as_deref()), ("Ada", Some("a/b")));
    }

    #[test]
    fn a_password_cannot_be_given_on_the_command_line() {
        assert!(parse(&["serve", "--password", "x"]).is_err());
    }

    #[test]
    fn help_names_every_variable_and_every_exit_code() {
        let mut command = Cli::command();
        let serve = command.find_subcommand_mut("serve").unwrap().render_help().to_string();
        for setting in crate::config::SETTINGS.iter().filter(|it| it.for_serve) {
            let names = setting.flag.into_iter().map(|flag| format!("--{flag}"));
            let shown = setting
                .flag
                .is_some()
                .then_some(setting.env)
                .into_iter()
                .flatten()
                .map(ToString::to_string);
            for name in names.chain(shown) {
                assert!(serve.contains(&name), "{name}");
            }
        }
        for code in ["0 ", "1 ", "2 ", "3 ", "130", "143"] {
            assert!(serve.contains(&format!("\n  {code}")), "{code}");
        }
    }

    #[test]
    fn a_complaint_names_the_cause_once() {
        let source = std::io::Error::other("no such thing");
        let error = ConfigError::Unreadable { path: "x.toml".into(), source };
        assert_eq!(with_causes(&error), "cannot read x.toml: no such thing");
        let source = std::io::Error::other("x.toml");
        let error = ConfigError::Unreadable { path: "x.toml".into(), source };
        assert_eq!(with_causes(&error), "cannot read x.toml");
    }

    #[test]
    fn a_signal_ends_with_128_and_its_number() {
        assert_eq!(ExitCode::from(Exit::Signal(2)), ExitCode::from(130));
        assert_eq!(ExitCode::from(Exit::Signal(15)), ExitCode::from(143));
    }
}
