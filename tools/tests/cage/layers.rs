//! Which layer is in force, and what follows from there being none.

use retold_tools::cage::{Cage, CageError, Job, Layer, Status};

use crate::support::{Failure, Form, options};

#[tokio::test]
async fn one_of_the_layers_holds_here_and_says_its_name() -> Result<(), Failure> {
    let data = tempfile::tempdir()?;
    let mut options = options(data.path().into(), Form::Namespaces);
    options.layers = None;
    let cage = Cage::start(options).await;
    assert_ne!(cage.layer(), Layer::None, "{:?}", cage.missing());
    assert!(cage.layer().to_string().contains("seccomp"), "{}", cage.layer());
    assert_eq!(cage.ready(), 0, "nothing is started before a call");
    Ok(())
}

#[tokio::test]
async fn without_a_layer_tools_are_refused_and_told_what_is_missing() -> Result<(), Failure> {
    let data = tempfile::tempdir()?;
    let mut options = options(data.path().into(), Form::UserNamespaces);
    options.bubblewrap = Some(data.path().join("no-such-bwrap"));
    let cage = Cage::start(options).await;
    assert_eq!(cage.layer(), Layer::None);
    let refused = cage.run(Job::python("def f():\n    return 1\n", "f")).await;
    let Err(CageError::NoLayer(why)) = refused else { return Err("it ran".into()) };
    assert!(why.contains("bwrap"), "{why}");
    Ok(())
}

#[tokio::test]
async fn where_it_is_configured_tools_run_without_a_layer_and_end_all_the_same()
-> Result<(), Failure> {
    let data = tempfile::tempdir()?;
    let mut options = options(data.path().into(), Form::UserNamespaces);
    options.layers = Some(Vec::new());
    options.uncaged = true;
    options.warm = 0;
    let cage = Cage::start(options).await;
    assert_eq!(cage.layer(), Layer::None);
    let source = "import os, subprocess\ndef f():\n    child = subprocess.Popen(['sleep', '600'], \
                  start_new_session=True)\n    return child.pid\n";
    let outcome = cage.run(Job::python(source, "f")).await?;
    let Status::Returned { text, .. } = outcome.status else {
        return Err(format!("{outcome:?}").into());
    };
    assert!(!std::path::Path::new("/proc").join(text).exists(), "its child still runs");
    assert_eq!(std::fs::read_dir(data.path().join("tools/calls"))?.count(), 0);
    Ok(())
}
