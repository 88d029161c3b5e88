//! Schemas that come with the source, and arguments against schemas.

use serde_json::{Value, json};

use super::super::{Given, Language, SchemaError, Signature, check_arguments, derive};

const SOURCE: &str =
    "def helper():\n    pass\n\ndef other(x):\n    '''Other.'''\n\ndef tool(x):\n    '''Does.'''\n";

fn explicit(source: &str, language: Language, schema: &Value) -> Result<Signature, SchemaError> {
    derive(source, language, Given { json_schema: Some(schema), ..Given::default() })
}

fn arguments(source: &str, schema: &Value) -> Result<Signature, SchemaError> {
    derive(source, Language::Python, Given { args_json_schema: Some(schema), ..Given::default() })
}

#[test]
fn a_given_schema_wins_and_is_kept_as_it_is() {
    let schema = json!({
        "name": "other", "description": "Given.", "strict": true,
        "parameters": {"type": "object", "properties": {"x": {"type": "string", "pattern": "^a"}}, "required": ["x"], "additionalProperties": false},
    });
    let given = Given {
        json_schema: Some(&schema),
        args_json_schema: Some(&json!(3)),
        name: Some("helper"),
        ..Given::default()
    };
    let signature = derive(SOURCE, Language::Python, given).unwrap();
    assert_eq!((signature.name.as_str(), signature.description.as_str()), ("other", "Given."));
    assert_eq!(signature.json_schema, schema);
}

#[test]
fn what_a_given_schema_lacks_is_filled_in() {
    let signature = explicit(SOURCE, Language::Python, &json!({"name": "tool"})).unwrap();
    let expected = r#"{"name":"tool","description":"Does.","parameters":{"type":"object","properties":{},"required":[]}}"#;
    assert_eq!(signature.json_schema.to_string(), expected);
    assert_eq!(signature.description, "Does.");
    let nothing = json!({"type": "object", "properties": null, "required": null});
    let nothing = json!({"name": "tool", "parameters": nothing});
    assert_eq!(explicit(SOURCE, Language::Python, &nothing).unwrap(), signature);
    let schema = json!({"name": "helper", "parameters": null});
    let given =
        Given { json_schema: Some(&schema), description: Some("Said."), ..Given::default() };
    let signature = derive(SOURCE, Language::Python, given).unwrap();
    assert_eq!(signature.json_schema["description"], "Said.");
    assert_eq!(explicit(SOURCE, Language::Python, &schema).unwrap().description, "");
}

#[test]
fn a_description_of_the_request_wins_over_the_docstring() {
    let given = Given { description: Some("Said."), ..Given::default() };
    let signature = derive("def f():\n    pass\n", Language::Python, given).unwrap();
    assert_eq!(signature.description, "Said.");
    assert_eq!(signature.json_schema["description"], "Said.");
    let blank = Given { description: Some("  "), ..Given::default() };
    assert_eq!(
        derive("def f():\n    'Own.'\n", Language::Python, blank).unwrap().description,
        "Own."
    );
}

#[test]
fn a_name_chooses_the_function() {
    let source = "def a():\n    'A.'\ndef b():\n    'B.'\n";
    let of =
        |name| derive(source, Language::Python, Given { name: Some(name), ..Given::default() });
    assert_eq!(of("a").unwrap().description, "A.");
    assert_eq!(
        of("c").unwrap_err().to_string(),
        "the source defines no function `c` at its top level; it defines `a`, `b`; give one of these names"
    );
}

#[test]
fn a_given_schema_that_is_none_is_refused_with_the_member() {
    let parameters = |parameters: Value| json!({"name": "tool", "parameters": parameters});
    let cases = [
        (json!([]), "json_schema: must be an object with `name`, `description` and `parameters`"),
        (json!({"parameters": {}}), "json_schema: has no `name`; give it the name of the function"),
        (json!({"name": 3}), "json_schema.name: must be a text"),
        (
            json!({"name": "my tool"}),
            "json_schema.name: `my tool` cannot be offered to a model under this name; use 1 to 48 letters, digits, `_` and `-` of ASCII",
        ),
        (
            json!({"name": "a".repeat(49)}),
            "json_schema.name: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` cannot be offered to a model under this name; use 1 to 48 letters, digits, `_` and `-` of ASCII",
        ),
        (json!({"name": "tool", "description": 1}), "json_schema.description: must be a text"),
        (parameters(json!("x")), "json_schema.parameters: must be a schema of an object"),
        (parameters(json!({})), "json_schema.parameters: must have the `type` \"object\""),
        (
            parameters(json!({"type": "object", "properties": []})),
            "json_schema.parameters.properties: must be an object",
        ),
        (
            parameters(json!({"type": "object", "properties": {"x": "str"}})),
            "json_schema.parameters.properties.x: must be a schema",
        ),
        (
            parameters(json!({"type": "object", "required": "x"})),
            "json_schema.parameters.required: must be an array of names",
        ),
        (
            parameters(json!({"type": "object", "required": ["x"]})),
            "json_schema.parameters.required: names `x`, which `properties` does not have; add it there",
        ),
        (
            parameters(json!({"type": "object", "properties": {"x": {}}, "required": ["x", "x"]})),
            "json_schema.parameters.required: names `x` twice; name it once",
        ),
        (
            json!({"name": "nowhere"}),
            "the source defines no function `nowhere` at its top level; it defines `helper`, `other`, `tool`; give one of these names",
        ),
    ];
    for (schema, expected) in cases {
        assert_eq!(explicit(SOURCE, Language::Python, &schema).unwrap_err().to_string(), expected);
    }
    let deep =
        (0..100).fold(json!({}), |inner, _| json!({"type": "object", "properties": {"x": inner}}));
    assert_eq!(
        explicit(SOURCE, Language::Python, &parameters(deep)).unwrap_err().to_string(),
        "json_schema.parameters: is nested too deep; make it flatter"
    );
}

#[test]
fn a_model_of_the_arguments_gives_the_parameters() {
    // What pydantic 2 makes of it.
    let schema = json!({
        "$defs": {
            "Unit": {"enum": ["kg", "g"], "title": "Unit", "type": "string"},
            "Entry": {
                "description": "One entry.", "title": "Entry", "type": "object", "required": ["title"],
                "properties": {
                    "title": {"description": "Its title.", "title": "Title", "type": "string"},
                    "unit": {"$ref": "#/$defs/Unit", "default": "kg"},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null, "title": "Note"},
                },
            },
        },
        "title": "Inventory", "description": "The model.", "type": "object", "required": ["data"],
        "properties": {
            "data": {"$ref": "#/$defs/Entry", "description": "The entry."},
            "more": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Entry"}}, {"type": "null"}], "default": null},
            "old": {"allOf": [{"$ref": "#/$defs/Unit"}], "title": "Old"},
        },
    });
    let entry = |description: &str| {
        json!({
            "type": "object", "required": ["title"],
            "properties": {
                "title": {"description": "Its title.", "type": "string"},
                "unit": {"enum": ["kg", "g"], "type": "string", "default": "kg"},
                "note": {"type": "string"},
            },
            "description": description,
        })
    };
    let signature = arguments(SOURCE, &schema).unwrap();
    assert_eq!((signature.name.as_str(), signature.description.as_str()), ("tool", "Does."));
    assert_eq!(
        signature.json_schema["parameters"],
        json!({
            "type": "object",
            "properties": {
                "data": entry("The entry."),
                "more": {"type": "array", "items": entry("One entry.")},
                "old": {"enum": ["kg", "g"], "type": "string"},
            },
            "required": ["data"],
        })
    );
    let undocumented = arguments("def tool(data, more=None, old=None): pass\n", &schema).unwrap();
    assert_eq!(undocumented.description, "The model.");
}

#[test]
fn a_model_of_the_arguments_that_has_no_end_or_no_target_is_refused() {
    let model = |defs: Value| json!({"$defs": defs, "type": "object", "properties": {"x": {"$ref": "#/$defs/A"}}});
    let cases = [
        (
            model(json!({})),
            "args_json_schema: refers to `#/$defs/A`, which it does not have; define it under `$defs`",
        ),
        (
            model(json!({"A": {"type": "object", "properties": {"next": {"$ref": "#/$defs/A"}}}})),
            "args_json_schema: `#/$defs/A` contains itself; a schema must end, so write out the levels that are needed",
        ),
        (json!({"type": "string"}), "args_json_schema: must have the `type` \"object\""),
    ];
    for (schema, expected) in cases {
        assert_eq!(arguments(SOURCE, &schema).unwrap_err().to_string(), expected);
    }
    let doubling: Value = (0..40)
        .map(|level| {
            let next = json!({"$ref": format!("#/$defs/A{}", level + 1)});
            (format!("A{level}"), json!({"type": "object", "properties": {"a": next, "b": next}}))
        })
        .chain([
            ("A40".to_owned(), json!({"type": "string"})),
            ("A".to_owned(), json!({"$ref": "#/$defs/A0"})),
        ])
        .collect::<serde_json::Map<String, Value>>()
        .into();
    assert_eq!(
        arguments(SOURCE, &model(doubling)).unwrap_err().to_string(),
        "args_json_schema: becomes too large when its references are followed; make the models smaller"
    );
}

#[test]
fn what_a_reference_at_the_top_brings_along_is_checked_too() {
    let model = |own: Value, referred: Value| {
        let mut schema = json!({"type": "object", "$ref": "#/$defs/A", "$defs": {"A": referred}});
        schema.as_object_mut().unwrap().append(&mut own.as_object().unwrap().clone());
        arguments(SOURCE, &schema).map(|signature| signature.json_schema["parameters"].clone())
    };
    let cases = [
        (
            model(json!({"properties": {"x": {}}}), json!({"required": ["y"]})),
            "args_json_schema.required: names `y`, which `properties` does not have; add it there",
        ),
        (
            model(json!({}), json!({"properties": 5})),
            "args_json_schema.properties: must be an object",
        ),
    ];
    for (outcome, expected) in cases {
        assert_eq!(outcome.unwrap_err().to_string(), expected);
    }
    let properties = json!({"y": {"type": "string"}});
    let good = model(json!({}), json!({"properties": properties, "required": ["y"]}));
    let expected = json!({"type": "object", "properties": properties, "required": ["y"]});
    assert_eq!(good, Ok(expected));
}

#[test]
fn whatever_is_referred_to_is_weighed_as_often_as_it_is_copied() {
    let long = "t".repeat(10_000);
    let many = |of: &dyn Fn(usize) -> (String, Value)| (0..1_500).map(of).collect::<Value>();
    let copied = [
        json!({"items": [long]}),
        json!({"default": {&long: 1}}),
        json!({&long: true}),
        json!({"properties": many(&|n| (format!("q{n}"), json!(true)))}),
        json!({"anyOf": vec![1; 10_000]}),
        many(&|n| (format!("k{n}"), json!(n))),
    ];
    for copied in copied {
        let refers = many(&|n| (format!("p{n}"), json!({"$ref": "#/$defs/A"})));
        let schema = json!({"type": "object", "properties": refers, "$defs": {"A": copied}});
        assert_eq!(
            arguments(SOURCE, &schema).unwrap_err().to_string(),
            "args_json_schema: becomes too large when its references are followed; make the models smaller"
        );
    }
}

#[test]
fn typescript_needs_a_schema_and_an_export_of_its_name() {
    let source = "// export function commented() {}\nconst text = `export function quoted() {}`;\nimport x from \"y\";\n\
        export const limit = 3;\nexport interface Options { a: string }\nfunction inner() {}\n\
        export async function fetch_page(url: string): Promise<string> { return await get(url); }\n\
        export default function main($a: number) { return $a / 2; }\n";
    let of = |source, name: &str| {
        explicit(source, Language::TypeScript, &json!({"name": name, "description": "Does."}))
    };
    assert_eq!(of(source, "fetch_page").unwrap().description, "Does.");
    assert_eq!(of(source, "main").unwrap().name, "main");
    assert_eq!(
        of(source, "inner").unwrap_err().to_string(),
        "the source exports no function `inner`; it exports `fetch_page`, `main`; `json_schema` must have the name of one"
    );
    assert_eq!(
        of("function f() {}", "f").unwrap_err().to_string(),
        "the source exports no function; write `export function f(...)` or `export async function f(...)`"
    );
    assert_eq!(
        derive(source, Language::TypeScript, Given::default()).unwrap_err().to_string(),
        "a TypeScript tool needs its `json_schema`: it cannot be read from the source"
    );
}

#[test]
fn arguments_are_checked_against_names_types_and_values() {
    let schema = json!({"name": "f", "parameters": {
        "type": "object", "required": ["city"],
        "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"}, "share": {"type": "number"}, "free": {"type": "object"},
            "unit": {"type": "string", "enum": ["c", "f"]}, "tags": {"type": "array", "items": {"type": "string"}},
            "at": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
            "who": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            "map": {"type": "object", "additionalProperties": {"type": "integer"}},
            "maybe": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "one": {"$ref": "#/$defs/One"}, "two": {"type": ["string", "integer"]},
        },
        "$defs": {"One": {"const": 1}},
    }});
    let fits = [
        json!({"city": "Rome"}),
        json!({"city": "", "days": 3, "share": 3, "free": {"x": [1]}, "unit": "c", "tags": [], "at": [1.5, "a"], "who": {"name": "b"}}),
        json!({"city": "", "days": 3.0, "map": {"x": 1}, "maybe": null, "one": 1, "two": 2}),
    ];
    for arguments in fits {
        assert_eq!(check_arguments(&schema, &arguments), Ok(()), "{arguments}");
    }
    let refused = [
        (json!([]), "the arguments must be an object, not array"),
        (json!({}), "argument `city` is missing"),
        (json!({"city": 1}), "argument `city` must be string, not number"),
        (
            json!({"city": "", "town": 1}),
            "argument `town` is not known; there are `city`, `days`, `share`, `free`, `unit`, `tags`, `at`, `who`, `map`, `maybe` and 2 more",
        ),
        (json!({"city": "", "days": 1.5}), "argument `days` must be integer, not number"),
        (json!({"city": "", "days": true}), "argument `days` must be integer, not boolean"),
        (json!({"city": "", "unit": "k"}), "argument `unit` must be one of \"c\", \"f\""),
        (json!({"city": "", "tags": ["a", 1]}), "argument `tags[1]` must be string, not number"),
        (json!({"city": "", "at": [1, 2]}), "argument `at[1]` must be string, not number"),
        (json!({"city": "", "at": [1]}), "argument `at` has 1 items, which is too few or too many"),
        (json!({"city": "", "who": {}}), "argument `who.name` is missing"),
        (
            json!({"city": "", "who": {"name": "a", "age": 1}}),
            "argument `who.age` is not known; there are `name`",
        ),
        (json!({"city": "", "map": {"x": "y"}}), "argument `map.x` must be integer, not string"),
        (json!({"city": "", "maybe": 1}), "argument `maybe` must be boolean, not number"),
        (json!({"city": "", "one": 2}), "argument `one` must be 1"),
        (json!({"city": "", "two": null}), "argument `two` must be string or integer, not null"),
    ];
    for (arguments, problem) in refused {
        assert_eq!(check_arguments(&schema, &arguments), Err(problem.to_owned()));
    }
    assert_eq!(
        check_arguments(&json!({"name": "f", "parameters": {"type": "object"}}), &json!({"a": 1})),
        Err("argument `a` is not known; none are taken".to_owned())
    );
}

#[test]
fn a_refusal_is_short_however_long_names_and_values_are() {
    let long = "é".repeat(10_000);
    let values: Vec<String> = (0..200).map(|n| format!("{n}{long}")).collect();
    let properties: Value = (0..50).map(|n| (format!("{n}{long}"), json!({}))).collect();
    let cases = [
        (json!({"enum": values}), json!(1)),
        (json!({"const": long}), json!(1)),
        (json!({"type": values}), json!(1)),
        (json!({"properties": properties}), json!({&long: 1})),
        (json!({"properties": {&long: {"type": "null"}}}), json!({&long: 1})),
        (json!({"required": [&long]}), json!({})),
    ];
    for (schema, value) in cases {
        let schema = json!({"type": "object", "properties": {"x": schema}});
        let refusal = check_arguments(&schema, &json!({ "x": value })).unwrap_err();
        assert!(refusal.starts_with("argument `x") && refusal.len() < 10_000, "{}", refusal.len());
    }
    let values: Vec<usize> = (0..60).collect();
    let schema = json!({"type": "object", "properties": {"x": {"enum": values}}});
    let refusal = check_arguments(&schema, &json!({"x": -1})).unwrap_err();
    assert!(refusal.starts_with("argument `x` must be one of 0, 1, 2, "), "{refusal}");
    assert!(refusal.ends_with(", 49 and 10 more"), "{refusal}");
}

#[test]
fn of_choices_none_of_which_fits_the_first_is_what_was_meant() {
    let schema = json!({"type": "object", "properties": {"x": {"anyOf": [
        {"anyOf": [{"type": "string"}, {"type": "array"}]}, {"type": "boolean"}, {"const": 5},
    ]}, "y": {"type": "string"}}});
    let check = |arguments: Value| check_arguments(&schema, &arguments);
    assert_eq!(check(json!({"x": 5, "y": ""})), Ok(()));
    assert_eq!(check(json!({"x": 4})), Err("argument `x` must be string, not number".to_owned()));
    // Looking for a choice that fits leaves what follows as clear as it was.
    assert_eq!(
        check(json!({"x": 5, "y": 1})),
        Err("argument `y` must be string, not number".to_owned())
    );
}

#[test]
fn a_schema_of_choices_without_end_is_checked_in_bounded_steps() {
    let again = json!({"$ref": "#/$defs/A"});
    let schema = json!({
        "type": "object", "properties": {"x": again},
        "$defs": {"A": {"anyOf": [{"allOf": [again, again]}, {"allOf": [again, again]}]}},
    });
    assert_eq!(check_arguments(&schema, &json!({"x": 1})), Ok(()));
}
