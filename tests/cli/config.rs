//! Who decides: the command line, else the environment, else the file, else the default.

use serde_json::{Value, json};

use crate::program::{Ended, Home, Server, run};
use crate::upstream::Upstream;
use crate::{Result, api::Api};

/// What a setting is at each level, and the words that set it there.
struct Levels<'a> {
    key: &'a str,
    default: Value,
    file: (&'a str, Value),
    variable: (&'a str, &'a str, Value),
    flag: (&'a str, &'a str, Value),
}

async fn shown(home: &Home, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Value> {
    let arguments = [&["config", "show", "--json"], arguments].concat();
    let shown = run(home.retold(&arguments).envs(environment.iter().copied())).await?;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    Ok(serde_json::from_str(&shown.stdout)?)
}

async fn refused(home: &Home, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Ended> {
    let refused = run(home.retold(arguments).envs(environment.iter().copied())).await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{}", refused.stderr);
    Ok(refused)
}

#[tokio::test]
async fn a_flag_wins_over_a_variable_a_variable_over_the_file_the_file_over_the_default()
-> Result<()> {
    let home = Home::new()?;
    let path = |name: &str| json!(home.path().join(name));
    let levels = [
        Levels {
            key: "port",
            default: json!(8283),
            file: ("port = 1001", json!(1001)),
            variable: ("RETOLD_PORT", "1002", json!(1002)),
            flag: ("--port", "1003", json!(1003)),
        },
        Levels {
            key: "host",
            default: json!("127.0.0.1"),
            file: ("host = '127.0.0.2'", json!("127.0.0.2")),
            variable: ("RETOLD_HOST", "127.0.0.3", json!("127.0.0.3")),
            flag: ("--host", "::1", json!("::1")),
        },
        Levels {
            key: "data_dir",
            default: path(".local/share/retold"),
            // Relative to the file, so that it means the same wherever the server is started.
            file: ("data_dir = 'from-file'", path("from-file")),
            variable: ("RETOLD_DATA_DIR", "/from/variable", json!("/from/variable")),
            flag: ("--data-dir", "/from/flag", json!("/from/flag")),
        },
    ];
    for Levels { key, default, file, variable, flag } in levels {
        let config = home.write("any.toml", &format!("{}\n", file.0))?;
        let config = config.to_str().unwrap_or_default();
        let is = |shown: Value, value: &Value, origin: &str| {
            assert_eq!(shown["settings"][key], json!({ "value": value, "origin": origin }));
        };
        let named = ["--config", config];
        let flagged = ["--config", config, flag.0, flag.1];
        let set = [(variable.0, variable.1)];
        is(shown(&home, &[], &[]).await?, &default, "default");
        is(shown(&home, &named, &[]).await?, &file.1, config);
        is(shown(&home, &named, &set).await?, &variable.2, variable.0);
        is(shown(&home, &flagged, &set).await?, &flag.2, flag.0);
    }
    Ok(())
}

#[tokio::test]
async fn a_server_listens_and_keeps_its_data_where_the_configuration_says() -> Result<()> {
    let home = Home::new()?;
    home.write("retold.toml", "host = '127.0.0.2'\nport = 0\ndata_dir = 'kept'\n")?;
    let server = Server::start(&mut home.retold(&["serve"])).await?;
    assert!(server.url.starts_with("http://127.0.0.2:"), "{}", server.url);
    assert_eq!(Api::of(&server)?.names().await?, Vec::<String>::new());
    server.stop().await?;
    assert!(home.path().join("kept/FORMAT").exists());
    Ok(())
}

#[tokio::test]
async fn an_unknown_key_of_the_file_is_refused_with_the_nearest_name() -> Result<()> {
    let home = Home::new()?;
    home.write("retold.toml", "pasword = 'secret'\n")?;
    for arguments in [&["serve", "--port", "0"][..], &["config", "show"], &["chat"]] {
        let said = refused(&home, arguments, &[]).await?.stderr;
        for part in ["`pasword`", "retold.toml", "did you mean `password`?"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
    home.write("retold.toml", "data-dir = 'x'\n")?;
    let said = refused(&home, &["serve"], &[]).await?.stderr;
    assert!(said.contains("did you mean `data_dir`?"), "{said}");
    // Refused before anything was made.
    assert_eq!(std::fs::read_dir(home.path())?.count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_value_that_cannot_be_is_refused_with_its_place_and_what_would_be_right() -> Result<()> {
    let home = Home::new()?;
    let said = refused(&home, &["serve", "--port", "99999"], &[]).await?.stderr;
    assert!(said.contains("--port") && said.contains("99999"), "{said}");
    let said = refused(&home, &["serve"], &[("RETOLD_DRAIN_DEADLINE", "soon")]).await?.stderr;
    assert!(said.contains("RETOLD_DRAIN_DEADLINE") && said.contains("soon"), "{said}");
    let said = refused(&home, &["serve", "--reserve-bytes", "0"], &[]).await?.stderr;
    assert!(said.contains("--reserve-bytes") && said.contains("above zero"), "{said}");
    home.write("retold.toml", "port = 'eighty'\n")?;
    let said = refused(&home, &["serve"], &[]).await?.stderr;
    assert!(said.contains("port") && said.contains("retold.toml"), "{said}");
    let said = refused(&home, &["serve", "--config", "missing.toml"], &[]).await?.stderr;
    assert!(said.contains("missing.toml"), "{said}");
    Ok(())
}

#[tokio::test]
async fn secrets_are_never_shown() -> Result<()> {
    let home = Home::new()?;
    let upstream = Upstream::start().await?;
    let secrets = [crate::upstream::KEY, "swordfish"];
    for arguments in [&["config", "show", "--json"][..], &["config", "show"]] {
        let mut command = home.retold(arguments);
        upstream.serves(command.env("LETTA_SERVER_PASSWORD", "swordfish"));
        let shown = run(&mut command).await?;
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        assert!(shown.stdout.contains("LETTA_SERVER_PASSWORD"), "{}", shown.stdout);
        assert!(shown.stdout.contains("OPENAI_API_KEY"), "{}", shown.stdout);
        assert!(!secrets.iter().any(|secret| shown.stdout.contains(secret)), "{}", shown.stdout);
    }
    let mut command = home.serve();
    upstream.serves(command.args(["--log", "debug"]).env("LETTA_SERVER_PASSWORD", "swordfish"));
    let server = Server::start(&mut command).await?;
    server.says("openai/silent").await;
    let said = server.said();
    assert!(!secrets.iter().any(|secret| said.contains(secret)), "{said}");
    server.stop().await
}
