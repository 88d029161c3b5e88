//! Hints, one by one.

use super::hint;

/// Hint, schema, and whether the parameter is required.
const KNOWN: &[(&str, &str, bool)] = &[
    ("str", r#"{"type":"string"}"#, true),
    ("int", r#"{"type":"integer"}"#, true),
    ("float", r#"{"type":"number"}"#, true),
    ("bool", r#"{"type":"boolean"}"#, true),
    ("dict", r#"{"type":"object"}"#, true),
    ("Dict", r#"{"type":"object"}"#, true),
    ("typing.Dict", r#"{"type":"object"}"#, true),
    ("list", r#"{"type":"array","items":{"type":"string"}}"#, true),
    ("List", r#"{"type":"array","items":{"type":"string"}}"#, true),
    ("list[int]", r#"{"type":"array","items":{"type":"integer"}}"#, true),
    (
        "List[List[float]]",
        r#"{"type":"array","items":{"type":"array","items":{"type":"number"}}}"#,
        true,
    ),
    ("list[dict]", r#"{"type":"array","items":{"type":"object"}}"#, true),
    ("L[int]", r#"{"type":"array","items":{"type":"integer"}}"#, true),
    ("Optional[str]", r#"{"type":"string"}"#, false),
    ("typing.Optional[typing.List[str]]", r#"{"type":"array","items":{"type":"string"}}"#, false),
    ("str | None", r#"{"type":"string"}"#, false),
    ("None | list[int]", r#"{"type":"array","items":{"type":"integer"}}"#, false),
    ("Union[int, None]", r#"{"type":"integer"}"#, false),
    ("list[Optional[int]]", r#"{"type":"array","items":{"type":"integer"}}"#, true),
    ("None", r#"{"type":"null"}"#, false),
    ("Literal['c', 'f']", r#"{"type":"string","enum":["c","f"]}"#, true),
    ("Literal[1, 2, -3]", r#"{"type":"integer","enum":[1,2,-3]}"#, true),
    ("Literal[True]", r#"{"type":"boolean","enum":[true]}"#, true),
    ("Literal['a', 'b', 'a', 1, 1]", r#"{"type":["string","integer"],"enum":["a","b",1]}"#, true),
    ("Literal['a', 1, None]", r#"{"type":["string","integer"],"enum":["a",1]}"#, false),
    ("Literal[Color.RED, Color.GREEN.value]", r#"{"type":"string","enum":["red","green"]}"#, true),
    ("list[Literal['a']]", r#"{"type":"array","items":{"type":"string","enum":["a"]}}"#, true),
    (
        "Tuple[float, float]",
        r#"{"type":"array","items":{"type":"number"},"prefixItems":[{"type":"number"},{"type":"number"}],"minItems":2,"maxItems":2}"#,
        true,
    ),
    (
        "tuple[str, int]",
        r#"{"type":"array","items":{"anyOf":[{"type":"string"},{"type":"integer"}]},"prefixItems":[{"type":"string"},{"type":"integer"}],"minItems":2,"maxItems":2}"#,
        true,
    ),
    ("Annotated[int, 'a number']", r#"{"type":"integer"}"#, true),
    ("Annotated[Optional[int], Field(description='a number')]", r#"{"type":"integer"}"#, false),
    ("Annotated[int, Field(default=3)]", r#"{"type":"integer","default":3}"#, false),
    ("'int'", r#"{"type":"integer"}"#, true),
    ("'list[\"int\"]'", r#"{"type":"array","items":{"type":"integer"}}"#, true),
    ("\"Optional['Color']\"", r#"{"type":"string","enum":["red","green"]}"#, false),
    ("Color", r#"{"type":"string","enum":["red","green"]}"#, true),
    ("Color = Color.RED", r#"{"type":"string","enum":["red","green"],"default":"red"}"#, false),
    ("Level", r#"{"type":"integer","enum":[1,2]}"#, true),
    ("Unit", r#"{"type":"string","enum":["c","f"]}"#, true),
    ("Old", r#"{"type":"array","items":{"type":"string"}}"#, true),
    ("New", r#"{"type":"array","items":{"type":"string","enum":["c","f"]}}"#, true),
    ("UserId", r#"{"type":"string"}"#, true),
    ("int = Field(..., description='said here')", r#"{"type":"integer"}"#, true),
    ("int = Field(7, description='said here')", r#"{"type":"integer","default":7}"#, false),
    ("str = compute()", r#"{"type":"string"}"#, false),
];

const ABOVE: &str = r#"
from typing import *
from typing import List as L
from enum import Enum, IntEnum
from pydantic import Field
class Color(str, Enum):
    """Colours."""
    RED = "red"
    GREEN = "green"
class Level(IntEnum):
    LOW = 1
    HIGH = 2
Unit = Literal["c", "f"]
Old: TypeAlias = "list[str]"
type New = list[Unit]
UserId = NewType("UserId", str)
"#;

#[test]
fn each_type_has_its_schema() {
    for (text, schema, required) in KNOWN {
        let (found, needed) = hint(ABOVE, text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found.to_string(), *schema, "{text}");
        assert_eq!(needed, *required, "{text}");
    }
}

/// Hint, and what is said of it.
const UNKNOWN: &[(&str, &str)] = &[
    ("Any", "which tells a model nothing; write the type that is expected, or `str`"),
    ("int | str", "a union of several types; choose one of them, or `Optional[...]` of one"),
    (
        "Union[int, str, None]",
        "a union of several types; choose one of them, or `Optional[...]` of one",
    ),
    (
        "Dict[str, int]",
        "whose keys a model cannot be told; write plain `dict`, or a pydantic model that names the keys",
    ),
    (
        "dict[str, Any]",
        "whose keys a model cannot be told; write plain `dict`, or a pydantic model that names the keys",
    ),
    (
        "tuple",
        "a tuple of any length; write `list[...]`, or a tuple that names the type of each item",
    ),
    (
        "Tuple[int, ...]",
        "a tuple of any length; write `list[...]`, or a tuple that names the type of each item",
    ),
    (
        "tuple[()]",
        "a tuple of any length; write `list[...]`, or a tuple that names the type of each item",
    ),
    ("set[str]", "which JSON does not have; write `list[...]`"),
    ("datetime.datetime", "which JSON does not have; write `str` and convert it in the function"),
    ("list[int, str]", "which takes exactly one type; write one between its brackets"),
    ("Literal[f()]", "whose values must be texts, numbers or booleans; write them out"),
    ("Literal[(1, 2)]", "whose values must be texts, numbers or booleans; write them out"),
    ("'list[int'", "which is no type; correct the text between the quotes"),
    ("f(1)", "which is no type; give one"),
    ("3", "which is no type; give one"),
    (
        "Plain",
        "a class that is neither a pydantic model, a dataclass, a TypedDict nor an Enum; make it one",
    ),
    ("Auto", "an Enum whose values are not written out; give each member a text or number"),
    ("Pairs", "an Enum whose values are not written out; give each member a text or number"),
    ("Again", "which nests types more than 32 deep; make it flatter"),
    (
        "pandas.DataFrame",
        "which is neither a type with a JSON schema nor a class of this source; write str, int, float, bool, list, dict, Literal, \
         Optional, a tuple of fixed length or a pydantic model that the source defines, or give json_schema or args_json_schema",
    ),
];

#[test]
fn a_type_without_schema_is_named_with_its_line_and_what_to_write() {
    let above = "class Plain:\n    x = 1\nclass Auto(Enum):\n    A = auto()\nclass Pairs(Enum):\n    A = 1, 2\nclass Node(BaseModel):\n    next: 'Optional[Node]'\nAgain = list[\"Again\"]\n";
    for (text, problem) in UNKNOWN {
        let error = hint(above, text).expect_err(text);
        let expected = format!("line 11: parameter `x` of `f` has the type `{text}`, {problem}");
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(
        hint(above, "Node").unwrap_err().to_string(),
        "line 8: field `next` of class `Node` has the type `Node`, a class that contains itself; a schema must end, so write \
         out the levels that are needed"
    );
}

#[test]
fn a_long_hint_is_cut_where_an_error_shows_it() {
    let error = hint("", &format!("set[{}]", "x".repeat(200))).unwrap_err().to_string();
    assert!(error.contains(&format!("`set[{}...`", "x".repeat(76))), "{error}");
}
