//! How calls end: in time, by cancel, by the end of the server; and that nothing is left of them.

use std::{path::Path, time::Duration};

use futures_util::future::join_all;
use retold_tools::cage::{Job, Status};

use crate::support::{Failure, Form, Ground, identity, options, until};

/// Prints who it is, starts what would like to stay, and waits.
const STAYS: &str = r#"
import os, signal, subprocess, sys, time
def f():
    for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    try:
        namespace = os.readlink('/proc/self/ns/pid')
    except OSError:
        namespace = '-'
    print('identity', os.getpgrp(), namespace, flush=True)
    if os.fork() == 0:
        try:
            os.setsid()
        except OSError:
            pass
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    subprocess.Popen(['sleep', '601'])
    open('started', 'w').close()
    time.sleep(600)
"#;

fn staying(timeout: Duration) -> Job {
    let mut job = Job::python(STAYS, "f");
    job.timeout = timeout;
    job
}

#[tokio::test]
async fn a_call_past_its_time_is_ended_with_everything_it_started() -> Result<(), Failure> {
    for form in Form::ALL {
        let Some(ground) = Ground::new(form).await? else { continue };
        let outcome = ground.run(staying(Duration::from_secs(1))).await?;
        assert_eq!(outcome.status, Status::TimedOut(Duration::from_secs(1)), "{form:?}");
        assert!(identity(&outcome.stdout).is_some(), "what it printed is kept: {outcome:?}");
        assert_eq!(ground.left_behind(&outcome.stdout), Vec::<String>::new(), "{form:?}");
        let told = outcome.status.text("f");
        assert_eq!(told, "Error executing function f: TimeoutError: it was ended after 1 s");
    }
    Ok(())
}

/// The keepers of a data directory. Tests run side by side, so none may look at those of another.
fn keepers(data: &Path) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_keeper(*pid, data)).collect()
}

/// The keepers of a data directory and everything that they keep.
fn kept(data: &Path) -> Vec<i32> {
    let mut found = keepers(data);
    let mut waiting = found.clone();
    while let Some(pid) = waiting.pop() {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.filter_map(Result::ok) {
            let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in list.split_ascii_whitespace().filter_map(|child| child.parse().ok()) {
                found.push(child);
                waiting.push(child);
            }
        }
    }
    found
}

fn folders(data: &Path) -> usize {
    std::fs::read_dir(data.join("tools/calls")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_is_ended_with_everything_it_started()
-> Result<(), Failure> {
    for form in Form::ALL {
        let none_ahead = |options: &mut retold_tools::cage::CageOptions| options.warm = 0;
        let Some(ground) = Ground::with(form, none_ahead).await? else { continue };
        let cage = ground.cage.clone();
        let data = ground.world.data.path();
        let call = tokio::spawn(async move { cage.run(staying(Duration::from_secs(600))).await });
        assert!(until(|| kept(data).into_iter().any(sleeps)).await, "{form:?}: it never began");
        assert!(until(|| keepers(data).len() == 1).await);
        let theirs = kept(data);
        call.abort();
        assert!(until(|| keepers(data).is_empty()).await, "{form:?}: its keeper is left");
        let gone = until(|| !theirs.iter().any(|pid| runs_a_tool(*pid))).await;
        assert!(gone, "{form:?}: some of {theirs:?} are left");
        assert!(until(|| folders(data) == 0).await, "{form:?}: its folder is left");
    }
    Ok(())
}

#[tokio::test]
async fn an_interpreter_that_waits_goes_when_the_cage_goes() -> Result<(), Failure> {
    for form in Form::ALL {
        let Some(ground) = Ground::new(form).await? else { continue };
        ground.cage.warm(&Job::python("", "f")).await?;
        assert!(until(|| ground.cage.ready() == 2).await, "{form:?}");
        assert!(keepers(ground.world.data.path()).len() >= 2);
        let Ground { cage, world, .. } = ground;
        drop(cage);
        assert!(
            until(|| keepers(world.data.path()).is_empty()).await,
            "{form:?}: keepers are left"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_nobody_uses_is_let_go_and_started_again_when_it_is() -> Result<(), Failure> {
    let mut tried = 0;
    for form in Form::ALL {
        let soon = |options: &mut retold_tools::cage::CageOptions| {
            options.idle = Duration::from_millis(400);
        };
        let Some(ground) = Ground::with(form, soon).await? else { continue };
        for _ in 0..2 {
            let outcome = ground.run(Job::python("def f(): return 1", "f")).await?;
            assert!(outcome.status.is_success());
            assert!(until(|| keepers(ground.world.data.path()).is_empty()).await, "{form:?}");
        }
        tried += 1;
    }
    assert!(tried > 0);
    Ok(())
}

#[tokio::test]
async fn no_more_calls_run_at_once_than_there_are_places_and_all_get_one() -> Result<(), Failure> {
    let mut tried = 0;
    for form in Form::ALL {
        let two = |options: &mut retold_tools::cage::CageOptions| {
            options.concurrency = 2;
            options.warm = 1;
        };
        let Some(ground) = Ground::with(form, two).await? else { continue };
        // Each call tells when it began and ended; a machine-wide clock compares them.
        let source = "import time\ndef f():\n    begun = time.monotonic()\n    time.sleep(0.1)\n    \
                      return '%r %r' % (begun, time.monotonic())";
        let calls = (0..6).map(|_| ground.run(Job::python(source, "f")));
        let mut spans = Vec::new();
        for outcome in join_all(calls).await {
            let Status::Returned { text, .. } = outcome?.status else {
                return Err("failed".into());
            };
            let (begun, ended) = text.split_once(' ').ok_or("no span")?;
            spans.push((begun.parse::<f64>()?, ended.parse::<f64>()?));
        }
        for (begun, _) in &spans {
            let at_once = spans.iter().filter(|(b, e)| b <= begun && begun < e).count();
            assert!(at_once <= 2, "{form:?}: {spans:?}");
        }
        tried += 1;
    }
    assert!(tried > 0);
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_given_up_while_it_waits_for_its_place_gives_it_to_the_next()
-> Result<(), Failure> {
    let one = |options: &mut retold_tools::cage::CageOptions| options.concurrency = 1;
    for form in Form::ALL {
        let Some(ground) = Ground::with(form, one).await? else { continue };
        let quick = || Job::python("def f(): return 'in'", "f");
        let long = tokio::spawn({
            let cage = ground.cage.clone();
            async move { cage.run(staying(Duration::from_secs(600))).await }
        });
        tokio::task::yield_now().await;
        let given_up =
            tokio::time::timeout(Duration::from_millis(300), ground.cage.run(quick())).await;
        assert!(given_up.is_err(), "{form:?}: two ran in one place");
        long.abort();
        let outcome = ground.run(quick()).await?;
        assert!(outcome.status.is_success(), "{form:?}: {outcome:?}");
    }
    Ok(())
}

#[tokio::test]
async fn when_a_keeper_is_killed_what_it_kept_goes_too() -> Result<(), Failure> {
    for form in Form::ALL {
        let none_ahead = |options: &mut retold_tools::cage::CageOptions| options.warm = 0;
        let Some(ground) = Ground::with(form, none_ahead).await? else { continue };
        let cage = ground.cage.clone();
        let call = tokio::spawn(async move { cage.run(staying(Duration::from_secs(600))).await });
        let data = ground.world.data.path();
        assert!(until(|| kept(data).into_iter().any(sleeps)).await, "{form:?}: it never began");
        // As the kernel does when memory is short.
        for pid in keepers(data) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let outcome = call.await??;
        assert!(matches!(outcome.status, Status::Died(_)), "{form:?}: {outcome:?}");
        let gone = until(|| ground.left_behind(&outcome.stdout).is_empty()).await;
        assert!(gone, "{form:?}: {:?}", ground.left_behind(&outcome.stdout));
    }
    Ok(())
}

fn is_keeper(pid: i32, data: &Path) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    line.contains("\0keeper\0") && line.contains(&data.display().to_string())
}

/// The variable that makes the next test a server.
const SERVER: &str = "RETOLD_TEST_SERVER";

/// A server with a call that stays, until somebody kills it. A part of the test after it; alone it does nothing.
#[tokio::test]
async fn a_server_that_is_going_to_be_killed() -> Result<(), Failure> {
    let Ok(data) = std::env::var(SERVER) else { return Ok(()) };
    let (form, data) = data.split_once(' ').ok_or("no form")?;
    let form =
        Form::ALL.into_iter().find(|one| format!("{one:?}") == form).ok_or("no such form")?;
    let cage = retold_tools::cage::Cage::start(options(data.into(), form)).await;
    cage.run(staying(Duration::from_secs(600))).await?;
    Ok(())
}

#[tokio::test]
async fn when_the_server_is_killed_its_calls_end_with_it() -> Result<(), Failure> {
    for form in Form::ALL {
        let Some(ground) = Ground::new(form).await? else { continue };
        let data = tempfile::tempdir()?;
        let mut server = std::process::Command::new(std::env::current_exe()?)
            .args(["--exact", "ends::a_server_that_is_going_to_be_killed"])
            .env(SERVER, format!("{form:?} {}", data.path().display()))
            .stdout(std::process::Stdio::null())
            .spawn()?;
        let began = until(|| kept(data.path()).into_iter().any(sleeps)).await;
        let started = kept(data.path());
        server.kill()?;
        server.wait()?;
        assert!(began, "{form:?}: it never began");
        let gone = until(|| keepers(data.path()).is_empty()).await;
        assert!(gone, "{form:?}: keepers are left");
        let interpreters = until(|| !started.iter().any(|pid| runs_a_tool(*pid))).await;
        assert!(interpreters, "{form:?}: interpreters are left");
        assert!(until(|| folders(data.path()) == 0).await, "{form:?}: folders are left");
        drop(ground);
    }
    Ok(())
}

/// The program that a call of [`STAYS`] starts last.
fn sleeps(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x00601\0")
}

fn runs_a_tool(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| String::from_utf8_lossy(&line).contains("def read_job"))
        || sleeps(pid)
}
