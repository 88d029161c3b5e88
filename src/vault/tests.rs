//! What is sealed opens for whom it was sealed, and for nobody else; and what is wrong is said.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use proptest::{prelude::*, test_runner::TestCaseResult};
use tempfile::TempDir;

use super::*;
use crate::config::Sourced;

const OWNER: Uuid = Uuid::from_u128(7);

fn in_memory() -> Vault {
    Vault::in_memory(&Config::with_defaults("/nonexistent"))
}

fn in_dir(dir: &TempDir) -> Vault {
    Vault::new(&Config::with_defaults(dir.path()))
}

fn given(text: &str, dir: &Path) -> Vault {
    let mut config = Config::with_defaults(dir);
    config.encryption_key = Some(Sourced::default_of(config::Secret::new(text)));
    Vault::new(&config)
}

fn secret(vault: &Vault, name: &str, value: &str) -> Secret {
    Secret { name: name.to_owned(), value: vault.seal(OWNER, name, value).unwrap() }
}

fn key_text(dir: &TempDir) -> String {
    fs::read_to_string(key_file(dir.path())).unwrap()
}

#[test]
fn a_value_opens_for_its_owner_and_name_only() {
    let vault = in_memory();
    let sealed = secret(&vault, "TOKEN", "open sesame");
    assert_eq!(vault.open(&sealed), Ok("open sesame".to_owned()));
    assert!(!String::from_utf8_lossy(&sealed.value.bytes).contains("sesame"));

    let renamed = Secret { name: "TOKE".to_owned(), ..sealed.clone() };
    assert_eq!(vault.open(&renamed), Err(VaultError::Damaged { name: "TOKE".to_owned() }));
    let mut taken = sealed.clone();
    taken.value.owner[15] ^= 1;
    assert_eq!(vault.open(&taken), Err(VaultError::Damaged { name: "TOKEN".to_owned() }));
    let mut newer = sealed;
    newer.value.bytes[0] = 2;
    assert_eq!(vault.open(&newer), Err(VaultError::Newer { name: "TOKEN".to_owned(), form: 2 }));
}

#[test]
fn the_same_value_is_never_sealed_to_the_same_bytes() {
    let vault = in_memory();
    assert_ne!(secret(&vault, "A", "same"), secret(&vault, "A", "same"));
}

proptest! {
    #[test]
    fn every_value_comes_back_and_every_change_of_a_byte_is_noticed(
        value in ".{0,300}",
        name in "[A-Za-z_][A-Za-z0-9_]{0,40}",
        owner: u128,
        place: prop::sample::Index,
        bit in 0..8_u8,
        kept: prop::sample::Index,
    ) {
        let vault = in_memory();
        let sealed = vault.seal(Uuid::from_u128(owner), &name, &value).unwrap();
        prop_assert_eq!(vault.open_value(&name, &sealed), Ok(value));
        let mut changed = sealed.clone();
        let place = place.index(changed.bytes.len());
        changed.bytes[place] ^= 1 << bit;
        refused(&vault, &name, &changed)?;
        let mut cut = sealed;
        cut.bytes.truncate(kept.index(cut.bytes.len()));
        refused(&vault, &name, &cut)?;
    }
}

fn refused(vault: &Vault, name: &str, sealed: &Sealed) -> TestCaseResult {
    let opened = vault.open_value(name, sealed);
    prop_assert!(opened.is_err(), "{opened:?}");
    Ok(())
}

#[test]
fn the_key_file_is_made_when_it_is_first_needed_for_its_owner_alone() {
    let dir = TempDir::new().unwrap();
    let vault = in_dir(&dir);
    vault.read().unwrap();
    assert!(!key_file(dir.path()).exists());
    let sealed = secret(&vault, "A", "value");
    let mode = fs::metadata(key_file(dir.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    // The same file, read by the next server.
    assert_eq!(in_dir(&dir).open(&sealed), Ok("value".to_owned()));
    assert_eq!(in_dir(&dir).open(&secret(&in_dir(&dir), "B", "more")), Ok("more".to_owned()));
}

#[test]
fn a_leftover_of_a_crash_is_no_key() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("secrets.key.new"), "half").unwrap();
    let sealed = secret(&in_dir(&dir), "A", "value");
    assert_eq!(in_dir(&dir).open(&sealed), Ok("value".to_owned()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_key_file_that_others_can_read_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let sealed = secret(&in_dir(&dir), "A", "value");
    for mode in [0o640, 0o604, 0o622] {
        fs::set_permissions(key_file(dir.path()), fs::Permissions::from_mode(mode)).unwrap();
        let vault = in_dir(&dir);
        let said = vault.read().unwrap_err().to_string();
        assert!(said.contains("chmod 600") && said.contains("secrets.key"), "{said}");
        assert!(said.contains(&format!("{mode:04o}")), "{said}");
        assert_eq!(vault.open(&sealed).unwrap_err().to_string(), said);
        assert_eq!(vault.seal(OWNER, "A", "value").unwrap_err().to_string(), said);
    }
    fs::set_permissions(key_file(dir.path()), fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(in_dir(&dir).open(&sealed), Ok("value".to_owned()));
}

#[test]
fn a_key_file_that_is_none_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let path = key_file(dir.path());
    let odd = ["", "# a comment\n", "abc\n", "# one\n\n00\n"];
    for text in odd {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let said = in_dir(&dir).seal(OWNER, "A", "value").unwrap_err().to_string();
        assert!(said.contains("key of secrets cannot be used"), "{said}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::remove_file(&path).unwrap();
    symlink("/nonexistent/secrets.key", &path).unwrap();
    assert!(in_dir(&dir).read().is_ok(), "a link to nothing is no file");
}

#[test]
fn another_key_and_a_missing_one_are_told_apart_and_a_file_put_back_is_found() {
    let (here, there) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let sealed = secret(&in_dir(&here), "A", "value");
    let vault = in_dir(&there);
    assert_eq!(vault.open(&sealed), Err(VaultError::NoKey { name: "A".to_owned() }));
    let other = secret(&vault, "B", "other");
    let said = vault.open(&sealed).unwrap_err();
    assert_eq!(said, VaultError::OtherKey { name: "A".to_owned() });
    assert!(said.to_string().contains("set LETTA_ENCRYPTION_KEY to the one it was sealed with"));

    // Both lines in one file: the same running server opens both, and the first line seals.
    let both = format!("{}{}", key_text(&there), key_text(&here));
    fs::write(key_file(there.path()), both).unwrap();
    assert_eq!(vault.open(&sealed), Ok("value".to_owned()));
    assert_eq!(vault.open(&other), Ok("other".to_owned()));
    assert_eq!(in_dir(&here).open(&secret(&vault, "C", "new")).unwrap_err().to_string(), {
        VaultError::OtherKey { name: "C".to_owned() }.to_string()
    });
}

#[test]
fn a_text_is_a_key_that_needs_no_file_and_seals_before_one() {
    let (dir, bare) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let old = secret(&in_dir(&dir), "OLD", "of the file");
    let vault = given("any text", dir.path());
    let sealed = secret(&vault, "NEW", "of the text");
    assert_eq!(vault.open(&old), Ok("of the file".to_owned()), "the file still opens");
    assert_eq!(given("any text", bare.path()).open(&sealed), Ok("of the text".to_owned()));
    assert!(!key_file(bare.path()).exists());
    let said = given("another text", bare.path()).open(&sealed).unwrap_err();
    assert_eq!(said, VaultError::OtherKey { name: "NEW".to_owned() });
    assert_eq!(
        in_dir(&bare).open(&sealed).unwrap_err(),
        VaultError::NoKey { name: "NEW".to_owned() }
    );
}

#[test]
fn nothing_that_is_printed_holds_a_key_or_a_value() {
    let dir = TempDir::new().unwrap();
    let vault = in_dir(&dir);
    let sealed = secret(&vault, "A", "open sesame");
    let key = key_text(&dir).lines().last().unwrap().to_owned();
    let printed = format!("{vault:?} {sealed:?} {:?}", given("any text", dir.path()));
    for hidden in [key.as_str(), "sesame", "any text"] {
        assert!(!printed.contains(hidden), "{printed}");
    }
}
