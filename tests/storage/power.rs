//! Power cuts: whatever a cut leaves of a store, it opens, and holds everything that was acknowledged before.
//!
//! A child writes a store with every change of its files written down. Then, for many moments, the directory is made
//! anew as a cut at that moment would have left it, and another child has to find it whole: every acknowledged commit,
//! nothing but whole commits, positions without gap, rows, output and heads that follow from them; and it goes on from
//! there. Some of those children are cut in turn, while they recover.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use crate::child::{Answer, Told, Worker};
use crate::disk::{Disk, Left};
use crate::random::Random;
use crate::rig::{copy, keep, number, quick_dir, renew_clean_mark, seed};
use crate::script::Size;
use crate::trace::{Op, Trace};
use crate::{Result, say, shim};

/// The database's file has parts of this size, which are used again when nothing in them counts any more.
const PART_BYTES: u64 = 8 << 20;

/// How a store came to be.
struct Life {
    size: Size,
    seed: u64,
    /// For each process: the last commit it writes, and whether it closes the store.
    sessions: Vec<(u64, bool)>,
}

/// A life that is over, with all that was written down.
struct Lived {
    life: Life,
    trace: Trace,
    /// The inode of the ledger.
    ledger: u64,
}

/// How many cuts are tried.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Right before a sync, at most.
    syncs: u64,
    /// At any moment.
    moments: u64,
    /// Operations after the database begins a part of its file, after each of which there are two cuts: what it takes for
    /// safe is said there, and has to be.
    per_part: usize,
}

/// A moment, and what is left of the things that were not safe then.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// After so many operations.
    after: usize,
    left: Left,
    seed: u64,
}

impl Life {
    fn live(self) -> Result<Lived> {
        let home = quick_dir()?;
        // Everything that is traced is below here; the trace itself is not.
        let root = home.path().join("root");
        fs::create_dir(&root)?;
        let (ledger, trace) = (root.join("ledger"), home.path().join("trace"));
        File::create(&ledger)?;
        let dir = root.join("data");
        for (last, closes) in &self.sessions {
            let mut writer = Worker::start(|command| {
                shim::trace(shim::below(command, &root)?, &trace);
                Ok(())
            })?;
            let told = Told { dir: &dir, seed: self.seed, size: self.size };
            let answer = writer.write(told, &ledger, *last, *closes)?;
            assert_eq!(answer, Answer::Holds(*last), "the writer itself");
            writer.kill()?;
        }
        let ledger = fs::metadata(&ledger)?.ino();
        Ok(Lived { trace: Trace::read(&trace, &root)?, life: self, ledger })
    }
}

impl Lived {
    /// Moments right before a sync, when most is at stake, with nothing left of it; and any moments with anything left.
    fn cuts(&self, plan: Plan, random: &mut Random) -> Vec<Cut> {
        let ops = self.trace.ops.iter().enumerate();
        let mut syncs: Vec<usize> =
            ops.filter(|(_, op)| matches!(op, Op::Sync { .. })).map(|(index, _)| index).collect();
        while syncs.len() as u64 > plan.syncs {
            syncs.swap_remove(random.below(syncs.len() as u64) as usize);
        }
        let before = |after| Cut { after, left: Left::Nothing, seed: 0 };
        let mut cuts: Vec<Cut> = syncs.into_iter().map(before).collect();
        for (begun, _) in self.beginnings_of_parts() {
            for block in [512, 4096] {
                for later in 1..=plan.per_part {
                    let left = Left::Some { block };
                    cuts.push(Cut { after: begun + later, left, seed: random.next() });
                }
            }
        }
        for _ in 0..plan.moments {
            let after = random.below(self.trace.ops.len() as u64 + 1) as usize;
            let left = Left::ALL[random.below(Left::ALL.len() as u64) as usize];
            cuts.push(Cut { after, left, seed: random.next() });
        }
        cuts
    }

    /// The operations that begin a part of the database's file: their index, and which part.
    fn beginnings_of_parts(&self) -> Vec<(usize, (u64, u64))> {
        let ops = self.trace.ops.iter().enumerate();
        let begins = ops.filter_map(|(index, op)| {
            let Op::Write { inode, offset, bytes } = op else { return None };
            let is_one = offset % PART_BYTES == 0 && bytes.len() > 4096;
            is_one.then_some((index, (*inode, *offset)))
        });
        begins.collect()
    }

    /// How many parts of the database's file were used for a second time.
    fn parts_used_again(&self) -> usize {
        let begun = self.beginnings_of_parts();
        let parts: BTreeSet<(u64, u64)> = begun.iter().map(|(_, part)| *part).collect();
        begun.len() - parts.len()
    }

    /// Bytes on the disk at the end.
    fn disk_bytes(&self) -> u64 {
        let mut disk = Disk::new();
        self.trace.ops.iter().for_each(|op| disk.take(op, &self.trace));
        disk.bytes(&self.trace)
    }

    /// Tries all of `cuts`, and gives what did not hold.
    fn try_all(&self, mut cuts: Vec<Cut>) -> Result<Vec<String>> {
        cuts.sort_by_key(|cut| cut.after);
        let (failures, turn) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
        let try_some = || -> Result<()> {
            let mut hand = Hand::new(self)?;
            loop {
                let index = turn.fetch_add(1, Ordering::Relaxed);
                let Some(cut) = cuts.get(index) else { return Ok(()) };
                if let Some(failure) = hand.try_one(*cut)? {
                    say(&format!("power cut: {failure}"));
                    failures.lock().map_err(|_| "a thread panicked")?.push(failure);
                }
            }
        };
        std::thread::scope(|scope| {
            let both = [scope.spawn(try_some), scope.spawn(try_some)];
            for one in both {
                one.join().map_err(|_| "a thread panicked")??;
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })?;
        Ok(failures.into_inner()?)
    }
}

/// Tries cuts one after the other, in their order.
struct Hand<'a> {
    lived: &'a Lived,
    disk: Disk,
    /// Operations that have taken effect.
    taken: usize,
    acknowledged: u64,
    worker: Worker,
    place: TempDir,
}

impl<'a> Hand<'a> {
    fn new(lived: &'a Lived) -> Result<Self> {
        let (disk, worker, place) = (Disk::new(), Worker::start(|_| Ok(()))?, quick_dir()?);
        Ok(Self { lived, disk, taken: 0, acknowledged: 0, worker, place })
    }

    fn go_to(&mut self, after: usize) -> Result<()> {
        let Lived { trace, ledger, .. } = self.lived;
        for op in &trace.ops[self.taken..after] {
            if let Op::Write { inode, bytes, .. } = op
                && inode == ledger
            {
                let text = std::str::from_utf8(trace.bytes(bytes))?;
                self.acknowledged = text.trim().parse()?;
            }
            self.disk.take(op, trace);
        }
        self.taken = after;
        Ok(())
    }

    fn try_one(&mut self, cut: Cut) -> Result<Option<String>> {
        self.go_to(cut.after)?;
        let image = self.place.path().join("image");
        fs::create_dir(&image)?;
        self.disk.leave(cut.left, &mut Random::new(cut.seed), &self.lived.trace, &image)?;
        let dir = image.join("data");
        let is_clean = renew_clean_mark(&dir)?;
        let found = self.place.path().join("found");
        if std::env::var_os("RETOLD_KEEP").is_some() {
            copy(&image, &found)?;
        }
        let told = Told { dir: &dir, seed: self.lived.life.seed, size: self.lived.life.size };
        let answer = self.worker.check(told, self.acknowledged)?;
        fs::remove_dir_all(&image)?;
        if matches!(answer, Answer::Holds(_)) {
            let _ = fs::remove_dir_all(&found);
            return Ok(None);
        }
        if matches!(answer, Answer::Died(_) | Answer::Hung) {
            self.worker = Worker::start(|_| Ok(()))?;
        }
        let size = self.lived.life.size.name();
        keep(&found, &format!("cut-{size}-{}-{}", cut.after, cut.seed))?;
        let _ = fs::remove_dir_all(&found);
        let last = self.lived.trace.ops[..cut.after].last();
        let acknowledged = self.acknowledged;
        Ok(Some(format!(
            "{size}, {cut:?} (clean: {is_clean}), after {last:?}, with {acknowledged} acknowledged: {answer:?}"
        )))
    }
}

/// Lives, cuts, and fails with everything that did not hold.
fn prove(life: Life, plan: Plan) -> Result<()> {
    let begun = Instant::now();
    let size = life.size.name();
    let mut random = Random::new(life.seed);
    let lived = life.live()?;
    let ops = lived.trace.ops.len();
    let cuts = lived.cuts(plan, &mut random);
    let count = cuts.len();
    let lives = begun.elapsed();
    let failures = lived.try_all(cuts)?;
    say(&format!(
        "power cut: a {size} store of {:.0} MiB with {ops} operations, {} parts of it used again, made in {:.1} s; \
         {count} cuts in {:.1} s",
        lived.disk_bytes() as f64 / f64::from(1 << 20),
        lived.parts_used_again(),
        lives.as_secs_f64(),
        (begun.elapsed() - lives).as_secs_f64(),
    ));
    assert!(failures.is_empty(), "{} of {count} cuts:\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

#[test]
fn a_small_store_survives_a_cut_at_any_moment() -> Result<()> {
    let seed = seed("power cut, small store")?;
    let sessions = vec![(12, false), (20, true), (32, true), (40, false)];
    let plan = Plan { syncs: u64::MAX, moments: number("RETOLD_CUTS", 200)?, per_part: 0 };
    prove(Life { size: Size::Small, seed, sessions }, plan)
}

#[test]
fn a_store_with_large_values_survives_a_cut_at_any_moment() -> Result<()> {
    let seed = seed("power cut, large values")?;
    let sessions = vec![(60, false), (120, true), (150, true)];
    let cuts = number("RETOLD_CUTS", 70)?;
    prove(
        Life { size: Size::Mixed, seed, sessions },
        Plan { syncs: cuts, moments: cuts, per_part: 3 },
    )
}

#[test]
fn a_store_that_is_written_over_and_over_survives_a_cut_at_any_moment() -> Result<()> {
    let seed = seed("power cut, written over")?;
    let commits = number("RETOLD_CUT_COMMITS", 1000)?;
    let sessions = vec![(commits / 2, false), (commits, false)];
    let cuts = number("RETOLD_CUTS", 25)?;
    prove(
        Life { size: Size::Churn, seed, sessions },
        Plan { syncs: cuts, moments: cuts, per_part: 3 },
    )
}

#[test]
fn a_store_with_values_larger_than_its_parts_survives_a_cut_at_any_moment() -> Result<()> {
    let seed = seed("power cut, huge values")?;
    let cuts = number("RETOLD_CUTS", 8)?;
    let plan = Plan { syncs: cuts, moments: cuts, per_part: 2 };
    prove(Life { size: Size::Huge, seed, sessions: vec![(16, false)] }, plan)
}
