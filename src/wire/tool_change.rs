//! Making and changing tools: what a client gives, and what follows from the source.
//!
//! A schema follows from the source by parsing it; the source is never executed for it. What a client does not say stays
//! as it is, also when it makes a tool of a name that exists: programs do that at each of their starts.

use retold_events::{
    JsonText,
    tool::{Kind, Language, Requirement, Tool},
};
use retold_tools::schema::{self, Given, Signature};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{PackageRequirement, Problem, json, tags};

/// Characters of a return that a model gets to see, when nobody says otherwise. Source: V1.
const DEFAULT_RETURN_CHAR_LIMIT: u32 = 50_000;
/// The most there may be. Source: V1.
const MOST_RETURN_CHARS: u32 = 1_000_000;
/// Packages one tool may need.
const MOST_REQUIREMENTS: usize = 100;

/// A tool to be made, or the new state of the one of this name.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct ToolCreate {
    /// What it does; the source says so when absent.
    pub description: Option<String>,
    /// Labels, for finding it again.
    pub tags: Option<Vec<String>>,
    /// Its source: a function with type hints and a docstring.
    pub source_code: String,
    /// `python` or `typescript`; `python` when absent.
    pub source_type: Option<String>,
    /// `{name, description, parameters}`; derived from the source when absent.
    #[schema(value_type = Option<Object>)]
    pub json_schema: Option<Map<String, Value>>,
    /// The schema of the arguments, where the source does not say it.
    #[schema(value_type = Option<Object>)]
    pub args_json_schema: Option<Map<String, Value>>,
    /// Characters of a return that a model gets to see; 50000 when absent.
    pub return_char_limit: Option<u32>,
    /// Python packages it needs.
    pub pip_requirements: Option<Vec<PackageRequirement>>,
    /// Packages of Node it needs.
    pub npm_requirements: Option<Vec<PackageRequirement>>,
    /// Whether a person has to agree to its calls, in agents it is given to from now on.
    pub default_requires_approval: Option<bool>,
    /// Whether it may run beside other calls of one answer; false when absent.
    pub enable_parallel_execution: Option<bool>,
}

/// Changes of a tool. Absent members and `null` stay as they are.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct ToolUpdate {
    /// What it does.
    pub description: Option<String>,
    /// Labels; replace the old ones.
    pub tags: Option<Vec<String>>,
    /// Its source: name and schema follow from it.
    pub source_code: Option<String>,
    /// `python` or `typescript`.
    pub source_type: Option<String>,
    /// `{name, description, parameters}`.
    #[schema(value_type = Option<Object>)]
    pub json_schema: Option<Map<String, Value>>,
    /// The schema of the arguments, where the source does not say it.
    #[schema(value_type = Option<Object>)]
    pub args_json_schema: Option<Map<String, Value>>,
    /// Characters of a return that a model gets to see.
    pub return_char_limit: Option<u32>,
    /// Python packages it needs; replace the old ones.
    pub pip_requirements: Option<Vec<PackageRequirement>>,
    /// Packages of Node it needs; replace the old ones.
    pub npm_requirements: Option<Vec<PackageRequirement>>,
    /// Free JSON object of the client; replaces the old one.
    #[schema(value_type = Option<Object>)]
    pub metadata_: Option<Map<String, Value>>,
    /// Whether a person has to agree to its calls, in agents it is given to from now on.
    pub default_requires_approval: Option<bool>,
    /// Whether it may run beside other calls of one answer.
    pub enable_parallel_execution: Option<bool>,
}

impl ToolCreate {
    /// The tool as it will be when there is none of its name. Takes the time that parsing the source takes.
    ///
    /// # Errors
    /// [`Problem::Invalid`] saying what is wrong with the source, [`Problem::Unprocessable`] for values out of bounds.
    pub fn derive(self) -> Result<DerivedTool, Problem> {
        let language = language(self.source_type.as_deref())?.unwrap_or(Language::Python);
        let signature = derived(
            &self.source_code,
            language,
            &Stated {
                json_schema: self.json_schema,
                args_json_schema: self.args_json_schema.clone(),
                description: self.description.clone(),
            },
        )?;
        let rest = Rest::new(
            self.tags,
            self.return_char_limit,
            self.pip_requirements,
            self.npm_requirements,
            self.default_requires_approval,
            self.enable_parallel_execution,
        )?;
        let tool = Tool {
            description: self.description.or_else(|| described(&signature)),
            schema: json::to_text(&signature.json_schema),
            name: signature.name,
            kind: Kind::Custom { language },
            source: Some(self.source_code),
            args_schema: self.args_json_schema.as_ref().map(json::to_text),
            tags: Vec::new(),
            return_char_limit: DEFAULT_RETURN_CHAR_LIMIT,
            pip: None,
            npm: None,
            default_requires_approval: None,
            parallel: false,
            metadata: None,
            project_id: None,
        };
        Ok(DerivedTool { tool, rest })
    }
}

/// A tool that a source gives, and what its client said beside it.
#[derive(Debug, Clone)]
pub struct DerivedTool {
    tool: Tool,
    rest: Rest,
}

impl DerivedTool {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.tool.name
    }

    /// The tool to be, where `old` has its name.
    ///
    /// # Errors
    /// [`Problem::Invalid`] when that one is not of a client's source.
    pub fn over(&self, old: Option<&Tool>) -> Result<Tool, Problem> {
        let mut tool = self.tool.clone();
        if let Some(old) = old {
            check_is_custom(old)?;
            tool.tags.clone_from(&old.tags);
            tool.return_char_limit = old.return_char_limit;
            tool.pip.clone_from(&old.pip);
            tool.npm.clone_from(&old.npm);
            tool.default_requires_approval = old.default_requires_approval;
            tool.parallel = old.parallel;
            tool.metadata.clone_from(&old.metadata);
            tool.project_id.clone_from(&old.project_id);
        }
        self.rest.apply(&mut tool);
        Ok(tool)
    }
}

impl ToolUpdate {
    /// The tool after the change. Takes the time that parsing a new source takes.
    ///
    /// # Errors
    /// As [`ToolCreate::derive`].
    pub fn over(&self, old: &Tool) -> Result<Tool, Problem> {
        let mut tool = old.clone();
        self.apply_source(&mut tool)?;
        let change = self.clone();
        let rest = Rest::new(
            change.tags,
            change.return_char_limit,
            change.pip_requirements,
            change.npm_requirements,
            change.default_requires_approval,
            change.enable_parallel_execution,
        )?;
        rest.apply(&mut tool);
        if let Some(metadata) = &self.metadata_ {
            tool.metadata = Some(json::to_text(metadata));
        }
        Ok(tool)
    }

    /// The source, and what follows from it.
    fn apply_source(&self, tool: &mut Tool) -> Result<(), Problem> {
        let changes_source = self.source_code.is_some()
            || self.source_type.is_some()
            || self.json_schema.is_some()
            || self.args_json_schema.is_some();
        if !changes_source {
            if let Some(description) = &self.description {
                tool.description = Some(description.clone());
                tool.schema = redescribed(&tool.schema, description);
            }
            return Ok(());
        }
        let old = check_is_custom(tool)?;
        let language = language(self.source_type.as_deref())?.unwrap_or(old);
        let source = self.source_code.clone().or_else(|| tool.source.clone()).unwrap_or_default();
        let args = self.args_json_schema.clone();
        // No schema can be derived from TypeScript, so the one there is stays.
        let kept = || (language == Language::TypeScript).then(|| json::map_of(&tool.schema));
        let signature = derived(
            &source,
            language,
            &Stated {
                json_schema: self.json_schema.clone().or_else(kept),
                args_json_schema: args.clone().or_else(|| {
                    // A new source without a schema of its arguments says them itself.
                    let stays = self.source_code.is_none();
                    tool.args_schema.as_ref().filter(|_| stays).map(json::map_of)
                }),
                description: self.description.clone(),
            },
        )?;
        if self.source_code.is_some() || args.is_some() {
            tool.args_schema = args.as_ref().map(json::to_text);
        }
        tool.description = self.description.clone().or_else(|| described(&signature));
        tool.schema = json::to_text(&signature.json_schema);
        tool.name = signature.name;
        tool.kind = Kind::Custom { language };
        tool.source = Some(source);
        Ok(())
    }
}

/// What does not depend on the source, checked. `None` leaves one as it is.
#[derive(Debug, Clone)]
struct Rest {
    tags: Option<Vec<String>>,
    return_char_limit: Option<u32>,
    pip: Option<Vec<Requirement>>,
    npm: Option<Vec<Requirement>>,
    default_requires_approval: Option<bool>,
    parallel: Option<bool>,
}

impl Rest {
    fn new(
        given_tags: Option<Vec<String>>,
        return_char_limit: Option<u32>,
        pip: Option<Vec<PackageRequirement>>,
        npm: Option<Vec<PackageRequirement>>,
        default_requires_approval: Option<bool>,
        parallel: Option<bool>,
    ) -> Result<Self, Problem> {
        if let Some(limit) = return_char_limit
            && !(1..=MOST_RETURN_CHARS).contains(&limit)
        {
            return Err(Problem::Unprocessable(format!(
                "return_char_limit: {limit} is not between 1 and {MOST_RETURN_CHARS}"
            )));
        }
        Ok(Self {
            tags: given_tags.map(tags).transpose()?,
            return_char_limit,
            pip: pip.map(|all| requirements("pip_requirements", all, is_pip_name)).transpose()?,
            npm: npm.map(|all| requirements("npm_requirements", all, is_npm_name)).transpose()?,
            default_requires_approval,
            parallel,
        })
    }

    fn apply(&self, tool: &mut Tool) {
        if let Some(tags) = &self.tags {
            tool.tags.clone_from(tags);
        }
        if self.pip.is_some() {
            tool.pip.clone_from(&self.pip);
        }
        if self.npm.is_some() {
            tool.npm.clone_from(&self.npm);
        }
        tool.return_char_limit = self.return_char_limit.unwrap_or(tool.return_char_limit);
        tool.default_requires_approval =
            self.default_requires_approval.or(tool.default_requires_approval);
        tool.parallel = self.parallel.unwrap_or(tool.parallel);
    }
}

/// What a client states beside the source.
struct Stated {
    json_schema: Option<Map<String, Value>>,
    args_json_schema: Option<Map<String, Value>>,
    description: Option<String>,
}

fn derived(source: &str, language: Language, stated: &Stated) -> Result<Signature, Problem> {
    let (whole, args) = (
        stated.json_schema.clone().map(Value::Object),
        stated.args_json_schema.clone().map(Value::Object),
    );
    let language = match language {
        Language::Python => schema::Language::Python,
        Language::TypeScript => schema::Language::TypeScript,
    };
    let given = Given {
        json_schema: whole.as_ref(),
        args_json_schema: args.as_ref(),
        name: None,
        description: stated.description.as_deref(),
    };
    schema::derive(source, language, given).map_err(|error| Problem::Invalid(error.to_string()))
}

fn described(signature: &Signature) -> Option<String> {
    (!signature.description.is_empty()).then(|| signature.description.clone())
}

/// A schema with another description.
fn redescribed(schema: &JsonText, description: &str) -> JsonText {
    let mut schema = json::map_of(schema);
    schema.insert("description".to_owned(), description.into());
    json::to_text(&schema)
}

fn language(word: Option<&str>) -> Result<Option<Language>, Problem> {
    match word {
        None => Ok(None),
        Some("python") => Ok(Some(Language::Python)),
        Some("typescript") => Ok(Some(Language::TypeScript)),
        Some(other) => Err(Problem::Invalid(format!(
            "source_type {other:?} is not known; use `python` or `typescript`"
        ))),
    }
}

fn check_is_custom(tool: &Tool) -> Result<Language, Problem> {
    match &tool.kind {
        Kind::Custom { language } => Ok(*language),
        Kind::ExternalMcp { server_name, .. } => Err(Problem::Invalid(format!(
            "tool '{}' is one of the MCP server '{server_name}': what it does and its schema come from there",
            tool.name
        ))),
    }
}

fn requirements(
    member: &str,
    given: Vec<PackageRequirement>,
    is_name: impl Fn(&str) -> bool,
) -> Result<Vec<Requirement>, Problem> {
    if given.len() > MOST_REQUIREMENTS {
        let message =
            format!("{member}: {} are given, {MOST_REQUIREMENTS} are allowed", given.len());
        return Err(Problem::Unprocessable(message));
    }
    given
        .into_iter()
        .map(|PackageRequirement { name, version }| {
            // Both end up in the command line of an installer.
            if !is_name(&name) {
                return Err(Problem::Unprocessable(format!("{member}: {name:?} is no package name")));
            }
            let version = version.filter(|version| !version.is_empty());
            if let Some(version) = version.as_deref().filter(|version| !is_version(version)) {
                return Err(Problem::Unprocessable(format!(
                    "{member}: {version:?} is no version of {name}; name one exactly, for instance `1.2.3`"
                )));
            }
            Ok(Requirement { name, version })
        })
        .collect()
}

fn is_word(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && text.len() <= 200
}

/// A name, perhaps with extras in brackets.
fn is_pip_name(name: &str) -> bool {
    match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        Some((name, extras)) => {
            is_word(name) && extras.split(',').all(|extra| is_word(extra.trim()))
        }
        None => is_word(name),
    }
}

/// A name, perhaps with a scope before it.
fn is_npm_name(name: &str) -> bool {
    match name.strip_prefix('@').map(|name| name.split_once('/')) {
        Some(Some((scope, name))) => is_word(scope) && is_word(name),
        Some(None) => false,
        None => is_word(name),
    }
}

fn is_version(version: &str) -> bool {
    version.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".!+_-".contains(&byte))
        && version.len() <= 100
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROLL: &str = "def roll(sides: int) -> int:\n    \"\"\"Roll a die.\n\n    Args:\n        sides: How many sides.\n    \"\"\"\n    return 4\n";

    fn create(body: Value) -> Result<DerivedTool, Problem> {
        serde_json::from_value::<ToolCreate>(body).unwrap().derive()
    }

    fn roll() -> Tool {
        create(json!({"source_code": ROLL, "tags": ["dice"], "return_char_limit": 9}))
            .unwrap()
            .over(None)
            .unwrap()
    }

    fn update(body: Value) -> Result<Tool, Problem> {
        serde_json::from_value::<ToolUpdate>(body).unwrap().over(&roll())
    }

    #[test]
    fn a_source_gives_name_description_and_schema() {
        let tool = create(json!({"source_code": ROLL})).unwrap().over(None).unwrap();
        assert_eq!((&tool.name[..], tool.description.as_deref()), ("roll", Some("Roll a die.")));
        assert_eq!(tool.return_char_limit, DEFAULT_RETURN_CHAR_LIMIT);
        let schema = json::map_of(&tool.schema);
        assert_eq!(schema["parameters"]["properties"]["sides"]["type"], "integer");
    }

    #[test]
    fn what_a_repeated_create_does_not_say_stays() {
        let again =
            create(json!({"source_code": ROLL, "enable_parallel_execution": true})).unwrap();
        let over = again.over(Some(&roll())).unwrap();
        assert_eq!((&over.tags[..], over.return_char_limit), (&["dice".to_owned()][..], 9));
        assert!(over.parallel);
        assert_eq!(Tool { parallel: false, ..over }, roll());
    }

    #[test]
    fn in_an_update_null_and_absent_change_nothing_and_empty_lists_replace() {
        let nulls = json!({"description": null, "tags": null, "source_code": null, "json_schema": null,
            "metadata_": null, "return_char_limit": null, "unknown": 1});
        assert_eq!(update(nulls).unwrap(), roll());
        let empty = update(json!({"tags": [], "metadata_": {}, "pip_requirements": []})).unwrap();
        assert!(empty.tags.is_empty());
        assert_eq!((empty.metadata, empty.pip), (Some(JsonText::empty_object()), Some(vec![])));
    }

    #[test]
    fn a_new_source_renames_and_a_new_description_reaches_the_model() {
        let renamed = update(json!({"source_code": ROLL.replace("roll", "throw")})).unwrap();
        assert_eq!(renamed.name, "throw");
        assert_eq!(renamed.tags, ["dice"]);
        let described = update(json!({"description": "Throws."})).unwrap();
        assert_eq!(described.description.as_deref(), Some("Throws."));
        assert_eq!(json::map_of(&described.schema)["description"], "Throws.");
        assert_eq!(described.source, roll().source);
    }

    #[test]
    fn what_is_no_source_is_refused_in_words() {
        for body in [
            json!({"source_code": "def f(:"}),
            json!({"source_code": ""}),
            json!({"source_code": "def f(x):\n    \"\"\"F.\"\"\"\n"}),
            json!({"source_code": "export function f() {}", "source_type": "typescript"}),
            json!({"source_code": ROLL, "source_type": "ruby"}),
        ] {
            assert!(matches!(create(body.clone()), Err(Problem::Invalid(_))), "{body}");
        }
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        for (member, value) in [
            ("return_char_limit", json!(0)),
            ("return_char_limit", json!(1_000_001)),
            ("tags", json!([""])),
            ("pip_requirements", json!([{"name": "--index-url"}])),
            ("pip_requirements", json!([{"name": "a b"}])),
            ("pip_requirements", json!([{"name": "requests", "version": ">=2 --pre"}])),
            ("npm_requirements", json!([{"name": "@scope"}])),
        ] {
            let refused = create(json!({"source_code": ROLL, member: value}));
            assert!(matches!(refused, Err(Problem::Unprocessable(_))), "{member} {value}");
        }
        let fine = json!([{"name": "httpx[http2]", "version": "0.28.1"}, {"name": "numpy"}]);
        assert!(create(json!({"source_code": ROLL, "pip_requirements": fine})).is_ok());
        let scoped = json!([{"name": "@types/node", "version": "24.0.0"}]);
        assert!(create(json!({"source_code": ROLL, "npm_requirements": scoped})).is_ok());
    }

    #[test]
    fn typescript_keeps_its_explicit_schema() {
        let schema = json!({"name": "add", "description": "Adds.", "parameters":
            {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}});
        let source = "export function add(a: number) { return a + 1 }";
        let body =
            json!({"source_code": source, "source_type": "typescript", "json_schema": schema});
        let tool = create(body).unwrap().over(None).unwrap();
        assert_eq!(
            (&tool.name[..], &tool.kind),
            ("add", &Kind::Custom { language: Language::TypeScript })
        );
        let changed: ToolUpdate =
            serde_json::from_value(json!({"source_code": source.replace("+ 1", "+ 2")})).unwrap();
        let changed = changed.over(&tool).unwrap();
        assert_eq!((&changed.schema, changed.source != tool.source), (&tool.schema, true));
    }
}
