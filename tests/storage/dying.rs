//! A disk that fails while the real server uses it: each call of a kind in turn, once, from then on, or in the middle.
//!
//! A fixed scenario is played with the n-th call failing, for n = 1, 2, 3, ... . Whatever the server answered with success
//! is there after a restart on a sound disk; whatever it did not is refused in the contract's form, or the connection
//! breaks; and a server that cannot keep anything any more says so and ends, with an exit code that is not 0.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::program::Home;
use crate::rig::number;
use crate::shim::{self, EDQUOT, EIO, EMFILE, ENOSPC, Fault};
use crate::trace::{Op, Trace};
use crate::trial::{Acknowledged, MODEL, Played, Started, Trial, missing, play};
use crate::{Result, say};

/// A server with its files below a shim.
async fn start(
    home: &Home,
    fault: Option<(Fault, &Path)>,
    trace: Option<&Path>,
) -> Result<Started> {
    let root = home.path().join("disk");
    fs::create_dir_all(&root)?;
    let mut command = home.serve_on(&root.join("data"));
    shim::below(&mut command, &root)?;
    if let Some((fault, hits)) = fault {
        shim::fault(&mut command, fault, hits);
    }
    if let Some(trace) = trace {
        shim::trace(&mut command, trace);
    }
    Trial::start(&mut command).await
}

/// What is wrong, in words; nothing mostly.
type Wrong = Option<String>;

/// Plays the scenario with one fault, and looks at what is left: on the same disk, then on a sound one.
async fn with_fault(fault: Fault) -> Result<Wrong> {
    let home = Home::new()?;
    let hits = home.path().join("hits");
    let mut acknowledged = Acknowledged::default();
    let mut wrong = while_it_fails(&home, fault, &hits, &mut acknowledged).await?;
    if wrong.is_none() && fault.mode != "once" {
        wrong = on_the_same_disk(&home, fault, &hits, &acknowledged).await?;
    }
    if wrong.is_none() {
        wrong = on_a_sound_disk(&home, &acknowledged).await?;
    }
    let hit = fs::read_to_string(&hits).unwrap_or_default();
    let hit = hit.lines().next().unwrap_or("never");
    Ok(wrong.map(|wrong| format!("{fault:?} (first: {hit}): {wrong}")))
}

async fn while_it_fails(
    home: &Home,
    fault: Fault,
    hits: &Path,
    acknowledged: &mut Acknowledged,
) -> Result<Wrong> {
    let mut trial = match start(home, Some((fault, hits)), None).await? {
        Started::Ready(trial) => trial,
        Started::Ended(code, said) => return Ok(not_said(code, &said)),
    };
    let played = play(&trial.api()?, acknowledged).await;
    let is_full = match &played {
        Played::Through | Played::Cut => false,
        Played::Refused(status, body) => match (*status, body["code"].as_str().unwrap_or_default())
        {
            (507, "storage_full") => true,
            // Whoever comes a moment later meets a server that is ending.
            (503, "storage_failed" | "shutting_down") => false,
            _ => return Ok(Some(format!("an answer of {status}: {body}"))),
        },
    };
    if is_full || played == Played::Through {
        // It may have failed since, beside the requests.
        return Ok(match trial.end(true).await? {
            Some(0 | 1) => None,
            code => Some(format!("told to end, it ended with {code:?}: {}", trial.said())),
        });
    }
    let (code, said) = (trial.end(false).await?, trial.said());
    let is_said = said.contains("the storage failed, so nothing more is acknowledged");
    let is_well = code == Some(1) && is_said;
    Ok((!is_well).then(|| format!("after {played:?} it ended with {code:?}: {said}")))
}

/// The disk is as bad as it was, and worse: from the first call on. Starting may be refused; nothing may be missing.
async fn on_the_same_disk(
    home: &Home,
    fault: Fault,
    hits: &Path,
    acknowledged: &Acknowledged,
) -> Result<Wrong> {
    let still = Fault { number: 1, mode: "forever", ..fault };
    match start(home, Some((still, hits)), None).await? {
        Started::Ended(code, said) => Ok(not_said(code, &said)),
        Started::Ready(mut trial) => {
            let lost = missing(&trial.api()?, acknowledged).await?;
            trial.end(true).await?;
            Ok(lost.map(|lost| format!("on the same disk this is lost: {lost}")))
        }
    }
}

async fn on_a_sound_disk(home: &Home, acknowledged: &Acknowledged) -> Result<Wrong> {
    let mut trial = match start(home, None, None).await? {
        Started::Ready(trial) => trial,
        Started::Ended(code, said) => {
            return Ok(Some(format!("on a sound disk it ended with {code:?}: {said}")));
        }
    };
    if let Some(lost) = missing(&trial.api()?, acknowledged).await? {
        return Ok(Some(format!("this is lost: {lost}")));
    }
    let (status, agent) = trial.api()?.create("one more", MODEL).await?;
    if status != 200 {
        return Ok(Some(format!("nothing new on a sound disk: {status} {agent}")));
    }
    Ok(match trial.end(true).await? {
        Some(0) => None,
        code => Some(format!("on a sound disk it ended with {code:?}: {}", trial.said())),
    })
}

/// A start that is refused is refused with a code and words of its own.
fn not_said(code: Option<i32>, said: &str) -> Wrong {
    let is_named = said.lines().any(|line| line.starts_with("retold: "));
    let is_well = matches!(code, Some(1 | 3)) && is_named;
    (!is_well).then(|| format!("it ended with {code:?} at its start: {said}"))
}

/// How often the scenario, from start to end, makes calls of each kind.
async fn calls() -> Result<impl Fn(&str) -> u64> {
    let home = Home::new()?;
    let trace = home.path().join("trace");
    let Started::Ready(mut trial) = start(&home, None, Some(&trace)).await? else {
        return Err("it does not start on a sound disk".into());
    };
    let mut acknowledged = Acknowledged::default();
    assert_eq!(play(&trial.api()?, &mut acknowledged).await, Played::Through, "{}", trial.said());
    assert_eq!(missing(&trial.api()?, &acknowledged).await?, None);
    assert_eq!(trial.end(true).await?, Some(0), "{}", trial.said());
    let ops = Trace::read(&trace, &home.path().join("disk"))?.ops;
    Ok(move |kind: &str| {
        let is_one = |op: &&Op| match op {
            Op::Write { .. } | Op::Zeros { .. } => kind == "write" || kind == "range",
            Op::Sync { .. } => kind == "sync",
            Op::Create { .. } | Op::Directory { .. } => kind == "create" || kind == "open",
            Op::Length { .. } => kind == "resize",
            Op::Rename { .. } | Op::Remove { .. } => kind == "rename",
        };
        ops.iter().filter(is_one).count() as u64
    })
}

/// Kind, mode and error of the faults, and the share of the usual number of places that is tried in the gate.
const FAULTS: [(&str, &str, i32, u64); 11] = [
    ("write", "forever", ENOSPC, 100),
    ("write", "short", ENOSPC, 60),
    ("write", "once", EIO, 30),
    ("write", "forever", EDQUOT, 20),
    ("sync", "once", EIO, 100),
    ("sync", "forever", EIO, 40),
    ("create", "forever", ENOSPC, 50),
    ("create", "once", EMFILE, 30),
    ("resize", "forever", ENOSPC, 20),
    ("rename", "once", EIO, 20),
    ("range", "once", EIO, 20),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_call_fails_nothing_acknowledged_is_lost() -> Result<()> {
    let usual = number("RETOLD_FAULTS", 6)?;
    let calls = calls().await?;
    let mut faults = Vec::new();
    for (kind, mode, errno, share) in FAULTS {
        let (all, wanted) = (calls(kind), (usual * share).div_ceil(100));
        // The first ones are those of opening; the rest is spread over what follows.
        let step = (all / wanted.max(1)).max(1);
        let numbers =
            (1..=all).filter(|number| *number <= wanted / 2 || number.is_multiple_of(step));
        faults.extend(numbers.map(|number| Fault { kind, number, mode, errno }));
    }
    let (begun, count) = (Instant::now(), faults.len());
    let (faults, turn) = (Arc::new(faults), Arc::new(AtomicUsize::new(0)));
    let hands: Vec<_> = (0..3)
        .map(|_| {
            let (faults, turn) = (Arc::clone(&faults), Arc::clone(&turn));
            tokio::spawn(async move {
                let mut wrong = Vec::new();
                while let Some(fault) = faults.get(turn.fetch_add(1, Ordering::Relaxed)) {
                    wrong.extend(with_fault(*fault).await?);
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(wrong)
            })
        })
        .collect();
    let mut wrong = Vec::new();
    for hand in hands {
        wrong.extend(hand.await??);
    }
    say(&format!(
        "dying disk: {count} faults in {:.1} s, among {} writes, {} syncs and {} new files",
        begun.elapsed().as_secs_f64(),
        calls("write"),
        calls("sync"),
        calls("create"),
    ));
    assert!(wrong.is_empty(), "{} of {count} faults:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
