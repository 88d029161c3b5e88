//! Sources that are meant to hurt, and sources that are no sources.

use proptest::prelude::*;

use super::{
    super::{Given, Language, MAX_SOURCE, SchemaError, Signature, derive},
    python,
};

#[test]
fn nesting_past_the_bound_is_refused_with_its_line() {
    let deep = 100_000;
    let sources = [
        "(".repeat(deep),
        "[".repeat(deep),
        format!("x = {}1{}", "[".repeat(deep), "]".repeat(deep)),
        format!("x = {}1", "-".repeat(deep)),
        format!("x = {}1", "not ".repeat(deep)),
        format!("x = a{}", ".a".repeat(deep)),
        format!("x = a{}", "()".repeat(deep)),
        format!("x = a{}", " + a".repeat(deep)),
        format!("x = a{}", " ** a".repeat(deep)),
        format!("x = {}1", "lambda a, b: ".repeat(deep / 2)),
        format!("x = {}1", "a if b else ".repeat(deep / 2)),
        format!("x = {}", "f'{".repeat(deep / 2)),
        format!("{}pass", "if a: ".repeat(deep)),
    ];
    for hostile in sources {
        let source = format!("def f():\n    'Does.'\n{hostile}\n");
        let error = python(&source).unwrap_err().to_string();
        let expected = "line 3: the source is nested more than 1000 levels deep here; split it up";
        assert_eq!(error, expected, "{}", &hostile[..20]);
    }
}

#[test]
fn a_bracket_that_is_never_closed_is_the_news_and_not_the_depth() {
    let body = "    value = call(a, b)[0].name + 'text' * 2\n".repeat(400);
    let source = format!("import os\nNAMES = ['a', 'b'\n\ndef f(x: int):\n    'Does.'\n{body}");
    let error = python(&source).unwrap_err().to_string();
    assert_eq!(error, "line 2, column 18: expected `]`, found newline; this is not valid Python");
}

#[test]
fn what_is_no_python_is_refused_however_deep_a_tree_the_parser_makes_of_it() {
    let quoted = "f'''{'''\n";
    for (source, expected) in [
        (
            format!("x = ({}1)", "yield a, ".repeat(20_000)),
            "line 1: the source is nested more than 1000 levels deep here; split it up",
        ),
        (
            format!("x = ({}1)", "yield from a, ".repeat(20_000)),
            "line 1: the source is nested more than 1000 levels deep here; split it up",
        ),
        (
            format!("x = ([), {}", "[),".repeat(20_000)),
            "line 1, column 7: expected an expression; this is not valid Python",
        ),
        (
            format!("x = {quoted}{}", "[".repeat(60_000)),
            "line 1, column 10: expected an expression; this is not valid Python",
        ),
        (
            format!("x = {quoted}{}", "[".repeat(70_000)),
            "the source has 70009 operators, brackets and keywords; a tool's source may have at most 65536, so keep its data elsewhere",
        ),
    ] {
        assert_eq!(python(&source).unwrap_err().to_string(), expected, "{}", &source[..20]);
    }
}

#[test]
fn a_long_source_that_is_not_deep_is_read() {
    let rows = "    ('a', -1, {'b': [2.5, None]}),\n".repeat(3000);
    let source = format!("ROWS = [\n{rows}]\ndef f():\n    'Does.'\n");
    assert_eq!(python(&source).unwrap().description, "Does.");
}

/// A function whose parameter has this hint, after this.
fn with_hint(above: &str, hint: &str) -> Result<Signature, SchemaError> {
    python(&format!(
        "{above}def f(x: {hint}):\n    '''Does.\n\n    Args:\n        x: It.\n    '''\n"
    ))
}

#[test]
fn tuples_in_tuples_do_not_double_what_is_made_of_them() {
    let nested = |depth: usize| {
        with_hint("", &format!("{}int{}", "tuple[".repeat(depth), "]".repeat(depth)))
    };
    assert!(nested(5).is_ok());
    let error = nested(31).unwrap_err().to_string();
    assert!(error.contains("has more than 5000 types and values"), "{error}");
}

#[test]
fn a_schema_that_is_made_is_no_deeper_than_one_that_is_given() {
    let nested = |depth: usize| {
        let class = |level| format!("class C{level}(BaseModel):\n    x: C{}\n", level + 1);
        let classes: String = (0..depth).map(class).collect();
        with_hint(&format!("{classes}class C{depth}(BaseModel):\n    x: int\n"), "C0")
    };
    assert!(nested(20).is_ok());
    let error = nested(30).unwrap_err().to_string();
    let expected = "the schema of `f` is nested more than 64 levels deep; make its types flatter";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_hint_in_quotes_is_bounded_too() {
    let error = python(&format!("def f(x: '{}'):\n    'Does.'\n", "[".repeat(50_000)))
        .unwrap_err()
        .to_string();
    assert!(error.contains("which is no type; correct the text between the quotes"), "{error}");
    let many =
        format!("def f(x: {}):\n    'Does.'\n", "list[".repeat(200) + "int" + &"]".repeat(200));
    let error = python(&many).unwrap_err().to_string();
    assert!(error.ends_with("which nests types more than 32 deep; make it flatter"), "{error}");
}

#[test]
fn more_source_than_is_looked_at_is_refused() {
    for language in [Language::Python, Language::TypeScript] {
        let error = derive(&" ".repeat(MAX_SOURCE + 1), language, Given::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the source has 1048577 bytes; a tool's source may have at most 1048576"
        );
    }
}

#[test]
fn a_schema_cannot_grow_without_end() {
    let fields = |level| (0..3).map(move |n| format!("    f{n}: C{}\n", level + 1));
    let classes: String = (0..12)
        .map(|level| format!("class C{level}(BaseModel):\n{}", fields(level).collect::<String>()))
        .collect();
    let doubled =
        format!("{classes}class C12(BaseModel):\n    x: int\ndef f(x: C0):\n    'Does.'\n");
    let error = python(&doubled).unwrap_err().to_string();
    assert!(
        error.ends_with("the schema has more than 5000 types and values; make the types smaller"),
        "{error}"
    );
}

#[test]
fn short_sources_that_unfold_into_long_ones_end_soon() {
    let text = "t".repeat(100_000);
    let fields: String = (0..3000).map(|n| format!("    f{n}: A = X\n")).collect();
    let bases: Vec<String> = (0..2000).map(|n| format!("B{n}")).collect();
    let sources = [
        "X = (X, X, X, X, X, X, X, X)\ndef f(a: list = X):\n    'Does.'\n".to_owned(),
        format!("X = '{text}'\nA = str\nclass M(BaseModel):\n{fields}def f(m: M):\n    'Does.'\n"),
        format!(
            "A = Annotated[int, Field(description='{text}')]\nX = 1\nclass M(BaseModel):\n{fields}def f(m: M):\n    'Does.'\n"
        ),
        format!(
            "A = 'int | {text}'\nX = 1\nclass M(BaseModel):\n{fields}def f(m: M):\n    'Does.'\n"
        ),
        format!(
            "class A(BaseModel):\n    '''{text}'''\nX = 1\nclass M(BaseModel):\n{fields}def f(m: M):\n    'Does.'\n"
        ),
        format!(
            "A = Union[{}int]\nX = 1\nclass M(BaseModel):\n{fields}def f(m: M):\n    'Does.'\n",
            "None, ".repeat(6000)
        ),
        format!(
            "class A({0}): pass\n{1}def f(a: A):\n    'Does.'\n",
            bases.join(", "),
            bases
                .iter()
                .map(|b| format!("class {b}({}): pass\n", bases[..20].join(", ")))
                .collect::<String>()
        ),
        format!(
            "class E(Enum):\n{}X = [{}]\ndef f(a: list = X):\n    'Does.'\n",
            "    a = 1\n".repeat(10_000),
            "E.b, ".repeat(10_000)
        ),
        "def open(\n".repeat(10_000),
        format!("x = {}", "f'{a\n".repeat(10_000)),
        "'''\n".repeat(20_001),
        "def f(a: int):\n    'Does.'\n".repeat(5000),
    ];
    for source in sources {
        // What comes of it is not the matter: that anything does is.
        let outcome = python(&source);
        assert_eq!(outcome, python(&source));
    }
}

/// Words of Python, and what tools are made of.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "def ",
        "async ",
        "class ",
        "f",
        "x",
        "self",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        ".",
        "=",
        "->",
        "*",
        "**",
        "/",
        "|",
        "@",
        "\n",
        "\r\n",
        "\r",
        "\n    ",
        "\n        ",
        "\t",
        " ",
        "\\\n",
        "#",
        "'",
        "\"",
        "'''",
        "\"\"\"",
        "f'",
        "f\"{",
        "rb'",
        "int",
        "str",
        "Optional",
        "List",
        "Literal",
        "Tuple",
        "Union",
        "Annotated",
        "BaseModel",
        "Enum",
        "TypedDict",
        "Field",
        "None",
        "...",
        "1",
        "-1",
        "1e999",
        "0x",
        "'int'",
        "lambda ",
        "if ",
        "else ",
        "match ",
        "case ",
        "type ",
        "import ",
        "from ",
        "as ",
        "return ",
        "await ",
        "pass",
        "Args:",
        "Returns:",
        "x: It.",
        "x (int): It.",
        ":param x: It.",
        "----",
        "'''Does.\n\n    Args:\n        x: It.\n    '''",
        "é",
        "\u{feff}",
        "\0",
        "def f(x: int):\n    ",
        "class C(BaseModel):\n    x: ",
        "\u{2028}",
        "😀",
        ";",
        "~",
        ":=",
        "%",
        "\u{c}",
    ];
    prop_oneof![
        12 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ]
}

fn soup() -> impl Strategy<Value = String> {
    proptest::collection::vec(word(), 0..80).prop_map(|words| words.concat())
}

/// The same source has the same outcome, and a schema that was made is one that may be given.
fn one_outcome(source: &str) -> Result<(), TestCaseError> {
    let outcome = python(source);
    prop_assert_eq!(&outcome, &python(source));
    if let Ok(signature) = outcome {
        let given = Given { json_schema: Some(&signature.json_schema), ..Given::default() };
        prop_assert_eq!(derive(source, Language::Python, given), Ok(signature));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sent_has_one_outcome(source in soup()) {
        one_outcome(&source)?;
    }

    #[test]
    fn a_function_with_any_hint_and_docstring_has_one_outcome(hint in soup(), docs in soup(), default in soup()) {
        let source = format!("class C(BaseModel):\n    y: 'C2'\ndef f(x: {hint} = {default}, y: C = None):\n    '''Does.\n\n    Args:\n        x: It. {docs}\n        y: It.\n    '''\n");
        one_outcome(&source)?;
    }

    #[test]
    fn whatever_is_said_of_a_good_function_its_parameters_stay(docs in "[ a-z:()*.-]{0,200}") {
        let source = format!("def f(x: int = 3):\n    '''Does.\n\n    Args:\n        x: It.\n\n    Notes:\n        {docs}\n    '''\n");
        let signature = python(&source).unwrap();
        prop_assert_eq!(&signature.json_schema["parameters"]["properties"]["x"]["type"], "integer");
        prop_assert!(signature.description.starts_with("Does."));
    }

    #[test]
    fn whatever_follows_an_export_it_stays_one(source in soup()) {
        let schema = serde_json::json!({"name": "f"});
        let given = Given { json_schema: Some(&schema), ..Given::default() };
        let of = |source: &str| derive(source, Language::TypeScript, given).is_ok();
        let exported = format!("export function f() {{}}\n{source}");
        prop_assert!(of(&exported));
        prop_assert!(!of(&source));
    }
}
