//! When a password is demanded, which one, and who may listen without.

use super::*;

fn password(config: &Config) -> Option<(&str, &Origin)> {
    config.password.as_ref().map(|password| (password.value.expose(), &password.origin))
}

#[test]
fn secure_without_a_password_makes_one_up() {
    for config in
        [load(&[("secure", "true")], &[], "").unwrap(), env(&[("LETTA_SERVER_SECURE", "true")])]
    {
        assert_eq!(password(&config), Some(("made-up", &Origin::Generated)));
    }
}

#[test]
fn a_password_of_ours_is_demanded_by_itself() {
    assert_eq!(
        env(&[("RETOLD_PASSWORD", "p"), ("RETOLD_SECURE", "false")])
            .password
            .unwrap()
            .value
            .expose(),
        "p"
    );
    assert_eq!(load(&[], &[], "password = 'q'").unwrap().password.unwrap().value.expose(), "q");
}

#[test]
fn lettas_password_is_demanded_unless_secure_is_denied_outright() {
    let name = Origin::Env("LETTA_SERVER_PASSWORD".to_owned());
    let alone = env(&[("LETTA_SERVER_PASSWORD", "p")]);
    assert_eq!(password(&alone), Some(("p", &name)));
    assert!(alone.notes[0].contains("demanded even without"), "{:?}", alone.notes);
    let secure = env(&[("LETTA_SERVER_PASSWORD", "p"), ("LETTA_SERVER_SECURE", "true")]);
    assert_eq!((password(&secure), secure.notes.len()), (Some(("p", &name)), 0));
    let open = env(&[("LETTA_SERVER_PASSWORD", "p"), ("LETTA_SERVER_SECURE", "false")]);
    assert_eq!(password(&open), None);
    assert!(open.notes[0].contains("not demanded"), "{:?}", open.notes);
}

#[test]
fn a_password_file_is_read_and_must_not_be_empty() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("pw");
    fs::write(&path, "from-file\n").unwrap();
    let named = path.to_str().unwrap();
    let by_flag = load(&[("password_file", named)], &[("RETOLD_PASSWORD", "other")], "").unwrap();
    assert_eq!(password(&by_flag), Some(("from-file", &Origin::Flag("password-file"))));
    let by_variable = env(&[("RETOLD_PASSWORD_FILE", named), ("LETTA_SERVER_PASSWORD", "other")]);
    assert_eq!(by_variable.password.unwrap().value.expose(), "from-file");
    let by_file = load(&[], &[], &format!("password_file = '{named}'")).unwrap();
    assert_eq!(by_file.password.unwrap().value.expose(), "from-file");
    assert!(
        refusal(&[], &[], &format!("password_file = '{named}'\npassword = 'x'"))
            .contains("sets both")
    );
    fs::write(&path, " \n").unwrap();
    assert!(refusal(&[("password_file", named)], &[], "").ends_with("is empty"));
    assert!(
        refusal(&[("password_file", "/no/such/file")], &[], "")
            .starts_with("cannot read the password file")
    );
}

#[test]
fn listening_beyond_loopback_without_a_password_is_refused_with_three_ways_out() {
    let message =
        load(&[("host", "0.0.0.0")], &[], "").unwrap().check_exposure().unwrap_err().to_string();
    for way in ["0.0.0.0:8283", "RETOLD_PASSWORD", "127.0.0.1", "--insecure"] {
        assert!(message.contains(way), "{message}");
    }
    for ways in [("insecure", "true"), ("secure", "true"), ("host", "::1")] {
        assert!(
            load(&[("host", "0.0.0.0"), ways], &[], "").unwrap().check_exposure().is_ok(),
            "{ways:?}"
        );
    }
    assert!(
        load(&[("host", "0.0.0.0")], &[("RETOLD_PASSWORD", "p")], "")
            .unwrap()
            .check_exposure()
            .is_ok()
    );
    assert!(load(&[("host", "192.168.1.5")], &[], "").unwrap().check_exposure().is_err());
}

#[test]
fn an_embedded_server_is_on_loopback_and_closed() {
    let config = env(&[("RETOLD_HOST", "0.0.0.0")]).embedded(Secret::new("inner"));
    assert_eq!(config.address().to_string(), "127.0.0.1:0");
    assert_eq!(config.password.unwrap().value.expose(), "inner");
}
