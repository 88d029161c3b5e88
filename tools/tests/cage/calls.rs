//! What a tool gets and what comes back: arguments, scope, environment, results and errors.

use std::time::Duration;

use retold_tools::cage::{CageError, Job, Status};
use serde_json::{Map, Value, json};

use crate::support::{Failure, Form, Ground};

/// Source, function, arguments and the text that comes back.
struct Case(&'static str, &'static str, fn() -> Value, Expected);

enum Expected {
    Text(&'static str),
    Raised(&'static str),
}
use Expected::{Raised, Text};

const NONE: fn() -> Value = || json!({});

const CASES: &[Case] = &[
    Case("a string is itself", "def f():\n    return 'as it is'", NONE, Text("as it is")),
    Case("nothing is None", "def f():\n    pass", NONE, Text("None")),
    Case("a number is its digits", "def f():\n    return 3.5", NONE, Text("3.5")),
    Case("a list is what str says", "def f():\n    return ['a', 1]", NONE, Text("['a', 1]")),
    Case(
        "a dict is JSON",
        "def f():\n    return {'a': [1, None]}",
        NONE,
        Text(r#"{"a": [1, null]}"#),
    ),
    Case(
        "what JSON cannot hold in a dict is what str says",
        "import datetime\ndef f():\n    return {'on': datetime.date(2026, 1, 2)}",
        NONE,
        Text(r#"{"on": "2026-01-02"}"#),
    ),
    Case(
        "a dict that holds itself is what str says",
        "def f():\n    d = {}\n    d['d'] = d\n    return d",
        NONE,
        Text("{'d': {...}}"),
    ),
    Case(
        "arguments have their types",
        "def f(a: int, b: float, c: bool, d: str):\n    return repr((a, b, c, d))",
        || json!({"a": "7", "b": "1.5", "c": "false", "d": "7"}),
        Text("(7, 1.5, False, '7')"),
    ),
    Case(
        "collections come from text",
        "def f(a: List[int], b: Dict[str, float], c: list, d: Tuple[int, str]):\n    return repr((a, b, c, d))",
        || json!({"a": "[1, \"2\"]", "b": {"x": "1"}, "c": "['y']", "d": ["3", "z"]}),
        Text("([1, 2], {'x': 1.0}, ['y'], (3, 'z'))"),
    ),
    Case(
        "an optional argument may be missing or none",
        "def f(a: Optional[int] = 5, b: Optional[int] = 6):\n    return repr((a, b))",
        || json!({"b": null}),
        Text("(5, None)"),
    ),
    Case(
        "a whole float is an int where an int is wanted",
        "def f(a: int):\n    return repr(a)",
        || json!({"a": 4.0}),
        Text("4"),
    ),
    Case(
        "a literal keeps its type",
        "def f(a: Literal[1, 'b']):\n    return repr(a)",
        || json!({"a": "1"}),
        Text("1"),
    ),
    Case(
        "annotations that are written as text are read",
        "from __future__ import annotations\ndef f(a: int):\n    return repr(a)",
        || json!({"a": "12"}),
        Text("12"),
    ),
    Case(
        "an argument that does not fit is named",
        "def f(count: int):\n    return count",
        || json!({"count": "many"}),
        Raised(
            "Error executing function f: TypeError: argument count does not fit its annotation: \
             invalid literal for int() with base 10: 'many'",
        ),
    ),
    Case(
        "a missing argument is named",
        "def f(count: int):\n    return count",
        NONE,
        Raised(
            "Error executing function f: TypeError: f() missing 1 required positional argument: 'count'",
        ),
    ),
    Case(
        "an async function is awaited",
        "import asyncio\nasync def f(a: int):\n    await asyncio.sleep(0)\n    return a + 1",
        || json!({"a": 1}),
        Text("2"),
    ),
    Case(
        "helpers, classes and imports of the source are there",
        "import math\nclass Two:\n    n = 2\ndef twice(x):\n    return Two.n * x\ndef f():\n    return twice(math.floor(2.5))",
        NONE,
        Text("4"),
    ),
    Case(
        "a dataclass can be made",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 1\ndef f():\n    return P()",
        NONE,
        Text("P(x=1)"),
    ),
    Case(
        "there is no client without a key",
        "def f():\n    return repr(client)",
        NONE,
        Text("None"),
    ),
    Case(
        "the identity is given",
        "def f(agent_id: str):\n    return agent_id",
        NONE,
        Text("agent-1"),
    ),
    Case(
        "the state can be looked at",
        "def f(agent_state):\n    return agent_state.name + agent_state.blocks[0].value + agent_state.get_block('human')['value']",
        NONE,
        Text("Adahihi"),
    ),
    Case(
        "the state cannot be changed",
        "def f(agent_state):\n    agent_state.name = 'Bob'",
        NONE,
        Raised("Error executing function f: AttributeError: agent_state is read-only in a tool"),
    ),
    Case(
        "an exception is told with its type",
        "class Odd(Exception):\n    pass\ndef f():\n    raise Odd('no')",
        NONE,
        Raised("Error executing function f: Odd: no"),
    ),
    Case(
        "leaving is an error, too",
        "def f():\n    raise SystemExit(3)",
        NONE,
        Raised("Error executing function f: SystemExit: 3"),
    ),
    Case(
        "an interrupt is an error, too",
        "def f():\n    raise KeyboardInterrupt",
        NONE,
        Raised("Error executing function f: KeyboardInterrupt: KeyboardInterrupt()"),
    ),
    Case(
        "a source that is no Python is told with its line",
        "def f(:\n    pass",
        NONE,
        Raised("Error executing function f: SyntaxError: invalid syntax (<tool>, line 1)"),
    ),
    Case(
        "a function that is not there is named",
        "def g():\n    pass",
        NONE,
        Raised("Error executing function f: NameError: the source defines no function named f"),
    ),
    Case(
        "an exception that cannot be told is still one",
        "class Odd(Exception):\n    def __str__(self):\n        raise ValueError\ndef f():\n    raise Odd",
        NONE,
        Raised("Error executing function f: Odd"),
    ),
    Case(
        "a result that cannot be told is an error",
        "class Odd:\n    def __str__(self):\n        return 3\ndef f():\n    return Odd()",
        NONE,
        Raised("Error executing function f: TypeError: __str__ returned non-string (type int)"),
    ),
    Case(
        "letters outside of every plane come as a question mark",
        "def f():\n    return 'a\\ud800b'",
        NONE,
        Text("a?b"),
    ),
    Case(
        "recursion without end is an error",
        "def f():\n    return f()",
        NONE,
        Raised("Error executing function f: RecursionError: maximum recursion depth exceeded"),
    ),
];

fn job(source: &str, arguments: Value) -> Job {
    let mut job = Job::python(source, "f");
    job.arguments = arguments.as_object().cloned().unwrap_or_default();
    job.agent_id = Some("agent-1".into());
    job.project_id = Some("project-1".into());
    job.agent_state = Some(json!({"name": "Ada", "blocks": [{"label": "human", "value": "hi"}]}));
    job.timeout = Duration::from_secs(60);
    job
}

async fn every_case(form: Form) -> Result<(), Failure> {
    let Some(ground) = Ground::new(form).await? else { return Ok(()) };
    let mut wrong = Vec::new();
    for Case(name, source, arguments, expected) in CASES {
        let outcome = ground.run(job(source, arguments())).await?;
        let right = match (&outcome.status, expected) {
            (Status::Returned { text, chars }, Text(wanted)) => {
                text == wanted && *chars == wanted.chars().count()
            }
            (Status::Raised(text), Raised(wanted)) => text == wanted,
            _ => false,
        };
        if !right {
            wrong.push(format!("{name}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn in_namespaces_calls_are_what_is_promised() -> Result<(), Failure> {
    every_case(Form::Namespaces).await
}

#[tokio::test]
async fn in_user_namespaces_calls_are_what_is_promised() -> Result<(), Failure> {
    every_case(Form::UserNamespaces).await
}

#[tokio::test]
async fn under_landlock_calls_are_what_is_promised() -> Result<(), Failure> {
    every_case(Form::Landlock).await
}

/// The strongest form that the machine has: for what does not depend on it.
async fn some() -> Result<Ground, Failure> {
    for form in Form::ALL {
        if let Some(ground) = Ground::new(form).await? {
            return Ok(ground);
        }
    }
    Err("no layer holds on this machine".into())
}

#[tokio::test]
async fn the_environment_is_what_was_given_and_nothing_else() -> Result<(), Failure> {
    let ground = some().await?;
    let source = "import os, json\ndef f():\n    return dict(os.environ)";
    let mut job = job(source, json!({}));
    job.env =
        [("MY_KEY", "ä value"), ("LETTA_AGENT_ID", "overruled"), ("", "no name"), ("A=B", "x")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    let outcome = ground.run(job).await?;
    let Status::Returned { text, .. } = outcome.status else {
        return Err(format!("{outcome:?}").into());
    };
    let mut env: Map<String, Value> = serde_json::from_str(&text)?;
    for (name, value) in [
        ("MY_KEY", "ä value"),
        ("LETTA_AGENT_ID", "agent-1"),
        ("LETTA_PROJECT_ID", "project-1"),
        ("NO_COLOR", "1"),
        ("TERM", "dumb"),
        ("PYTHONUNBUFFERED", "1"),
    ] {
        assert_eq!(env.remove(name), Some(json!(value)), "{name}");
    }
    for name in ["HOME", "LANG", "PATH", "TMPDIR"] {
        assert!(env.remove(name).is_some(), "{name}");
    }
    assert!(env.is_empty(), "{env:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_printed_is_apart_from_the_result_and_in_order() -> Result<(), Failure> {
    let ground = some().await?;
    let source = "import sys, os\ndef f():\n    print('one')\n    os.write(1, b'two\\n')\n    \
                  print('RTLD forged', file=sys.stderr)\n    sys.stdout.write('three')\n    return 'r'";
    let outcome = ground.run(job(source, json!({}))).await?;
    assert_eq!(outcome.status, Status::Returned { text: "r".into(), chars: 1 });
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("one\ntwo\nthree", "RTLD forged\n")
    );
    Ok(())
}

#[tokio::test]
async fn a_traceback_shows_the_tools_own_lines_and_goes_to_stderr() -> Result<(), Failure> {
    let ground = some().await?;
    let source = "def g():\n    return 1 / 0\ndef f():\n    return g()";
    let outcome = ground.run(job(source, json!({}))).await?;
    assert!(outcome.stderr.contains("line 2, in g\n    return 1 / 0"), "{}", outcome.stderr);
    assert!(outcome.stderr.ends_with("ZeroDivisionError: division by zero\n"));
    assert!(!outcome.stderr.contains("read_job"), "the runner shows: {}", outcome.stderr);
    Ok(())
}

#[tokio::test]
async fn an_error_is_clipped_and_a_result_is_cut_with_its_length_told() -> Result<(), Failure> {
    let ground = some().await?;
    let outcome = ground.run(job("def f():\n    raise ValueError('x' * 5000)", json!({}))).await?;
    let Status::Raised(text) = outcome.status else { return Err("no error".into()) };
    assert_eq!(text.chars().count(), 1_000);
    let outcome = ground.run(job("def f():\n    return 'ä' * 3_000_000", json!({}))).await?;
    let Status::Returned { text, chars } = outcome.status else {
        return Err(format!("{:?}", outcome.status).into());
    };
    assert_eq!((text.chars().count(), chars), (1_000_001, 3_000_000));
    Ok(())
}

#[tokio::test]
async fn a_job_past_the_bound_is_refused_before_it_runs() -> Result<(), Failure> {
    let ground = some().await?;
    let refused = ground.cage.run(job("def f(a): pass", json!({"a": "x".repeat(17 << 20)}))).await;
    assert!(matches!(refused, Err(CageError::TooLarge { .. })), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_large_job_and_a_large_result_come_through() -> Result<(), Failure> {
    let ground = some().await?;
    let source = "def f(a: str):\n    return a[::-1]";
    let outcome =
        ground.run(job(source, json!({"a": format!("{}y", "x".repeat(900_000))}))).await?;
    let Status::Returned { text, chars } = outcome.status else {
        return Err(format!("{:?}", outcome.status).into());
    };
    assert!(text.starts_with("yxxx") && chars == 900_001);
    Ok(())
}

#[tokio::test]
async fn a_call_sees_nothing_of_the_one_before() -> Result<(), Failure> {
    let ground = some().await?;
    let source = "import os, tempfile\ndef f():\n    seen = os.listdir('.') + os.listdir(tempfile.gettempdir())\n    \
                  open('left', 'w').close()\n    tempfile.mkstemp()\n    return seen";
    for _ in 0..3 {
        let outcome = ground.run(job(source, json!({}))).await?;
        assert_eq!(outcome.status, Status::Returned { text: "[]".into(), chars: 2 });
    }
    Ok(())
}

#[tokio::test]
async fn the_network_is_there_when_it_is_granted() -> Result<(), Failure> {
    for form in Form::ALL {
        let Some(ground) = Ground::new(form).await? else { continue };
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let source = format!(
            "import socket\ndef f():\n    socket.create_connection(('127.0.0.1', {}), 5).close()\n    \
             for kind in (socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET):\n        try:\n            \
             socket.socket(kind, socket.SOCK_RAW if kind != socket.AF_UNIX else socket.SOCK_STREAM)\n        \
             except OSError:\n            continue\n        return 'a socket of %s' % kind\n    \
             try:\n        socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)\n    except OSError:\n        \
             return 'reached'\n    return 'a raw socket'",
            listener.local_addr()?.port()
        );
        let mut job = job(&source, json!({}));
        job.network = true;
        let outcome = ground.run(job).await?;
        let wanted = Status::Returned { text: "reached".into(), chars: 7 };
        assert_eq!(outcome.status, wanted, "{form:?} {}", outcome.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn without_a_python_the_error_says_so() -> Result<(), Failure> {
    let mut tried = 0;
    for form in Form::ALL {
        let nowhere = |options: &mut retold_tools::cage::CageOptions| {
            options.python = Some("/no/such/python3".into());
        };
        let Some(ground) = Ground::with(form, nowhere).await? else { continue };
        let refused = ground.cage.run(job("def f(): pass", json!({}))).await;
        let Err(CageError::NoPython(why)) = refused else { return Err("it ran".into()) };
        assert!(why.contains("/no/such/python3"), "{why}");
        tried += 1;
    }
    assert!(tried > 0);
    Ok(())
}
