//! What the program says of the machine it is on, and that it leaves everything as it was.

use serde_json::Value;

use crate::Result;
use crate::program::{Ended, Home, run};

async fn examined(
    home: &Home,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<(Ended, Value)> {
    let data = home.data();
    let data = data.to_string_lossy();
    let arguments = [&["doctor", "--json", "--port", "0", "--data-dir", &data], arguments].concat();
    let ended = run(home.retold(&arguments).envs(environment.iter().copied())).await?;
    let said = serde_json::from_str(&ended.stdout)?;
    Ok((ended, said))
}

/// The status and the words of a check.
fn check<'a>(said: &'a Value, name: &str) -> (&'a str, &'a str) {
    let checks = said["checks"].as_array().expect("it is a list");
    let check = checks.iter().find(|it| it["name"] == name).expect("it is checked");
    (check["status"].as_str().expect("a text"), check["message"].as_str().expect("a text"))
}

#[tokio::test]
async fn everything_is_looked_at_and_nothing_is_left_behind() -> Result<()> {
    let home = Home::new()?;
    let (ended, said) = examined(&home, &[], &[]).await?;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(said["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(check(&said, "configuration").0, "ok");
    assert!(check(&said, "data directory").1.contains("made at the first start"));
    assert!(check(&said, "models").1.contains("rehearse"));
    let (cage, layer) = check(&said, "tool cage");
    // Where nothing keeps tools in that is said, and none is run.
    if cage == "ok" {
        let (python, says) = check(&said, "Python tools");
        assert!(python == "ok" && says.contains("a call takes"), "{layer}: {says}");
    } else {
        assert!(layer.contains("refused"), "{layer}");
    }
    let left: Vec<_> = std::fs::read_dir(home.path())?.collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

#[tokio::test]
async fn a_person_reads_a_line_for_each_check() -> Result<()> {
    let home = Home::new()?;
    let ended = run(&mut home.retold(&["doctor", "--port", "0"])).await?;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.starts_with(concat!("retold ", env!("CARGO_PKG_VERSION"), "\n")));
    for name in ["access", "address", "data directory", "secrets", "tool cage", "outgoing calls"] {
        assert!(ended.stdout.contains(&format!(" {name} ")), "{name}: {}", ended.stdout);
    }
    Ok(())
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_start_is_broken() -> Result<()> {
    let home = Home::new()?;
    home.write("data", "a file")?;
    let (ended, said) = examined(&home, &[], &[]).await?;
    assert_eq!(ended.code, Some(1));
    let (status, says) = check(&said, "data directory");
    assert!(status == "broken" && says.contains("is no directory"), "{says}");

    let home = Home::new()?;
    let (ended, said) = examined(&home, &["--host", "0.0.0.0"], &[]).await?;
    assert_eq!(ended.code, Some(1));
    assert_eq!(check(&said, "access").0, "broken");

    // An address for documentation is no machine's.
    let (ended, said) = examined(&home, &["--host", "192.0.2.1", "--insecure"], &[]).await?;
    assert_eq!(ended.code, Some(1));
    let (status, says) = check(&said, "address");
    assert!(status == "broken" && says.contains("cannot be listened on"), "{says}");
    Ok(())
}

#[tokio::test]
async fn an_address_where_somebody_listens_is_told_and_left_alone() -> Result<()> {
    let home = Home::new()?;
    let somebody = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = somebody.local_addr()?.port().to_string();
    let ended = run(&mut home.retold(&["doctor", "--json", "--port", &port])).await?;
    assert_eq!(ended.code, Some(0));
    let said = serde_json::from_str(&ended.stdout)?;
    let (status, says) = check(&said, "address");
    assert!(status == "missing" && says.contains("is taken"), "{says}");
    Ok(())
}

#[tokio::test]
async fn a_secret_is_never_in_what_it_says() -> Result<()> {
    let home = Home::new()?;
    let secrets = [
        ("RETOLD_PASSWORD", "canary-password-1"),
        ("LETTA_ENCRYPTION_KEY", "canary-key-2"),
        ("OPENAI_API_KEY", "canary-key-3"),
    ];
    let (ended, said) = examined(&home, &[], &secrets).await?;
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stdout.contains("canary") && !ended.stderr.contains("canary"));
    assert!(check(&said, "secrets").1.contains("made of the text"));
    assert!(check(&said, "models").1.contains("openai"));
    Ok(())
}
