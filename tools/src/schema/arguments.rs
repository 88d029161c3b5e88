//! `args_json_schema`: what pydantic's `model_json_schema()` makes of the arguments, in the form providers take.
//!
//! References are replaced by what they name, since not every provider follows them. `Optional` becomes the type it is
//! of: whether an argument may be left out is said by `required`.

use serde_json::{Map, Value};

use super::{MAX_SCHEMA, SchemaError, given};

const PLACE: &str = "args_json_schema";
/// How deep references may lead.
const MAX_NESTING: usize = 64;
/// Values and bytes of text that may come of it. What is referred to is copied, so a short schema can say a lot.
const MAX_WEIGHT: usize = 1 << 20;

/// The schema of the parameters.
pub(super) fn parameters(schema: &Value) -> Result<Value, SchemaError> {
    given::object_schema(schema, PLACE)?;
    let mut inliner =
        Inliner { root: schema, open: Vec::new(), left: MAX_SCHEMA, weight_left: MAX_WEIGHT };
    let mut parameters = inliner.schema(schema, MAX_NESTING)?;
    parameters.shift_remove("description");
    let mut object = Map::new();
    for (key, missing) in [
        ("type", Value::from("object")),
        ("properties", Value::from(Map::new())),
        ("required", Value::from(Vec::<Value>::new())),
    ] {
        let value = parameters.shift_remove(key).filter(|value| !value.is_null());
        object.insert(key.to_owned(), value.unwrap_or(missing));
    }
    object.append(&mut parameters);
    let object = Value::Object(object);
    // What stands beside a reference and what is referred to may each be right alone.
    given::object_schema(&object, PLACE)?;
    Ok(object)
}

/// What it says of the whole: the docstring of the model.
pub(super) fn description(schema: &Value) -> Option<&str> {
    schema.get("description").and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

struct Inliner<'v> {
    root: &'v Value,
    /// The references that are being followed.
    open: Vec<&'v str>,
    /// How many schemas more there may be.
    left: usize,
    /// How many values and bytes of text more there may be.
    weight_left: usize,
}

impl<'v> Inliner<'v> {
    fn any(&mut self, schema: &'v Value, depth: usize) -> Result<Value, SchemaError> {
        if schema.is_object() {
            self.schema(schema, depth).map(Value::Object)
        } else {
            self.copy(schema)
        }
    }

    fn copy(&mut self, value: &Value) -> Result<Value, SchemaError> {
        self.weigh(weight(value))?;
        Ok(value.clone())
    }

    fn weigh(&mut self, weight: usize) -> Result<(), SchemaError> {
        self.weight_left = self.weight_left.checked_sub(weight).ok_or_else(too_large)?;
        Ok(())
    }

    fn schema(
        &mut self,
        schema: &'v Value,
        depth: usize,
    ) -> Result<Map<String, Value>, SchemaError> {
        let (Some(left), Some(depth)) = (self.left.checked_sub(1), depth.checked_sub(1)) else {
            return Err(too_large());
        };
        self.left = left;
        let mut plain = Map::new();
        let mut inner = None;
        for (key, value) in schema.as_object().into_iter().flatten() {
            self.weigh(1 + key.len())?;
            match (key.as_str(), value) {
                ("$ref", Value::String(reference)) => inner = Some(self.follow(reference, depth)?),
                ("allOf" | "anyOf", Value::Array(members)) if let Some(one) = the_one(members) => {
                    inner = Some(self.schema(one, depth)?);
                }
                ("title", Value::String(_))
                | ("$defs" | "definitions", Value::Object(_))
                | ("default", Value::Null) => {}
                ("properties", Value::Object(members)) => {
                    let mut properties = Map::new();
                    for (name, member) in members {
                        self.weigh(name.len())?;
                        properties.insert(name.clone(), self.any(member, depth)?);
                    }
                    plain.insert(key.clone(), Value::Object(properties));
                }
                ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(members)) => {
                    let members: Result<Vec<Value>, SchemaError> =
                        members.iter().map(|member| self.any(member, depth)).collect();
                    plain.insert(key.clone(), Value::Array(members?));
                }
                ("items" | "additionalProperties" | "not", value) => {
                    plain.insert(key.clone(), self.any(value, depth)?);
                }
                (_, value) => {
                    plain.insert(key.clone(), self.copy(value)?);
                }
            }
        }
        // What stands beside a reference is said of this place, and so wins over what the model says.
        Ok(match inner {
            None => plain,
            Some(mut inner) => {
                for key in plain.keys() {
                    inner.shift_remove(key);
                }
                inner.append(&mut plain);
                inner
            }
        })
    }

    fn follow(
        &mut self,
        reference: &'v str,
        depth: usize,
    ) -> Result<Map<String, Value>, SchemaError> {
        self.weigh(reference.len())?;
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let Some(target) = target.filter(|target| target.is_object()) else {
            let problem =
                format!("refers to `{reference}`, which it does not have; define it under `$defs`");
            return Err(given::refuse(PLACE, &problem));
        };
        if self.open.contains(&reference) {
            let problem = format!(
                "`{reference}` contains itself; a schema must end, so write out the levels that are needed"
            );
            return Err(given::refuse(PLACE, &problem));
        }
        self.open.push(reference);
        let schema = self.schema(target, depth);
        self.open.pop();
        schema
    }
}

/// The only member that is not `null`, when there is one.
fn the_one(members: &[Value]) -> Option<&Value> {
    let is_null = |member: &Value| member.get("type").and_then(Value::as_str) == Some("null");
    let mut others = members.iter().filter(|member| !is_null(member));
    others.next().filter(|one| one.is_object() && others.next().is_none())
}

fn too_large() -> SchemaError {
    let problem = "becomes too large when its references are followed; make the models smaller";
    given::refuse(PLACE, problem)
}

/// Values and bytes of text in a value that is taken over as it is.
fn weight(value: &Value) -> usize {
    let own = value.as_str().map_or(0, str::len);
    let names = value.as_object().into_iter().flatten().map(|(name, _)| name.len());
    let names = names.sum::<usize>();
    1 + own + names + given::children(value).into_iter().map(weight).sum::<usize>()
}
