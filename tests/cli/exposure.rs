//! A server that others can reach needs a password, or a word that none is wanted.
//!
//! Nothing is listened on: where the refusal does not come, the address is one that this machine
//! does not have.

use crate::Result;
use crate::program::{Home, Server, run};

/// Kept for documentation (RFC 5737), so no machine has it.
const NOBODYS: &str = "203.0.113.1";

#[tokio::test]
async fn without_a_password_it_does_not_listen_beyond_this_machine_and_says_the_ways_out()
-> Result<()> {
    let home = Home::new()?;
    for host in ["0.0.0.0", "::", NOBODYS] {
        let refused = run(home.serve().args(["--host", host])).await?;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{}", refused.stderr);
        for part in [host, "RETOLD_PASSWORD", "127.0.0.1", "--insecure"] {
            assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
        }
    }
    assert!(!home.data().exists(), "it was refused after the data was touched");
    Ok(())
}

#[tokio::test]
async fn a_password_or_insecure_lets_it_try() -> Result<()> {
    let home = Home::new()?;
    let (own, lettas) = (("RETOLD_PASSWORD", "x"), ("LETTA_SERVER_PASSWORD", "x"));
    for (flags, variable) in
        [(&["--insecure"][..], None), (&["--secure"], None), (&[], Some(own)), (&[], Some(lettas))]
    {
        let mut command = home.serve();
        let tried = run(command.args(["--host", NOBODYS]).args(flags).envs(variable)).await?;
        assert_eq!(tried.code, Some(1), "{flags:?} {variable:?}: {}", tried.stderr);
        let why = format!("cannot listen on {NOBODYS}:0");
        assert!(tried.stderr.contains(&why), "{why} in {}", tried.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn on_loopback_it_is_open_without_either() -> Result<()> {
    let home = Home::new()?;
    for (host, flags) in [("127.0.0.2", &[][..]), ("127.0.0.1", &["--insecure"])] {
        let mut command = home.serve();
        let server = Server::start(command.args(["--host", host]).args(flags)).await?;
        assert!(server.is_healthy().await?, "{host}");
        server.stop().await?;
    }
    Ok(())
}
