//! What can be wrong with a configuration. Each message names the place and what to write instead.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use retold_tools::egress::PolicyError;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named, or `./retold.toml`, cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML. The detail points at the line.
    #[error("{} is not valid TOML: {detail}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        detail: String,
    },
    /// The file has a key that means nothing here.
    #[error("unknown key `{key}` in {}{hint}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key, with its section.
        key: String,
        /// What was probably meant.
        hint: Hint,
    },
    /// The file has a key that may only be a flag.
    #[error("`{key}` cannot be set in {}; give the flag --{flag}", path.display())]
    FlagOnly {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// The flag to give instead.
        flag: &'static str,
    },
    /// A value of the wrong type, or out of its range.
    #[error("{place} is {given}, but must be {expected}")]
    Invalid {
        /// The flag, variable or key.
        place: String,
        /// What was given; a secret is never repeated.
        given: String,
        /// What would be right.
        expected: &'static str,
    },
    /// An entry of the list of what may be called cannot be understood.
    #[error("{place} cannot be used: {problem}")]
    Egress {
        /// The flag, variable or key.
        place: String,
        /// What is wrong with the first such entry, and what to write.
        problem: PolicyError,
    },
    /// A variable holds bytes that are not text.
    #[error("the variable {name} is not valid UTF-8")]
    NotUnicode {
        /// The variable.
        name: String,
    },
    /// There is nowhere to put the data.
    #[error(
        "no place for the data: neither HOME nor XDG_DATA_HOME is set; give --data-dir or RETOLD_DATA_DIR"
    )]
    NoDataDir,
    /// The password file cannot be read.
    #[error("cannot read the password file {}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A password that is empty would let everybody in.
    #[error("the password file {} is empty", path.display())]
    EmptyPassword {
        /// The file.
        path: PathBuf,
    },
    /// The file sets both forms of the password.
    #[error("{} sets both `password` and `password_file`; keep one", path.display())]
    TwoPasswords {
        /// The file.
        path: PathBuf,
    },
    /// A section under `providers` that is neither a known provider nor says what it is.
    #[error("[providers.{name}] in {} has no `kind`{hint}; the kinds are {kinds}", path.display())]
    ProviderKind {
        /// The file.
        path: PathBuf,
        /// The section.
        name: String,
        /// What was probably meant.
        hint: Hint,
        /// All kinds.
        kinds: String,
    },
    /// The server would be open to the network.
    #[error(
        "refusing to listen on {address}, which others can reach, without a password: \
         set RETOLD_PASSWORD (or --password-file, or --secure to get one made up), \
         or listen on 127.0.0.1, or accept the risk with --insecure"
    )]
    Exposed {
        /// Where the server would listen.
        address: SocketAddr,
    },
}

/// The nearest valid name, if one is near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint(Option<String>);

impl Hint {
    /// The candidate nearest to what was typed: at most a third of its letters may differ, and two always may.
    pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        let allowed = (typed.chars().count() / 3).max(2);
        let nearest = candidates
            .into_iter()
            .map(|candidate| {
                (
                    strsim::damerau_levenshtein(&typed.to_lowercase(), &candidate.to_lowercase()),
                    candidate,
                )
            })
            .filter(|(distance, candidate)| {
                *distance <= allowed && *distance < candidate.chars().count()
            })
            .min_by_key(|(distance, _)| *distance);
        Self(nearest.map(|(_, candidate)| candidate.to_owned()))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |name| write!(f, "; did you mean `{name}`?"))
    }
}
