//! What the program says of itself without being told to do anything.

use crate::Result;
use crate::program::{Home, run};

const COMMANDS: &[&str] =
    &["serve", "chat", "events", "runs", "backup", "restore", "verify", "doctor", "config"];

#[tokio::test]
async fn the_version_is_one_line_on_standard_output() -> Result<()> {
    let home = Home::new()?;
    for flag in ["--version", "-V"] {
        let said = run(&mut home.retold(&[flag])).await?;
        assert_eq!(said.code, Some(0));
        assert_eq!(said.stdout, format!("retold {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(said.stderr, "");
    }
    Ok(())
}

#[tokio::test]
async fn help_goes_to_standard_output_and_names_every_command() -> Result<()> {
    let home = Home::new()?;
    for flag in ["--help", "-h"] {
        let help = run(&mut home.retold(&[flag])).await?;
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        for command in COMMANDS {
            let listed = format!("\n  {command} ");
            assert!(help.stdout.contains(&listed), "{command} in {}", help.stdout);
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_command_has_help_with_its_exit_codes_and_changes_nothing() -> Result<()> {
    let home = Home::new()?;
    for command in COMMANDS {
        let help = run(&mut home.retold(&[command, "--help"])).await?;
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "{command}");
        let usage = format!("Usage: retold {command}");
        assert!(help.stdout.contains(&usage), "{usage} in {}", help.stdout);
        if *command != "config" {
            assert!(help.stdout.contains("Exit codes:"), "{}", help.stdout);
        }
    }
    assert_eq!(std::fs::read_dir(home.path())?.count(), 0);
    Ok(())
}

#[tokio::test]
async fn nothing_said_is_answered_with_help_and_what_is_mistyped_with_the_nearest() -> Result<()> {
    let home = Home::new()?;
    let silent = run(&mut home.retold(&[])).await?;
    assert_eq!((silent.code, silent.stdout.as_str()), (Some(2), ""));
    assert!(silent.stderr.contains("Usage: retold"), "{}", silent.stderr);
    for (typed, meant) in
        [(vec!["serv"], "'serve'"), (vec!["serve", "--data-dri", "x"], "'--data-dir'")]
    {
        let refused = run(&mut home.retold(&typed)).await?;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{typed:?}");
        assert!(refused.stderr.contains(meant), "{meant} in {}", refused.stderr);
    }
    Ok(())
}
