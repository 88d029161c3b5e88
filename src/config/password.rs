//! Which password the server demands, if any.
//!
//! V1 demands one only in secure mode. Here a password that somebody set is always demanded, because a server whose
//! owner set a password and is open all the same is the worse surprise; `LETTA_SERVER_SECURE=false`, said outright,
//! still means what it means to Letta.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{ConfigError, Origin, Secret, Sourced, setting, sources::Sources};

/// Letta's variable, which alone among the sources obeys `secure = false`.
const LETTA_PASSWORD: &str = "LETTA_SERVER_PASSWORD";

/// What came out, and what the banner should say about it.
pub(super) struct Access {
    pub(super) password: Option<Sourced<Secret>>,
    pub(super) note: Option<String>,
}

/// Decides; `generated` is used when a password is demanded and none is set.
pub(super) fn access(
    sources: &Sources<'_>,
    secure: &Sourced<bool>,
    generated: &str,
) -> Result<Access, ConfigError> {
    let given = given(sources)?;
    let from_letta =
        given.as_ref().is_some_and(|it| it.origin == Origin::Env(LETTA_PASSWORD.to_owned()));
    Ok(match given {
        Some(_) if from_letta && secure.is_set() && !secure.value => Access {
            password: None,
            note: Some(format!(
                "{LETTA_PASSWORD} is set but not demanded, because secure is false ({})",
                secure.origin
            )),
        },
        Some(password) if from_letta && !secure.is_set() => Access {
            password: Some(password),
            note: Some(format!(
                "the password of {LETTA_PASSWORD} is demanded even without LETTA_SERVER_SECURE=true; \
                 LETTA_SERVER_SECURE=false leaves the server open"
            )),
        },
        Some(password) => Access { password: Some(password), note: None },
        None if secure.value => Access {
            password: Some(Sourced { value: Secret::new(generated), origin: Origin::Generated }),
            note: None,
        },
        None => Access { password: None, note: None },
    })
}

/// The password that is set, by precedence.
fn given(sources: &Sources<'_>) -> Result<Option<Sourced<Secret>>, ConfigError> {
    if let Some(file) = sources.flag::<PathBuf>(&setting::PASSWORD_FILE)? {
        return from_file(file).map(Some);
    }
    let [own, letta] = setting::PASSWORD.env else { return Ok(None) };
    if let Some(password) = sources.variable(own)? {
        return Ok(Some(password));
    }
    if let Some(file) = sources.env::<PathBuf>(&setting::PASSWORD_FILE)? {
        return from_file(file).map(Some);
    }
    if let Some(password) = sources.variable(letta)? {
        return Ok(Some(password));
    }
    in_config_file(sources)
}

fn in_config_file(sources: &Sources<'_>) -> Result<Option<Sourced<Secret>>, ConfigError> {
    let Some(file) = sources.file else { return Ok(None) };
    let direct = sources.in_file(&setting::PASSWORD)?;
    let named = sources.in_file::<PathBuf>(&setting::PASSWORD_FILE)?;
    match (direct, named) {
        (Some(_), Some(_)) => Err(ConfigError::TwoPasswords { path: file.path.clone() }),
        (direct, None) => Ok(direct),
        (None, Some(named)) => from_file(named.map(|path| file.anchored(path))).map(Some),
    }
}

fn from_file(file: Sourced<PathBuf>) -> Result<Sourced<Secret>, ConfigError> {
    let password = read(&file.value)?;
    Ok(file.map(|_| password))
}

fn read(path: &Path) -> Result<Secret, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::PasswordFile { path: path.to_owned(), source })?;
    match text.trim() {
        "" => Err(ConfigError::EmptyPassword { path: path.to_owned() }),
        password => Ok(Secret::new(password)),
    }
}
