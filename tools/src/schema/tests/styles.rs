//! Docstrings of every style.

use serde_json::Value;

use super::python;

/// The description, and the parameters' with their names, of a function with parameters `a` and `b`.
fn read(docstring: &str) -> (String, Value) {
    let source = format!("def f(a: int, b: str = ''):\n    '''{docstring}'''\n");
    let signature = python(&source).unwrap_or_else(|error| panic!("{docstring}: {error}"));
    let properties = &signature.json_schema["parameters"]["properties"];
    (
        signature.description,
        serde_json::json!([properties["a"]["description"], properties["b"]["description"]]),
    )
}

#[test]
fn each_style_says_the_same() {
    let styles = [
        "Does.\n\n    Args:\n        a: The A.\n        b: The B.\n    ",
        "Does.\n    Args:\n        a (int): The A.\n        b (str, optional): The B.\n    ",
        "\n    Does.\n\n    Arguments:\n      a (Dict[str, Tuple[int, (str)]]):   The A.\n      b: The B.\n\n    Returns:\n      c: no\n    ",
        "Does.\n\n    Parameters:\n        - a: The A.\n        - `b` (str): The B.",
        "Does.\n\n    Args:\n    a: The A.\n    b: The B.\n    Returns:\n    a: not this\n    ",
        "Does.\n\n    :param a: The A.\n    :type a: int\n    :param str b: The B.\n    :return: c\n    :raises ValueError: no\n    ",
        "Does.\n\n    Parameters\n    ----------\n    a : int\n        The A.\n    b : str, optional\n        The B.\n\n    Returns\n    -------\n    str\n        No.\n    ",
        "Does.\n\n    Returns:\n        int: no\n\n    Args:\n        a: The A.\n        c: Nothing has this name.\n        b: The B.\n\n    Yields:\n        no\n    ",
    ];
    for style in styles {
        let (description, parameters) = read(style);
        assert_eq!(description, "Does.", "{style}");
        assert_eq!(parameters, serde_json::json!(["The A.", "The B."]), "{style}");
    }
}

#[test]
fn a_description_goes_on_over_lines_and_colons() {
    let (_, parameters) = read(
        "Does.\n\n    Args:\n        a: First: the A.\n            - one: this\n            - two: that\n\n            Last.\n        b: The B\n        goes on.\n    ",
    );
    assert_eq!(
        parameters,
        serde_json::json!(["First: the A.\n- one: this\n- two: that\n\nLast.", "The B\ngoes on."])
    );
}

#[test]
fn text_after_the_sections_and_unknown_sections_are_part_of_the_description() {
    let (description, _) = read(
        "Does.\n\n    Note:\n        Slow.\n\n    Args:\n        a: A.\n        b: B.\n\n    Use it seldom.\n\n    Example:\n        f(1)\n    ",
    );
    assert_eq!(description, "Does.\n\nNote:\n    Slow.\n\nUse it seldom.\n\nExample:\n    f(1)");
}
