//! What the environment says that deserves an answer but is no setting.

use super::{Environment, Hint, SETTINGS};

/// One line for everything that Letta needed and Retold does not, and one for each variable that looks mistyped.
pub(super) fn notes(environment: &Environment) -> Vec<String> {
    databases(environment).into_iter().chain(mistyped(environment)).collect()
}

fn databases(environment: &Environment) -> Option<String> {
    let names: Vec<_> = environment
        .names()
        .filter(|name| name.starts_with("LETTA_PG_") || name.starts_with("LETTA_REDIS_"))
        .collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    (!names.is_empty()).then(|| {
        format!("{} {verb} not needed: everything is kept in the data directory", names.join(", "))
    })
}

fn mistyped(environment: &Environment) -> impl Iterator<Item = String> {
    let known = || SETTINGS.iter().flat_map(|setting| setting.env).copied();
    environment
        .names()
        .filter(move |name| name.starts_with("RETOLD_") && !known().any(|it| it == *name))
        .map(move |name| {
            format!("the variable {name} means nothing here{}", Hint::nearest(name, known()))
        })
}
