//! Requirements: an environment for each set, made once, and a failure that names what failed.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use retold_tools::cage::{CageError, CageOptions, Job, Requirement, Status};

use crate::support::{Failure, Form, Ground};

/// A wheel with one module, made here: no index is asked.
fn make_wheel(folder: &Path) -> Result<(), Failure> {
    let script = "import sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[1] + '/retold_probe-1.2-py3-none-any.whl', 'w') as z:\n    \
        z.writestr('retold_probe.py', 'ANSWER = 42\\n')\n    \
        z.writestr('retold_probe-1.2.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: retold-probe\\nVersion: 1.2\\n')\n    \
        z.writestr('retold_probe-1.2.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n    \
        z.writestr('retold_probe-1.2.dist-info/RECORD', 'retold_probe.py,,\\nretold_probe-1.2.dist-info/METADATA,,\\nretold_probe-1.2.dist-info/WHEEL,,\\nretold_probe-1.2.dist-info/RECORD,,\\n')\n";
    let made = std::process::Command::new("python3").args(["-c", script]).arg(folder).status()?;
    if made.success() { Ok(()) } else { Err("no wheel".into()) }
}

fn offline(wheels: &Path) -> impl FnOnce(&mut CageOptions) {
    let wheels = wheels.display().to_string();
    move |options| {
        options.pip_env = [
            ("PIP_NO_INDEX", "1"),
            ("PIP_FIND_LINKS", wheels.as_str()),
            ("PIP_CONFIG_FILE", "/dev/null"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    }
}

fn needs(name: &str, version: Option<&str>) -> Job {
    let mut job = Job::python("import retold_probe\ndef f():\n    return retold_probe.ANSWER", "f");
    job.requirements = vec![Requirement { name: name.into(), version: version.map(Into::into) }];
    job.timeout = Duration::from_secs(60);
    job
}

fn environments(ground: &Ground) -> usize {
    let folder = ground.world.data.path().join("tools/environments");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_requirement_is_installed_once_for_all_who_ask_and_found_inside() -> Result<(), Failure> {
    let wheels = tempfile::tempdir()?;
    make_wheel(wheels.path())?;
    for form in Form::ALL {
        let Some(ground) = Ground::with(form, offline(wheels.path())).await? else { continue };
        let calls = (0..3).map(|_| ground.run(needs("retold-probe", Some("1.2"))));
        for outcome in join_all(calls).await {
            let outcome = outcome?;
            let wanted = Status::Returned { text: "42".into(), chars: 2 };
            assert_eq!(outcome.status, wanted, "{form:?}: {}", outcome.stderr);
        }
        assert_eq!(environments(&ground), 1, "{form:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_requirement_that_cannot_be_installed_is_named_and_nothing_half_made_is_left()
-> Result<(), Failure> {
    let wheels = tempfile::tempdir()?;
    let mut tried = 0;
    for form in Form::ALL {
        let Some(ground) = Ground::with(form, offline(wheels.path())).await? else { continue };
        let mut job = needs("retold-probe", Some("9.9"));
        job.requirements.push(Requirement { name: "pip".into(), version: None });
        let refused = ground.cage.run(job).await;
        let Err(CageError::Requirement { requirement, why }) = refused else {
            return Err(format!("{refused:?}").into());
        };
        assert_eq!(requirement, "retold-probe==9.9", "{why}");
        assert_eq!(environments(&ground), 0, "{form:?}");
        tried += 1;
        break;
    }
    assert!(tried > 0);
    Ok(())
}

#[tokio::test]
async fn an_installation_past_its_time_is_given_up_and_named() -> Result<(), Failure> {
    let mut tried = 0;
    for form in Form::ALL {
        let at_once = |options: &mut CageOptions| options.pip_deadline = Duration::from_millis(1);
        let Some(ground) = Ground::with(form, at_once).await? else { continue };
        let refused = ground.cage.run(needs("retold-probe", None)).await;
        let Err(CageError::Requirement { requirement, .. }) = refused else {
            return Err(format!("{refused:?}").into());
        };
        assert_eq!((requirement.as_str(), environments(&ground)), ("retold-probe", 0));
        tried += 1;
        break;
    }
    assert!(tried > 0);
    Ok(())
}

#[tokio::test]
async fn what_is_no_name_of_a_package_never_reaches_pip() -> Result<(), Failure> {
    let mut tried = 0;
    for form in Form::ALL {
        let Some(ground) = Ground::new(form).await? else { continue };
        for name in [
            "--index-url=http://x",
            "-r/etc/passwd",
            "git+https://x/y",
            "./x",
            "/x",
            "a b",
            "",
            "a;b",
            "a[b",
            "a @ file:///x",
        ] {
            let refused = ground.cage.run(needs(name, None)).await;
            assert!(matches!(refused, Err(CageError::Requirement { .. })), "{name}: {refused:?}");
        }
        for version in ["", "1 --pre", "-1", "1;2", "1/2"] {
            let refused = ground.cage.run(needs("retold-probe", Some(version))).await;
            assert!(
                matches!(refused, Err(CageError::Requirement { .. })),
                "{version}: {refused:?}"
            );
        }
        assert_eq!(environments(&ground), 0);
        tried += 1;
        break;
    }
    assert!(tried > 0);
    Ok(())
}
