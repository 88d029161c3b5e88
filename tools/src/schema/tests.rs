//! What users write, and what becomes of it.

mod accepted;
mod given;
mod hints;
mod hostile;
mod models;
mod refused;
mod styles;

use serde_json::Value;

use super::{Given, Language, SchemaError, Signature, derive};

/// A source and what a model is told of it.
struct Case {
    /// What the case is about.
    says: &'static str,
    source: &'static str,
    name: &'static str,
    description: &'static str,
    /// The parameters, as JSON.
    parameters: &'static str,
}

fn python(source: &str) -> Result<Signature, SchemaError> {
    derive(source, Language::Python, Given::default())
}

/// Checks every case, and that its outcome does not change from one time to the next.
fn check(cases: &[Case]) {
    for Case { says, source, name, description, parameters } in cases {
        let signature = python(source).unwrap_or_else(|error| panic!("{says}: {error}"));
        assert_eq!(signature.name, *name, "{says}");
        assert_eq!(signature.description, *description, "{says}");
        let expected: Value =
            serde_json::from_str(parameters).unwrap_or_else(|error| panic!("{says}: {error}"));
        let parameters = &signature.json_schema["parameters"];
        assert_eq!(parameters.to_string(), expected.to_string(), "{says}");
        assert_eq!(signature.json_schema["name"], *name, "{says}");
        assert_eq!(signature.json_schema["description"], *description, "{says}");
        assert_eq!(python(source).as_ref(), Ok(&signature), "{says}");
    }
}

/// The schema of one hint, on a parameter `x` whose default is as given; the module begins with `above`.
fn hint(above: &str, hint: &str) -> Result<(Value, bool), SchemaError> {
    let source = format!(
        "{above}\ndef f(x: {hint}):\n    \"\"\"Does.\n\n    Args:\n        x: It.\n    \"\"\"\n"
    );
    let parameters = python(&source)?.json_schema["parameters"].clone();
    let mut schema = parameters["properties"]["x"].clone();
    if let Some(schema) = schema.as_object_mut() {
        schema.shift_remove("description");
    }
    Ok((schema, parameters["required"][0] == "x"))
}
