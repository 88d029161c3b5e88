//! Power cuts: whatever a cut leaves of a store, it opens, and holds everything that was acknowledged before.
//!
//! A child writes a store with every change of its files written down. Then, for many moments, the directory is made
//! anew as a cut at that moment would have left it, and another child has to find it whole: every acknowledged commit,
//! nothing but whole commits, positions without gap, rows, output and heads that follow from them; and it goes on from
//! there. Some of those children are cut in turn, while they recover.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
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
/// Moments at which a recovery is cut.
const CUTS_OF_A_RECOVERY: usize = 4;

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
    /// Right after the database begins a part of its file: what it takes for safe is said there, and has to be.
    parts: u64,
    /// Of the two latter, one in so many has its recovery cut, too.
    one_again_in: u64,
}

/// A moment, and what is left of the things that were not safe then.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// After so many operations.
    after: usize,
    left: Left,
    seed: u64,
    /// Whether the recovery is cut, too.
    recovers_again: bool,
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
        let before = |after| Cut { after, left: Left::Nothing, seed: 0, recovers_again: false };
        let mut cuts: Vec<Cut> = syncs.into_iter().map(before).collect();
        let begun = self.beginnings_of_parts();
        for _ in 0..plan.parts {
            let Some((index, _)) = begun.get(random.below(begun.len().max(1) as u64) as usize)
            else {
                break;
            };
            let after = index + 1 + random.below(3) as usize;
            let block = [512, 4096][random.below(2) as usize];
            cuts.push(Cut {
                after: after.min(self.trace.ops.len()),
                left: Left::Some { block },
                seed: random.next(),
                recovers_again: random.one_in(plan.one_again_in),
            });
        }
        for _ in 0..plan.moments {
            let after = random.below(self.trace.ops.len() as u64 + 1) as usize;
            let left = Left::ALL[random.below(Left::ALL.len() as u64) as usize];
            let (seed, recovers_again) = (random.next(), random.one_in(plan.one_again_in));
            cuts.push(Cut { after, left, seed, recovers_again });
        }
        cuts
    }

    /// The operations that begin a part of the database's file: their index, and which part.
    fn beginnings_of_parts(&self) -> Vec<(usize, (u64, u64))> {
        let (mut database, mut begun) = (None, Vec::new());
        for (index, op) in self.trace.ops.iter().enumerate() {
            match op {
                Op::Create { inode, name } if name == "data/log/db" => database = Some(*inode),
                Op::Write { inode, offset, bytes } if Some(*inode) == database => {
                    if offset % PART_BYTES == 0 && bytes.len() > 4096 {
                        begun.push((index, (*inode, *offset)));
                    }
                }
                Op::Create { .. }
                | Op::Write { .. }
                | Op::Zeros { .. }
                | Op::Length { .. }
                | Op::Sync { .. }
                | Op::Directory { .. }
                | Op::Rename { .. }
                | Op::Remove { .. } => {}
            }
        }
        begun
    }

    /// How many parts of the database's file were used for a second time.
    fn parts_used_again(&self) -> usize {
        let begun = self.beginnings_of_parts();
        let parts: BTreeSet<(u64, u64)> = begun.iter().map(|(_, part)| *part).collect();
        begun.len() - parts.len()
    }

    /// Parts of the database's file that were begun between two syncs of it, at most. It takes everything before the
    /// newest part but one for safe: with two there may be a hole that it does not look for.
    fn parts_begun_between_syncs(&self) -> usize {
        let begun: BTreeMap<usize, (u64, u64)> = self.beginnings_of_parts().into_iter().collect();
        let (mut since, mut most) = (BTreeMap::<u64, usize>::new(), 0);
        for (index, op) in self.trace.ops.iter().enumerate() {
            if let Op::Sync { inode, .. } = op {
                since.remove(inode);
            } else if let Some((inode, _)) = begun.get(&index) {
                let count = since.entry(*inode).or_default();
                *count += 1;
                most = most.max(*count);
            }
        }
        most
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
                for failure in hand.try_one(*cut)? {
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

    fn try_one(&mut self, cut: Cut) -> Result<Vec<String>> {
        self.go_to(cut.after)?;
        let image = self.place.path().join("image");
        let mut random = Random::new(cut.seed);
        make(&image, |image| self.disk.leave(cut.left, &mut random, &self.lived.trace, image))?;
        let mut failures = Vec::new();
        if cut.recovers_again {
            failures.extend(self.cut_recovery(cut, &image, &mut random)?);
            // It has recovered there already.
            make(&image, |image| self.disk.leave(cut.left, &mut random, &self.lived.trace, image))?;
        }
        failures.extend(self.find(cut, "", &image)?);
        Ok(failures)
    }

    /// Lets a store recover with every change written down, and cuts that at some moments.
    fn cut_recovery(&mut self, cut: Cut, image: &Path, random: &mut Random) -> Result<Vec<String>> {
        let mut disk = Disk::of(image)?;
        let file = self.place.path().join("trace");
        let mut recovering = Worker::start(|command| {
            shim::trace(shim::below(command, image)?, &file);
            Ok(())
        })?;
        let dir = image.join("data");
        // What it answers shows without this, too.
        recovering.check(self.told(&dir), self.acknowledged)?;
        recovering.kill()?;
        let trace = Trace::read(&file, image)?;
        fs::remove_file(&file)?;
        let mut moments: Vec<usize> = (0..CUTS_OF_A_RECOVERY)
            .map(|_| random.below(trace.ops.len() as u64 + 1) as usize)
            .collect();
        moments.sort_unstable();
        let (mut taken, mut failures) = (0, Vec::new());
        for moment in moments {
            trace.ops[taken..moment].iter().for_each(|op| disk.take(op, &trace));
            taken = moment;
            let left = Left::ALL[random.below(Left::ALL.len() as u64) as usize];
            let again = self.place.path().join("again");
            make(&again, |again| disk.leave(left, random, &trace, again))?;
            let during =
                format!(", and again after {moment} operations of its recovery, with {left:?}");
            failures.extend(self.find(cut, &during, &again)?);
        }
        Ok(failures)
    }

    fn told<'b>(&self, dir: &'b Path) -> Told<'b> {
        Told { dir, seed: self.lived.life.seed, size: self.lived.life.size }
    }

    /// Has a child look at what a cut left, and says what is wrong with it. The image is gone afterwards.
    fn find(&mut self, cut: Cut, during: &str, image: &Path) -> Result<Option<String>> {
        let dir = image.join("data");
        let is_clean = renew_clean_mark(&dir)?;
        let found = self.place.path().join("found");
        if std::env::var_os("RETOLD_KEEP").is_some() {
            copy(image, &found)?;
        }
        let answer = self.worker.check(self.told(&dir), self.acknowledged)?;
        fs::remove_dir_all(image)?;
        let size = self.lived.life.size.name();
        if !matches!(answer, Answer::Holds(_)) {
            keep(&found, &format!("cut-{size}-{}-{}", cut.after, cut.seed))?;
        }
        let _ = fs::remove_dir_all(&found);
        if matches!(answer, Answer::Died(_) | Answer::Hung) {
            self.worker = Worker::start(|_| Ok(()))?;
        }
        let last = self.lived.trace.ops[..cut.after].last();
        let acknowledged = self.acknowledged;
        let is_well = matches!(answer, Answer::Holds(_));
        Ok((!is_well).then(|| {
            format!(
                "{size}, {cut:?} (clean: {is_clean}), after {last:?}{during}, with {acknowledged} acknowledged: \
                 {answer:?}"
            )
        }))
    }
}

/// Makes a directory anew and fills it.
fn make(dir: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir(dir)?;
    fill(dir)
}

/// Lives, cuts, and fails with everything that did not hold.
fn prove(life: Life, plan: Plan) -> Result<()> {
    let begun = Instant::now();
    let size = life.size.name();
    let mut random = Random::new(life.seed);
    let lived = life.live()?;
    let ops = lived.trace.ops.len();
    let parts = lived.parts_begun_between_syncs();
    assert!(parts < 2, "{parts} parts of the database's file were begun between two syncs of it");
    let is_churn = lived.life.size == Size::Churn;
    assert!(!is_churn || lived.parts_used_again() > 0, "too little is written over");
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
    let plan =
        Plan { syncs: u64::MAX, moments: number("RETOLD_CUTS", 120)?, parts: 0, one_again_in: 10 };
    prove(Life { size: Size::Small, seed, sessions }, plan)
}

#[test]
fn a_store_with_large_values_survives_a_cut_at_any_moment() -> Result<()> {
    let seed = seed("power cut, large values")?;
    let sessions = vec![(60, false), (120, true), (150, true)];
    let cuts = number("RETOLD_CUTS", 40)?;
    prove(
        Life { size: Size::Mixed, seed, sessions },
        Plan { syncs: cuts, moments: cuts, parts: 10, one_again_in: 12 },
    )
}

#[test]
fn a_store_that_is_written_over_and_over_survives_a_cut_at_any_moment() -> Result<()> {
    let seed = seed("power cut, written over")?;
    let commits = number("RETOLD_CUT_COMMITS", 1000)?;
    let sessions = vec![(commits / 2, false), (commits, false)];
    let cuts = number("RETOLD_CUTS", 15)?;
    let plan = Plan { syncs: cuts, moments: cuts, parts: 2 * cuts, one_again_in: 12 };
    prove(Life { size: Size::Churn, seed, sessions }, plan)
}

#[test]
fn a_store_with_values_larger_than_its_parts_survives_a_cut_at_any_moment() -> Result<()> {
    let seed = seed("power cut, huge values")?;
    let cuts = number("RETOLD_CUTS", 4)?;
    let plan = Plan { syncs: cuts, moments: cuts, parts: 2 * cuts, one_again_in: 12 };
    prove(Life { size: Size::Huge, seed, sessions: vec![(6, true), (9, false)] }, plan)
}
