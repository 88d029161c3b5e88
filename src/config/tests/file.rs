//! The file: its keys, its types, and where it is found.

use super::*;

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    assert_eq!(
        refusal(&[], &[], "prot = 1"),
        "unknown key `prot` in retold.toml; did you mean `port`?"
    );
    assert_eq!(
        refusal(&[], &[], "data-dir = 'x'"),
        "unknown key `data-dir` in retold.toml; did you mean `data_dir`?"
    );
    assert_eq!(
        refusal(&[], &[], "[provider.openai]"),
        "unknown key `provider` in retold.toml; did you mean `providers`?"
    );
    assert_eq!(refusal(&[], &[], "frobnicate = 1"), "unknown key `frobnicate` in retold.toml");
}

#[test]
fn an_unknown_key_of_a_provider_is_an_error_too() {
    let file = "[providers.openai]\nbase_ulr = 'http://x'";
    let expected =
        "unknown key `providers.openai.base_ulr` in retold.toml; did you mean `base_url`?";
    assert_eq!(refusal(&[], &[], file), expected);
}

#[test]
fn a_key_that_is_only_a_flag_says_so() {
    assert_eq!(
        refusal(&[], &[], "insecure = true"),
        "`insecure` cannot be set in retold.toml; give the flag --insecure"
    );
}

#[test]
fn wrong_types_and_ranges_are_errors_that_say_what_would_be_right() {
    let cases = [
        ("port = true", "`port` in retold.toml is true, but must be a port number from 0 to 65535"),
        (
            "port = '8283'",
            "`port` in retold.toml is \"8283\", but must be a port number from 0 to 65535",
        ),
        (
            "port = 70000",
            "`port` in retold.toml is 70000, but must be a port number from 0 to 65535",
        ),
        ("secure = 'yes'", "`secure` in retold.toml is \"yes\", but must be true or false"),
        (
            "agent_queue = 0",
            "`agent_queue` in retold.toml is 0, but must be a whole number from 1 to 1000000",
        ),
        (
            "password = 7",
            "`password` in retold.toml is a integer that does not fit, but must be text that is not empty",
        ),
    ];
    for (file, expected) in cases {
        assert_eq!(refusal(&[], &[], file), expected);
    }
    for file in [
        "header_timeout = 0",
        "max_body_bytes = -1",
        "cors_origins = ['example.com']",
        "log = 'inof'",
        "host = 5",
    ] {
        assert!(refusal(&[], &[], file).contains(", but must be "), "{file}");
    }
    assert!(refusal(&[("port", "x")], &[], "").starts_with("--port is `x`, but must be"));
    assert!(
        refusal(&[("egress_allow", "::1, 10.0.0.1/8")], &[], "").starts_with(
            "--egress-allow cannot be used: `10.0.0.1/8` is an address inside a network: write 10.0.0.0/8"
        )
    );
    let in_file = refusal(&[], &[], "egress_allow = ['http://host']");
    assert!(in_file.starts_with("`egress_allow` in "), "{in_file}");
    assert!(
        in_file.contains("retold.toml cannot be used: `http://host` is none of: a network"),
        "{in_file}"
    );
    assert!(refusal(&[], &[], "egress_allow = [1]").contains(", but must be a list"));
    assert!(
        refusal(&[], &[("RETOLD_PORT", "x")], "").starts_with("RETOLD_PORT is `x`, but must be")
    );
    assert!(refusal(&[], &[("RETOLD_HEADER_TIMEOUT", "1e300")], "").contains("must be"));
    assert!(refusal(&[], &[("RETOLD_MAX_BODY_BYTES", "99999999999GiB")], "").contains("must be"));
}

#[test]
fn a_file_that_is_not_toml_is_named_with_the_line() {
    let message = refusal(&[], &[], "port = \n");
    assert!(
        message.starts_with("retold.toml is not valid TOML: ") && message.contains("line 1"),
        "{message}"
    );
}

#[test]
fn a_named_file_must_exist_and_the_usual_one_need_not() {
    assert!(load(&[], &[], "").is_ok());
    assert_eq!(refusal(&[("config", "other.toml")], &[], ""), "cannot read other.toml");
}

#[test]
fn the_flag_names_the_file_before_the_variable_does() {
    let directory = TempDir::new().unwrap();
    for (name, port) in [("a.toml", 1), ("b.toml", 2), ("retold.toml", 3)] {
        fs::write(directory.path().join(name), format!("port = {port}")).unwrap();
    }
    let by_flag =
        load_in(&directory, &[("config", "a.toml")], &[("RETOLD_CONFIG", "b.toml")]).unwrap();
    assert_eq!((by_flag.port.value, by_flag.file.unwrap().origin), (1, Origin::Flag("config")));
    let by_variable = load_in(&directory, &[], &[("RETOLD_CONFIG", "b.toml")]).unwrap();
    assert_eq!(
        (by_variable.port.value, by_variable.file.unwrap().origin),
        (2, Origin::Env("RETOLD_CONFIG".to_owned()))
    );
    assert_eq!(load_in(&directory, &[], &[]).unwrap().port.value, 3);
}

#[test]
fn paths_of_the_file_are_taken_from_its_own_directory() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("conf.toml");
    fs::write(&path, "data_dir = 'data'").unwrap();
    let config = load_in(&directory, &[("config", path.to_str().unwrap())], &[]).unwrap();
    assert_eq!(config.data_dir.value, directory.path().join("data"));
}
