//! What `retold serve` says when it is ready: where it is, what it keeps, which models it found, and who set what.
//!
//! The banner goes to standard error, as all chatter does. Its first line, `retold VERSION is ready on URL`, is a
//! promise to scripts. Making the text is a function of its inputs; printing it is the caller's business.

use std::{fmt::Write, net::SocketAddr, time::Duration};

use retold_models::Catalog;

use crate::config::{Config, Origin, Sourced};

/// How many models of a provider are named.
const NAMED: usize = 3;

/// What became of asking one provider for its models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The provider.
    pub provider: String,
    /// Its address, without credentials.
    pub endpoint: String,
    /// What it said.
    pub answer: Answer,
}

/// A provider's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// None yet.
    Pending,
    /// A list.
    Models {
        /// How many models of all sorts it has.
        count: usize,
        /// The handles of the first few.
        first: Vec<String>,
    },
    /// A refusal, or none in time.
    Failed(String),
}

/// What the catalog knows at this moment.
#[must_use]
pub fn discoveries(catalog: &Catalog) -> Vec<Discovery> {
    let models = catalog.models();
    let first = |provider: &str| {
        let of_provider = models.iter().filter(|model| model.provider_name == provider);
        of_provider.take(NAMED).map(|model| model.handle.clone()).collect()
    };
    let discovery = |status: retold_models::ProviderStatus| Discovery {
        answer: match (status.error, status.models) {
            (Some(error), _) => Answer::Failed(error),
            (None, Some(count)) => Answer::Models { count, first: first(&status.name) },
            (None, None) => Answer::Pending,
        },
        provider: status.name,
        endpoint: status.endpoint,
    };
    catalog.status().into_iter().map(discovery).collect()
}

impl Discovery {
    /// One line for a person.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { provider, endpoint, answer } = self;
        match answer {
            Answer::Pending => format!("{provider}: asking {endpoint}"),
            Answer::Failed(error) => format!("{provider}: no list of models: {error}"),
            Answer::Models { count: 0, .. } => format!("{provider}: no models at {endpoint}"),
            Answer::Models { count, first } => {
                let more = if *count > first.len() { ", ..." } else { "" };
                let noun = if *count == 1 { "model" } else { "models" };
                format!("{provider}: {count} {noun} ({}{more})", first.join(", "))
            }
        }
    }
}

/// The banner.
#[must_use]
pub fn banner(
    config: &Config,
    address: SocketAddr,
    discoveries: &[Discovery],
    took: Duration,
) -> String {
    let mut text = format!("retold {} is ready on http://{address}\n", env!("CARGO_PKG_VERSION"));
    rows(
        &mut text,
        "data",
        [format!("{}{}", config.data_dir.value.display(), suffix(&config.data_dir))],
    );
    rows(&mut text, "access", [access(config)]);
    rows(
        &mut text,
        "models",
        std::iter::once(built_in(config)).chain(discoveries.iter().map(Discovery::line)),
    );
    rows(&mut text, "settings", settings(config));
    rows(&mut text, "note", config.notes.iter().cloned());
    rows(&mut text, "started", [format!("in {} ms", took.as_millis())]);
    text
}

/// Rows under one name, which only the first carries.
fn rows(text: &mut String, name: &str, rows: impl IntoIterator<Item = String>) {
    for (index, row) in rows.into_iter().enumerate() {
        let name = if index == 0 { name } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<9} {row}");
    }
}

fn suffix<T>(sourced: &Sourced<T>) -> String {
    if sourced.is_set() { format!(" ({})", sourced.origin) } else { String::new() }
}

fn access(config: &Config) -> String {
    match &config.password {
        Some(password) if password.origin == Origin::Generated => format!(
            "password {} (made up for this start and shown only here; RETOLD_PASSWORD sets one)",
            password.value.expose()
        ),
        Some(password) => format!("a password is demanded ({})", password.origin),
        None if config.is_exposed() => {
            "OPEN TO THE NETWORK without a password (--insecure)".to_owned()
        }
        None => "no password; only this machine can connect".to_owned(),
    }
}

fn built_in(config: &Config) -> String {
    let default = match config.model_of_new_agents() {
        Some(handle) => format!("new agents get {handle}"),
        None => "new agents must name theirs, or set RETOLD_DEFAULT_MODEL".to_owned(),
    };
    format!("retold/rehearsal (built in, no language model); {default}")
}

/// Everything somebody set that has no row of its own.
fn settings(config: &Config) -> impl Iterator<Item = String> {
    let shown_elsewhere = ["data_dir", "password", "url"];
    let set = config.entries().into_iter().filter(move |entry| {
        let config_file = entry.key == "config" && config.file.is_some();
        (entry.origin != Origin::Default || config_file) && !shown_elsewhere.contains(&entry.key)
    });
    let providers =
        config.providers.iter().map(|it| format!("provider {} ({})", it.name, it.origin()));
    set.map(|entry| format!("{} = {} ({})", entry.key, entry.value.text(), entry.origin))
        .chain(providers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Flags, Inputs, SETTINGS};

    fn config(flags: &[(&str, &str)], env: &[(&str, &str)]) -> Config {
        let mut given = Flags::default();
        for (key, value) in flags {
            given.set(SETTINGS.iter().find(|setting| setting.key == *key).unwrap(), *value);
        }
        Config::load(&Inputs {
            flags: given,
            environment: [("HOME", "/home/ada")]
                .iter()
                .chain(env)
                .copied()
                .collect::<Environment>(),
            directory: "/no/such/directory".into(),
            generated_password: "made-up".to_owned(),
        })
        .unwrap()
    }

    fn shown(config: &Config, discoveries: &[Discovery]) -> String {
        banner(config, config.address(), discoveries, Duration::from_millis(41))
    }

    fn discovery(answer: Answer) -> Discovery {
        Discovery { provider: "openai".to_owned(), endpoint: "http://h/v1".to_owned(), answer }
    }

    #[test]
    fn the_first_line_is_what_scripts_look_for() {
        let text = shown(&config(&[], &[]), &[]);
        let first =
            format!("retold {} is ready on http://127.0.0.1:8283\n", env!("CARGO_PKG_VERSION"));
        assert!(text.starts_with(&first), "{text}");
    }

    #[test]
    fn with_nothing_set_it_is_short() {
        let expected = "  data      /home/ada/.local/share/retold\n\
            \x20 access    no password; only this machine can connect\n\
            \x20 models    retold/rehearsal (built in, no language model); new agents get retold/rehearsal\n\
            \x20 started   in 41 ms\n";
        assert_eq!(shown(&config(&[], &[]), &[]).split_once('\n').unwrap().1, expected);
    }

    #[test]
    fn every_setting_that_is_not_default_says_who_set_it() {
        let env =
            [("RETOLD_DATA_DIR", "/d"), ("OPENAI_API_KEY", "sk-secret"), ("LETTA_PG_URI", "x")];
        let text = shown(&config(&[("port", "9000")], &env), &[]);
        for line in [
            "/d (RETOLD_DATA_DIR)",
            "port = 9000 (--port)",
            "provider openai (OPENAI_API_KEY)",
            "LETTA_PG_URI is not needed",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("sk-secret"));
    }

    #[test]
    fn a_made_up_password_is_shown_and_a_set_one_is_not() {
        assert!(
            shown(&config(&[("secure", "true")], &[]), &[]).contains("password made-up (made up")
        );
        let text = shown(&config(&[], &[("RETOLD_PASSWORD", "mine")]), &[]);
        assert!(
            text.contains("a password is demanded (RETOLD_PASSWORD)") && !text.contains("mine"),
            "{text}"
        );
    }

    #[test]
    fn an_open_server_is_said_loudly() {
        let text = shown(&config(&[("host", "0.0.0.0"), ("insecure", "true")], &[]), &[]);
        assert!(text.contains("OPEN TO THE NETWORK"), "{text}");
    }

    #[test]
    fn each_provider_tells_what_it_has_or_why_not() {
        let models = |count, first: &[&str]| Answer::Models {
            count,
            first: first.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(
            discovery(models(5, &["a/x", "a/y"])).line(),
            "openai: 5 models (a/x, a/y, ...)"
        );
        assert_eq!(discovery(models(1, &["a/x"])).line(), "openai: 1 model (a/x)");
        assert_eq!(discovery(models(0, &[])).line(), "openai: no models at http://h/v1");
        assert_eq!(discovery(Answer::Pending).line(), "openai: asking http://h/v1");
        assert_eq!(
            discovery(Answer::Failed("401".to_owned())).line(),
            "openai: no list of models: 401"
        );
        let text = shown(&config(&[], &[]), &[discovery(Answer::Pending)]);
        assert!(text.contains("\n            openai: asking"), "{text}");
    }
}
