//! The function of a module that is the tool, and its parameters.

use std::collections::HashSet;

use ruff_python_ast::{ParameterWithDefault, Stmt, StmtFunctionDef};
use ruff_text_size::Ranged;
use serde_json::{Map, Value, json};

use super::{
    MAX_NAME, SchemaError, class,
    docstring::{self, Docstring},
    error, given,
    hint::{Reader, Subject},
    parse::Module,
};

/// Parameters that the server gives when it calls, and models never see.
const INJECTED: [&str; 2] = ["agent_state", "agent_id"];
/// Characters of a parameter's name: the most that every provider takes.
const MAX_PARAMETER: usize = 64;

/// The tool of a module.
#[derive(Debug)]
pub(super) struct Function<'m> {
    module: &'m Module<'m>,
    definition: &'m StmtFunctionDef,
    pub(super) docs: Option<Docstring>,
}

impl<'m> Function<'m> {
    /// The function of this name at the top level, or the last one when no name is asked for.
    pub(super) fn find(module: &'m Module<'m>, name: Option<&str>) -> Result<Self, SchemaError> {
        let functions = || module.body.iter().filter_map(Stmt::as_function_def_stmt);
        let wanted =
            |function: &&StmtFunctionDef| name.is_none_or(|name| function.name.as_str() == name);
        let Some(definition) = functions().filter(wanted).last() else {
            return Err(match name {
                Some(name) if functions().next().is_some() => SchemaError::NotDefined {
                    name: name.to_owned(),
                    found: error::list(functions().map(|function| function.name.as_str())),
                },
                Some(_) | None => SchemaError::NoFunction,
            });
        };
        let docs = docstring::of(&definition.body).map(docstring::read);
        Ok(Self { module, definition, docs })
    }

    /// Its name, if a provider takes it.
    pub(super) fn name(&self) -> Result<&'m str, SchemaError> {
        let name = self.definition.name.as_str();
        if given::is_name(name, MAX_NAME) {
            return Ok(name);
        }
        Err(SchemaError::Name {
            subject: format!("line {}: function `{name}`", self.line()),
            most: MAX_NAME,
        })
    }

    /// What it does: as the request says, or else its docstring.
    pub(super) fn description(&self, given: Option<&str>) -> Result<String, SchemaError> {
        let (line, function) = (self.line(), self.definition.name.to_string());
        match (given, &self.docs) {
            (Some(given), _) => Ok(given.to_owned()),
            (None, None) => Err(SchemaError::NoDocstring { line, function }),
            (None, Some(docs)) if docs.description.is_empty() => {
                Err(SchemaError::NoDescription { line, function })
            }
            (None, Some(docs)) => Ok(docs.description.clone()),
        }
    }

    /// The schema of its parameters.
    pub(super) fn parameters(&self) -> Result<Value, SchemaError> {
        let reader = Reader::new(self.module);
        let mut properties = Map::new();
        let mut required: Vec<Value> = Vec::new();
        for parameter in self.offered()? {
            let name = parameter.name().as_str();
            let (schema, needed) = self.property(&reader, parameter)?;
            if needed {
                required.push(Value::String(name.to_owned()));
            }
            properties.insert(name.to_owned(), Value::Object(schema));
        }
        let schema = json!({ "type": "object", "properties": properties, "required": required });
        if given::too_deep(&schema) {
            let function = self.definition.name.to_string();
            return Err(SchemaError::Nested { line: self.line(), function });
        }
        Ok(schema)
    }

    /// The parameters that a model gives, after those that nobody could give are refused.
    fn offered(&self) -> Result<Vec<&'m ParameterWithDefault>, SchemaError> {
        let parameters = &self.definition.parameters;
        let variadic = [("*", &parameters.vararg), ("**", &parameters.kwarg)];
        for (stars, parameter) in variadic {
            if let Some(parameter) = parameter {
                let name = format!("{stars}{}", parameter.name);
                let problem = "takes any number of arguments, which a schema cannot list; name each parameter, or take one list or dict";
                return Err(self.refuse(parameter.range().start(), name, problem));
            }
        }
        let by_name = parameters.args.iter().chain(&parameters.kwonlyargs);
        let all = parameters.posonlyargs.iter().chain(by_name).enumerate();
        let mut offered = Vec::new();
        let mut seen = HashSet::new();
        for (number, parameter) in all {
            let name = parameter.name().as_str();
            if !seen.insert(name) {
                let problem = "is there twice; give each parameter a name of its own";
                return Err(self.refuse(parameter.start(), name.to_owned(), problem));
            }
            if number < parameters.posonlyargs.len() {
                let problem =
                    "can only be given by position, but tools are called by name; remove the `/`";
                return Err(self.refuse(parameter.start(), name.to_owned(), problem));
            }
            let hidden = INJECTED.contains(&name) || (number == 0 && name == "self");
            if !hidden {
                offered.push(parameter);
            }
        }
        Ok(offered)
    }

    fn property(
        &self,
        reader: &Reader<'m>,
        parameter: &ParameterWithDefault,
    ) -> Result<(Map<String, Value>, bool), SchemaError> {
        let name = parameter.name().as_str();
        let line = self.module.line(parameter.start());
        let function = self.definition.name.to_string();
        let what = format!("parameter `{name}` of `{function}`");
        if !given::is_name(name, MAX_PARAMETER) {
            return Err(SchemaError::Name {
                subject: format!("line {line}: {what}"),
                most: MAX_PARAMETER,
            });
        }
        let Some(annotation) = parameter.annotation() else {
            return Err(SchemaError::MissingHint { line, function, parameter: name.to_owned() });
        };
        let subject = Subject { line: self.module.line(annotation.start()), what };
        let hint = reader.read(annotation, &subject, 0)?;
        let said = parameter.default().map(|default| reader.said(default)).unwrap_or_default();
        let documented = self.docs.as_ref().and_then(|docs| docs.parameters.get(name)).cloned();
        let Some(description) = documented.or(said.description).or(hint.notes.description) else {
            return Err(SchemaError::MissingDescription {
                line,
                function,
                parameter: name.to_owned(),
            });
        };
        let default = said.default.or(hint.notes.default);
        let needed = default.is_none() && !hint.optional;
        Ok((class::finish(hint.schema, default.flatten(), Some(description)), needed))
    }

    fn refuse(
        &self,
        at: ruff_text_size::TextSize,
        parameter: String,
        problem: &'static str,
    ) -> SchemaError {
        let function = self.definition.name.to_string();
        SchemaError::Parameter { line: self.module.line(at), function, parameter, problem }
    }

    fn line(&self) -> usize {
        self.module.line(self.definition.name.start())
    }
}
