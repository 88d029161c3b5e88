//! Attempts to get out, to see what is outside, to harm it, or to stay. Every one has to fail.
//!
//! An attempt is the body of a tool. It says `held` when the cage refused it, or ends as the table says; after each the world
//! around must be as it was, and no process of it may be left.

mod channel;
mod files;
mod kernel;
mod network;
mod processes;
mod resources;

use std::time::Duration;

use futures_util::StreamExt;
use retold_tools::cage::{CageOptions, Job, Outcome, Status};

use crate::support::{Failure, Form, Ground};

/// What an attempt does, and how it has to end.
pub(crate) struct Attempt {
    name: &'static str,
    body: &'static str,
    ends: fn(&Status) -> bool,
    /// It would not end by itself.
    endless: bool,
}

/// An attempt that is refused while it runs.
const fn held(name: &'static str, body: &'static str) -> Attempt {
    Attempt { name, body, ends: says_held, endless: false }
}

/// An attempt that ends in another way.
const fn ends(name: &'static str, body: &'static str, ends: fn(&Status) -> bool) -> Attempt {
    Attempt { name, body, ends, endless: false }
}

/// An attempt that is ended by the clock.
const fn endless(name: &'static str, body: &'static str) -> Attempt {
    Attempt { name, body, ends: timed_out, endless: true }
}

/// An attempt that may be ended by the clock.
const fn short(name: &'static str, body: &'static str, ends: fn(&Status) -> bool) -> Attempt {
    Attempt { name, body, ends, endless: true }
}

fn says_held(status: &Status) -> bool {
    matches!(status, Status::Returned { text, .. } if text == "held")
}

fn timed_out(status: &Status) -> bool {
    matches!(status, Status::TimedOut(_))
}

fn died(status: &Status) -> bool {
    matches!(status, Status::Died(_))
}

/// What every attempt finds in scope.
const PRELUDE: &str = r#"
import ctypes, errno, json, mmap, os, resource, signal, socket, struct, subprocess, sys, threading, time

def identity():
    try:
        namespace = os.readlink('/proc/self/ns/pid')
    except OSError:
        namespace = '-'
    return 'identity %d %s' % (os.getpgrp(), namespace)

print(identity(), flush=True)
libc = ctypes.CDLL(None, use_errno=True)

def kernel(number, *arguments):
    """A call to the kernel by its number."""
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

def refused(*actions):
    """`held` when every action raises; otherwise which did not, and what it gave."""
    for action in actions:
        try:
            result = action()
        except Exception:
            continue
        return 'action %d gave %.200r' % (actions.index(action), result)
    return 'held'

def tried(*actions):
    """`held` in any case: the world outside is the judge."""
    for action in actions:
        try:
            action()
        except Exception:
            pass
    return 'held'

def attempt():
"#;

fn job(attempt: &Attempt, ground: &Ground) -> Job {
    let mut source = PRELUDE.to_owned();
    for line in attempt.body.trim_matches('\n').lines() {
        source.push_str("    ");
        source.push_str(line);
        source.push('\n');
    }
    let mut source = ground.world.fill(&source);
    for (name, number) in kernel::NUMBERS {
        source = source.replace(&format!("{{{name}}}"), &number.to_string());
    }
    let mut job = Job::python(source, "attempt");
    job.timeout = Duration::from_secs(if attempt.endless { 1 } else { 60 });
    job
}

/// The name of an attempt, its outcome, whether that is right, and what it left.
type Tried = (&'static str, Result<Outcome, Failure>, bool, Vec<String>);

async fn every_attempt(form: Form, attempts: &'static [Attempt]) -> Result<(), Failure> {
    let Some(mut ground) = Ground::new(form).await? else { return Ok(()) };
    let outcomes: Vec<Tried> = futures_util::stream::iter(attempts)
        .map(|attempt| {
            let ground = &ground;
            async move {
                let begun = std::time::Instant::now();
                let outcome = ground.run(job(attempt, ground)).await;
                println!("{}: {} ms", attempt.name, begun.elapsed().as_millis());
                let right = outcome.as_ref().is_ok_and(|it| (attempt.ends)(&it.status));
                let left = outcome.as_ref().map_or(Vec::new(), |it| ground.left_behind(&it.stdout));
                (attempt.name, outcome, right, left)
            }
        })
        .buffered(2)
        .collect()
        .await;
    let mut wrong = Vec::new();
    for (name, outcome, right, left) in &outcomes {
        match outcome {
            Ok(outcome) => {
                if !right {
                    let told: String = format!("{outcome:?}").chars().take(600).collect();
                    wrong.push(format!("{name}: {told}"));
                }
                if !left.is_empty() {
                    wrong.push(format!("{name} left {left:?}"));
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    wrong.extend(ground.world.changes());
    assert!(wrong.is_empty(), "{form:?}:\n{}", wrong.join("\n"));
    println!("{} attempts failed in {form:?}", outcomes.len());
    Ok(())
}

/// A test for each form of the cage.
macro_rules! in_every_form {
    ($($module:ident: $in_namespaces:ident $in_user_namespaces:ident $under_landlock:ident $without_scopes:ident)*) => {$(
        #[tokio::test]
        async fn $in_namespaces() -> Result<(), Failure> {
            every_attempt(Form::Namespaces, $module::ATTEMPTS).await
        }

        #[tokio::test]
        async fn $in_user_namespaces() -> Result<(), Failure> {
            every_attempt(Form::UserNamespaces, $module::ATTEMPTS).await
        }

        #[tokio::test]
        async fn $under_landlock() -> Result<(), Failure> {
            every_attempt(Form::Landlock, $module::ATTEMPTS).await
        }

        #[tokio::test]
        async fn $without_scopes() -> Result<(), Failure> {
            every_attempt(Form::LandlockWithoutScopes, $module::ATTEMPTS).await
        }
    )*};
}

in_every_form! {
    files: files_of_others_stay_shut_in_namespaces files_of_others_stay_shut_in_user_namespaces
        files_of_others_stay_shut_under_landlock files_of_others_stay_shut_under_an_older_landlock
    processes: processes_of_others_stay_untouched_in_namespaces processes_of_others_stay_untouched_in_user_namespaces
        processes_of_others_stay_untouched_under_landlock processes_of_others_stay_untouched_under_an_older_landlock
    network: nothing_is_reached_from_namespaces nothing_is_reached_from_user_namespaces
        nothing_is_reached_under_landlock nothing_is_reached_under_an_older_landlock
    kernel: the_kernel_refuses_in_namespaces the_kernel_refuses_in_user_namespaces
        the_kernel_refuses_under_landlock the_kernel_refuses_under_an_older_landlock
    resources: nothing_is_used_up_in_namespaces nothing_is_used_up_in_user_namespaces
        nothing_is_used_up_under_landlock nothing_is_used_up_under_an_older_landlock
    channel: no_result_is_forged_in_namespaces no_result_is_forged_in_user_namespaces
        no_result_is_forged_under_landlock no_result_is_forged_under_an_older_landlock
}

#[tokio::test]
async fn a_processor_is_not_used_up() -> Result<(), Failure> {
    for form in Form::ALL {
        let one_second = |options: &mut CageOptions| options.limits.cpu_seconds = 1;
        let Some(ground) = Ground::with(form, one_second).await? else { continue };
        for attempt in resources::BUSY {
            let outcome = ground.run(job(attempt, &ground)).await?;
            assert!((attempt.ends)(&outcome.status), "{form:?} {}: {outcome:?}", attempt.name);
        }
    }
    Ok(())
}
