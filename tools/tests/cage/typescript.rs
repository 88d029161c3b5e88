//! TypeScript tools: they run where there is a Node or Bun for them, and the error says what is needed where there is none.

use std::time::Duration;

use retold_tools::cage::{CageError, CageOptions, Job, Language, Status};
use serde_json::json;

use crate::support::{Failure, Form, Ground};

const SOURCE: &str = "
interface Named { name: string }
export async function greet(who: Named, times: number = 1): Promise<string> {
  console.log('said');
  return `hello ${who.name} `.repeat(times) + process.env.LETTA_AGENT_ID;
}
export function fail(): never { throw new TypeError('no'); }
";

fn job(function: &str) -> Job {
    let mut job = Job::python(SOURCE, function);
    job.language = Language::TypeScript;
    job.agent_id = Some("agent-1".into());
    job.timeout = Duration::from_secs(60);
    if let Some(arguments) = json!({"times": 2, "who": {"name": "Ada"}}).as_object() {
        job.arguments = arguments.clone();
    }
    job
}

#[tokio::test]
async fn without_something_that_strips_types_the_error_says_what_is_needed() -> Result<(), Failure>
{
    let old = tempfile::tempdir()?;
    let node = old.path().join("node");
    std::fs::write(&node, "#!/bin/sh\necho v20.20.2\n")?;
    std::fs::set_permissions(&node, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut tried = 0;
    for form in Form::ALL {
        let node = node.clone();
        let with = |options: &mut CageOptions| options.typescript = Some(node);
        let Some(ground) = Ground::with(form, with).await? else { continue };
        let refused = ground.cage.run(job("greet")).await;
        let Err(error @ CageError::NoTypeScript(_)) = refused else { return Err("it ran".into()) };
        let told = error.to_string();
        assert!(told.contains("Node 22") && told.contains("v20.20.2"), "{told}");
        tried += 1;
    }
    assert!(tried > 0);
    Ok(())
}

/// Where there is a Node or Bun; the one of `RETOLD_TEST_NODE`, if that is set.
#[tokio::test]
async fn where_there_is_a_node_tools_run_in_every_form() -> Result<(), Failure> {
    for form in Form::ALL {
        let with = |options: &mut CageOptions| {
            options.typescript = std::env::var_os("RETOLD_TEST_NODE").map(Into::into);
        };
        let Some(ground) = Ground::with(form, with).await? else { continue };
        let outcome = match ground.cage.run(job("greet")).await {
            Err(CageError::NoTypeScript(why)) => {
                println!("not on this machine: {why}");
                return Ok(());
            }
            outcome => outcome?,
        };
        let text = "hello Ada hello Ada agent-1".to_owned();
        let wanted = Status::Returned { chars: text.len(), text };
        assert_eq!(outcome.status, wanted, "{form:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "said\n");
        let outcome = ground.run(job("fail")).await?;
        let wanted = "Error executing function fail: TypeError: no";
        assert_eq!(outcome.status, Status::Raised(wanted.into()), "{form:?}");
    }
    Ok(())
}
