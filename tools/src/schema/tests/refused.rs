//! What is refused, with the exact words.

use super::python;

/// Source, and what is said of it.
const CASES: &[(&str, &str)] = &[
    (
        "",
        "the source defines no function; write the tool as a function at the top level of the source, not as a method",
    ),
    (
        "class Tool:\n    def run(self, x: int):\n        'Runs.'\n",
        "the source defines no function; write the tool as a function at the top level of the source, not as a method",
    ),
    (
        "def f(x: int)\n    return x\n",
        "line 1, column 14: expected `:`, found newline; this is not valid Python",
    ),
    (
        "\ndef f():\nreturn 1\n",
        "line 3, column 1: expected an indented block after function definition; this is not valid Python",
    ),
    (
        "  def f():\n    pass\n",
        "line 1, column 1: unexpected indentation; this is not valid Python",
    ),
    (
        "def f():\r\n    x = 1\r\n    return 'é' + \"abc\r\n",
        "line 3, column 18: missing closing quote in string literal; this is not valid Python",
    ),
    (
        "def f():\n    print 'hello'\n",
        "line 2, column 11: simple statements must be separated by newlines or semicolons; this is not valid Python",
    ),
    (
        "def f():\n    return “hello”\n",
        "line 2, column 12: got unexpected token “; this is not valid Python",
    ),
    ("def f():\n    pass\n\0", "line 3, column 1: a NUL character; this is not valid Python"),
    (
        "def f(a: int = 1, b: int):\n    'Does.'\n",
        "line 1, column 19: parameter without a default cannot follow a parameter with a default; this is not valid Python",
    ),
    (
        "import os\n\ndef f(x: int):\n    return x\n",
        "line 3: function `f` has no docstring; say what it does in one, with an `Args:` section that describes each parameter",
    ),
    (
        "def f(x: int):\n    f'Does {x}.'\n",
        "line 1: function `f` has no docstring; say what it does in one, with an `Args:` section that describes each parameter",
    ),
    (
        "@tool\nasync def f(x: int):\n    '''\n    Args:\n        x: It.\n    '''\n",
        "line 2: the docstring of `f` does not say what the function does; begin it with a sentence that does",
    ),
    (
        "def f(\n    x: int,\n    y,\n):\n    '''Does.\n\n    Args:\n        x: It.\n        y: It.\n    '''\n",
        "line 3: parameter `y` of `f` has no type hint; write `y: str` or another type",
    ),
    (
        "def f(x: int, y: str = ''):\n    '''Does.\n\n    Args:\n        x: It.\n        y:\n    '''\n",
        "line 1: parameter `y` of `f` has no description; add a line `y: ...` to the `Args:` section of the docstring",
    ),
    (
        "def f(x: int):\n    '''Does.'''\n",
        "line 1: parameter `x` of `f` has no description; add a line `x: ...` to the `Args:` section of the docstring",
    ),
    (
        "def f(x: int, *rest: int):\n    '''Does.'''\n",
        "line 1: parameter `*rest` of `f` takes any number of arguments, which a schema cannot list; name each parameter, or take one list or dict",
    ),
    (
        "def f(x: int,\n      **options):\n    '''Does.'''\n",
        "line 2: parameter `**options` of `f` takes any number of arguments, which a schema cannot list; name each parameter, or take one list or dict",
    ),
    (
        "def f(x: int, /, y: int):\n    '''Does.'''\n",
        "line 1: parameter `x` of `f` can only be given by position, but tools are called by name; remove the `/`",
    ),
    (
        "def f(x: int, x: int):\n    '''Does.'''\n",
        "line 1: parameter `x` of `f` is there twice; give each parameter a name of its own",
    ),
    (
        "def größe():\n    'Does.'\n",
        "line 1: function `größe` cannot be offered to a model under this name; use 1 to 48 letters, digits, `_` and `-` of ASCII",
    ),
    (
        "def this_name_is_longer_than_any_name_of_a_tool_may_be():\n    'Does.'\n",
        "line 1: function `this_name_is_longer_than_any_name_of_a_tool_may_be` cannot be offered to a model under this name; use 1 to 48 letters, digits, `_` and `-` of ASCII",
    ),
    (
        "def f(größe: int):\n    'Does.'\n",
        "line 1: parameter `größe` of `f` cannot be offered to a model under this name; use 1 to 64 letters, digits, `_` and `-` of ASCII",
    ),
    (
        "def f(x: dict[\n    str,   int]):\n    'Does.'\n",
        "line 1: parameter `x` of `f` has the type `dict[ str, int]`, whose keys a model cannot be told; write plain `dict`, or a pydantic model that names the keys",
    ),
];

#[test]
fn each_fault_is_named_with_its_place_and_what_to_do() {
    for (source, expected) in CASES {
        let error = python(source).expect_err(source);
        assert_eq!(error.to_string(), *expected, "{source}");
    }
}
