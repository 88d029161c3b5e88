//! The password, which every request but health must carry.

use serde_json::Value;

use crate::program::{Home, Server};
use crate::{Result, http};

const PASSWORD: &str = "swordfish";

/// The status of a request for all agents with this header.
async fn status(server: &Server, path: &str, header: Option<(&str, &str)>) -> Result<u16> {
    let mut request = http::client()?.get(format!("{}/v1/{path}", server.url));
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    Ok(request.send().await?.status().as_u16())
}

#[tokio::test]
async fn every_way_to_set_it_demands_it_as_bearer_or_bare_and_exempts_health() -> Result<()> {
    let home = Home::new()?;
    let file = home.write("password", "swordfish\n")?;
    let file = file.to_str().unwrap_or_default();
    for (variable, value) in [
        ("LETTA_SERVER_PASSWORD", PASSWORD),
        ("RETOLD_PASSWORD", PASSWORD),
        ("RETOLD_PASSWORD_FILE", file),
    ] {
        let server = Server::start(home.serve().env(variable, value)).await?;
        for wrong in [
            None,
            Some(("authorization", "Bearer wrong")),
            Some(("authorization", PASSWORD)),
            Some(("x-bare-password", "password wrong")),
        ] {
            let found = status(&server, "agents/", wrong).await?;
            assert_eq!(found, 401, "{variable}: {wrong:?}");
        }
        for right in
            [("authorization", "Bearer swordfish"), ("x-bare-password", "password swordfish")]
        {
            let found = status(&server, "agents/", Some(right)).await?;
            assert_eq!(found, 200, "{variable}: {right:?}");
        }
        assert_eq!(status(&server, "health/", None).await?, 200, "{variable}");
        let banner = server.said();
        assert!(banner.contains("a password is demanded"), "{banner}");
        assert!(!banner.contains(PASSWORD), "{banner}");
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_let_in_is_told_how_to_get_in() -> Result<()> {
    let home = Home::new()?;
    let server = Server::start(home.serve().env("LETTA_SERVER_PASSWORD", PASSWORD)).await?;
    let answer = http::client()?.get(format!("{}/v1/agents/", server.url)).send().await?;
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    let body: Value = serde_json::from_slice(&answer.bytes().await?)?;
    assert_eq!(body["detail"], "Unauthorized", "{body}");
    server.stop().await
}

#[tokio::test]
async fn a_secure_server_without_one_makes_one_up_and_shows_it_once() -> Result<()> {
    let home = Home::new()?;
    let mut passwords = Vec::new();
    for _ in 0..2 {
        let server = Server::start(home.serve().env("LETTA_SERVER_SECURE", "true")).await?;
        assert_eq!(status(&server, "agents/", None).await?, 401);
        let banner = server.said();
        let line = banner.split("access    password ").nth(1).unwrap_or_default();
        let password = line.split_whitespace().next().unwrap_or_default().to_owned();
        assert!(password.len() >= 32, "{banner}");
        assert_eq!(banner.matches(&password).count(), 1, "{banner}");
        let bearer = format!("Bearer {password}");
        let found = status(&server, "agents/", Some(("authorization", &bearer))).await?;
        assert_eq!(found, 200);
        passwords.push(password);
        server.stop().await?;
    }
    assert_ne!(passwords[0], passwords[1]);
    Ok(())
}

#[tokio::test]
async fn lettas_password_is_unused_when_secure_is_outright_false() -> Result<()> {
    let home = Home::new()?;
    let mut command = home.serve();
    command.env("LETTA_SERVER_PASSWORD", PASSWORD).env("LETTA_SERVER_SECURE", "false");
    let server = Server::start(&mut command).await?;
    assert_eq!(status(&server, "agents/", None).await?, 200);
    let said = server.said();
    assert!(said.contains("LETTA_SERVER_PASSWORD is set but not demanded"), "{said}");
    server.stop().await
}
