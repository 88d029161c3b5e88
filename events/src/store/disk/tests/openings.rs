//! Openings that end halfway, one after the other: what the last one finds is what was acknowledged.

use super::*;

/// Does what [`SledStore::open`] does, in its order, and ends after so many steps, as a crash would. Whether it did end
/// before the last.
fn open_halfway(dir: &Path, steps: usize) -> bool {
    let mut left = steps;
    let mut ends = || {
        left = left.saturating_sub(1);
        left == 0
    };
    let directory = Directory::open(dir).unwrap();
    directory.make_room().unwrap();
    directory.remove_trial().unwrap();
    let saved = HeadFile::read(&directory.head()).unwrap();
    let is_clean = directory.is_clean() && saved.is_some();
    let entries = if is_clean { Vec::new() } else { journal::read(&directory.journal()).unwrap() };
    check::before_opening(&directory, saved, &entries).unwrap();
    let (mut head_file, _) = HeadFile::open(&directory.head()).unwrap();
    directory.unmark_clean().unwrap();
    if ends() {
        return true;
    }
    let tree = Tree::open(&directory.log(), 8 << 20).unwrap();
    if ends() {
        return true;
    }
    for count in 1..=entries.len() {
        journal::replay(&tree, dir, &entries[..count]).unwrap();
        if ends() {
            return true;
        }
    }
    let mut now = check::after_opening(&tree, dir, saved).unwrap();
    directory.write_format().unwrap();
    if ends() {
        return true;
    }
    now.head.epoch += 1;
    head_file.write(&now).unwrap();
    if ends() {
        return true;
    }
    head_file.sync().unwrap();
    drop(Journal::begin(&directory.journal()).unwrap());
    false
}

/// A directory of which nothing but the journal and the head file has the last groups, one of them large.
fn crashed() -> (TempDir, Seen) {
    let dir = tempfile::tempdir().unwrap();
    let older = written(4);
    copy_files(older.path(), dir.path());
    let store = open(dir.path()).unwrap();
    write(&store, 4, 6);
    let row = RowChange {
        table: Table::Runs,
        key: b"r".to_vec(),
        value: Some(Bytes::from(vec![2; 2 << 20])),
    };
    store.append(&[Commit { rows: vec![row], ..Commit::default() }]).unwrap()[0].unwrap();
    let seen = look(&store);
    drop(store);
    replace_log(older.path(), dir.path());
    let _ = fs::remove_file(dir.path().join("CLEAN"));
    (dir, seen)
}

type Seen = (Position, [u8; 16], Vec<Record>, Vec<Key>, usize);

fn look(store: &SledStore) -> Seen {
    let head = store.head();
    let row = store.row(Table::Runs, b"r").unwrap().map_or(0, |row| row.len());
    (head.position, head.chain, store.read_all(Position(1), 99).unwrap(), keys_of(store), row)
}

#[test]
fn however_often_opening_ends_halfway_the_next_one_finds_all_that_was_acknowledged() {
    let (dir, seen) = crashed();
    let copy = |from: &Path| {
        let copy = tempfile::tempdir().unwrap();
        copy_files(from, copy.path());
        copy
    };
    let mut tried = 0;
    for first in 1.. {
        let once = copy(dir.path());
        let more = open_halfway(once.path(), first);
        for second in [1, 3] {
            // At the same step again, and at those around it.
            let twice = copy(once.path());
            open_halfway(twice.path(), (first + second).saturating_sub(2).max(1));
            open_halfway(twice.path(), second);
            let store = open(twice.path()).unwrap();
            assert!(look(&store) == seen, "{first}, then around it, then {second}");
            write(&store, 6, 7);
            store.close().unwrap();
            assert_eq!(open(twice.path()).unwrap().head().position, Position(7));
            tried += 1;
        }
        if !more {
            break;
        }
    }
    assert!(tried > 10, "opening takes more steps than {tried} tries");
}
